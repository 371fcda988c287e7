"""A checkpoint -> a folder that transformers, vLLM and SGLang read, checked by its own scores.

    export_model(Path("run/model"), Path("out"))  ->  Exported("Qwen2ForRewardModel", ...)

An MLP head leaves as `Qwen2ForRewardModel`, a linear one as its family's
`*ForSequenceClassification`. What is written is read back and its golden conversations are scored
again before anybody else may rely on it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from worldpm.errors import CheckpointError
from worldpm.model.checkpoint import (
    IGNORED,
    architecture_of,
    head_kind,
    iter_tensors,
    read_json,
    read_model,
    write_model,
)
from worldpm.model.contract import golden_of, read_contract
from worldpm.model.decoder import linear_head
from worldpm.tokens.encode import Encoder

Form = Literal["auto", "reward-model", "classification"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Torch's float32 moves the last digits from one process to another (1e-6 measured on scores of
# order one); a lost tensor moves them by 1e-2 and more.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: `shift` is what every score lost with a bias that the form has no place
    for, `largest_difference` that of the golden scores after reading the folder back."""

    architecture: str
    head: str
    dtype: str
    pad_token_id: int | None
    golden_scores: tuple[float, ...]
    largest_difference: float
    shift: float
    ignored: tuple[str, ...]


def export_model(
    source: Path, out: Path, *, form: Form = "auto", dtype: str | None = None
) -> Exported:
    """Write the checkpoint in `source` to `out` in the form other programs read.

    `dtype` is "float32" or "bfloat16", that of the source's weights if not given. Raises
    CheckpointError for a head that `form` cannot hold and for an export that scores otherwise than
    it should.
    """
    names: list[str] = []
    stored = set()
    for name, tensor in iter_tensors(source):
        names.append(name)
        stored.add(str(tensor.dtype).removeprefix("torch."))
    dtype = dtype or ("bfloat16" if stored == {"bfloat16"} else "float32")
    if dtype not in DTYPES:
        raise CheckpointError(f"an export has float32 or bfloat16 weights, not {dtype}")
    head = head_kind(names)
    if form != "auto":
        _check_form(source, form, head)
    model = read_model(source)
    shift = 0.0
    if head == "linear with bias":
        shift = float(model.score.bias)  # type: ignore[arg-type]
        plain = linear_head(model.model.config.hidden_size)
        plain.load_state_dict({"weight": model.score.weight})
        model.score = plain.requires_grad_(False)
    before = read_contract(source)
    write_model(
        model, out, source, dtype=DTYPES[dtype],
        training_data=None if before is None else before.training_data,
    )  # fmt: skip
    architecture = architecture_of(model)
    del model  # two of a large one do not fit
    scores, largest = check_golden(out)
    return Exported(
        architecture=architecture,
        head="mlp" if head == "mlp" else "linear",
        dtype=dtype,
        pad_token_id=read_json(out / "config.json").get("pad_token_id"),
        golden_scores=scores,
        largest_difference=largest,
        shift=shift,
        ignored=tuple(sorted(name for name in names if name.startswith(IGNORED))),
    )


def _check_form(source: Path, form: Form, head: str | None) -> None:
    if form == "classification" and head == "mlp":
        raise CheckpointError(
            f"{source}: has an MLP head (score.0, ReLU, score.2), and *ForSequenceClassification "
            "is one linear layer: transformers would drop it and score with random weights; "
            "export it as a reward-model"
        )
    if form == "reward-model" and head != "mlp":
        raise CheckpointError(
            f"{source}: has a {head or 'missing'} head, and Qwen2ForRewardModel is an MLP "
            "(score.0, ReLU, score.2); export it as classification"
        )


def check_golden(folder: Path) -> tuple[tuple[float, ...], float]:
    """Read `folder` back and score its contract's golden conversations again, in float32.

    Returns the scores and the largest difference from the contract's. Raises CheckpointError if
    there is no contract or a score is another than it was when the folder was written.
    """
    contract = read_contract(folder)
    if contract is None:
        raise CheckpointError(f"{folder}: has no contract, so nothing to hold its scores against")
    encoder = Encoder.from_folder(folder)
    found = golden_of(encoder, read_model(folder), [each.messages for each in contract.golden])
    scores = tuple(float(each.score or 0.0) for each in found)
    then = [float("nan") if each.score is None else each.score for each in contract.golden]
    differences = [abs(a - b) for a, b in zip(scores, then, strict=True)]
    largest = max(differences, default=0.0)
    # Not `>`: a score that is not finite differs from everything.
    if not all(d <= TOLERANCE * max(1.0, abs(b)) for d, b in zip(differences, then, strict=True)):
        raise CheckpointError(
            f"{folder}: read back, its golden conversations score up to {largest:.1e} off; do not "
            "use it, and look at the disk and at `worldpm model doctor`"
        )
    return scores, largest
