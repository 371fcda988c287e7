"""A whole training run: prepare the model and the data, fit, write what is to be exchanged.

worldpm train RECIPE.toml --base FOLDER --data DATA/... -o RUN/

RUN/run.json        recipe, data digests, versions: written first, checked on --resume
RUN/metrics.jsonl   one line a step and a validation; the numbers never live in log text
RUN/checkpoints/    for --resume
RUN/adapter/        LoRA factors and head in peft's format (when the recipe trains LoRA)
RUN/model/          the whole model as a Hugging Face folder; its config.json means done
"""

import shutil
import signal
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import torch

from worldpm.errors import ConfigError, OutputExistsError, WorldPMError
from worldpm.model.adapter import WEIGHTS, read_adapter, write_adapter
from worldpm.model.allocator import keep_freed_memory
from worldpm.model.checkpoint import (
    architecture_of,
    check_state,
    read_config,
    read_json,
    read_state,
    weight_files,
    write_model,
)
from worldpm.model.decoder import PreferenceModel
from worldpm.store import MANIFEST, file_sha256, part_files, read_manifest, versions, write_atomic
from worldpm.tokens.encode import Encoder
from worldpm.train.examples import load_examples, load_sets
from worldpm.train.flops import matrix_rate
from worldpm.train.heads import folded, keep_attributes, new_head, start_at
from worldpm.train.loop import fit
from worldpm.train.lora import LoRALinear, add_lora, begin_with, extract
from worldpm.train.objective import check_labels
from worldpm.train.recipe import Recipe
from worldpm.train.runlog import RunLog

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def base_model(base: Path, recipe: Recipe) -> PreferenceModel:
    """The base's decoder under a head: the checkpoint's own if it has one, else a new one.

    A new head's last layer starts at zero, so that training starts at a score of 0 for every
    reply. Only what the recipe trains requires gradients. Raises ConfigError for a recipe that the
    base cannot follow, CheckpointError for a base that is incomplete, damaged or of another shape.
    """
    config = read_config(base)
    if recipe.model.frozen_layers >= config.num_hidden_layers:
        raise ConfigError(
            f"model.frozen_layers: {recipe.model.frozen_layers} leaves none of the "
            f"{config.num_hidden_layers} layers to train"
        )
    state = read_state(base)
    torch.manual_seed(recipe.seed)
    head = new_head(state, config.hidden_size, recipe, base)
    model = PreferenceModel(config, head)
    architecture_of(model)  # refuses now what could not be written at the end
    check_state(state, model.state_dict(), base)
    model.load_state_dict(state)
    first = recipe.model.frozen_layers
    model.model.requires_grad_(recipe.lora.rank == 0)
    model.model.embed_tokens.requires_grad_(recipe.lora.rank == 0 and first == 0)
    model.model.layers[:first].requires_grad_(False)
    if recipe.lora.rank:
        model.model.to(DTYPES[recipe.model.dtype])
        add_lora(model, recipe.lora, first, recipe.seed)
    return model


def merged(model: PreferenceModel) -> PreferenceModel:
    """`model` with every LoRA layer folded into its base weight, in place."""
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, LoRALinear):
                delta = module.scale * (module.lora_B.float() @ module.lora_A.float())
                weight = module.base.weight
                weight.data = (weight.float() + delta).to(weight.dtype).detach()
                setattr(parent, name, module.base)
    return model


@contextmanager
def _stop_on_signals() -> Any:
    """Turn the first SIGTERM or SIGINT into a request; a second one acts as usual."""
    requested: list[int] = []

    def handler(number: int, frame: object) -> None:
        requested.append(number)
        signal.signal(number, previous[number])

    previous = {int(n): signal.signal(n, handler) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(requested)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def train(
    recipe: Recipe,
    base: Path,
    data: Sequence[Path],
    run: Path,
    *,
    adapter: Path | None = None,
    resume: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train and write `run`; returns the last validation record with counts.

    With `adapter`, training begins with its factors and head. Raises OutputExistsError unless
    `run` is new, or `resume` or `force` is given; WorldPMError if `resume` meets another recipe,
    base, data or adapter than the run began with.
    """
    beginning = None if adapter is None else read_adapter(adapter)
    identity = {
        "recipe": recipe.model_dump(mode="json"),
        "base": [file_sha256(path) for path in weight_files(base)],
        "data": [_digest(folder) for folder in data],
        "adapter": None if adapter is None else file_sha256(adapter / WEIGHTS),
    }
    keep_freed_memory()
    encoder = Encoder.from_folder(base)
    model = base_model(base, recipe)
    if beginning is not None:
        begin_with(model, beginning)
    attributes = tuple(recipe.loss.attributes)
    goes_on = _check_run(run, identity, resume=resume, force=force)
    examples, dropped = load_examples(data, "train", encoder, recipe.data, attributes)
    validation, lost = load_sets(data, "validation", encoder, recipe.data, attributes)
    check_labels(examples, recipe.loss)
    if attributes:
        start_at(model.score, examples)
    if not any(recipe.data.repeats.get(example.source, 1) for example in examples):
        raise ConfigError("data.repeats: 0 for every source leaves nothing to train on")
    if not goes_on:  # now that nothing is known to be wrong, a run that --force replaces may go
        _begin_run(run, identity)
    with RunLog(run, quiet=quiet) as log, _stop_on_signals() as stop_requested:
        log.note(f"train: {len(examples)} comparisons; left out: {dict(dropped) or 'none'}")
        for name, held in validation.items():
            log.note(f"validation {name}: {len(held)} comparisons")
        log.note(f"validation: left out: {dict(lost) or 'none'}")
        for source in sorted(recipe.data.repeats.keys() - {example.source for example in examples}):
            log.note(f"data.repeats: no comparison to train on is of the source {source!r}")
        peak = matrix_rate(DTYPES[recipe.model.dtype], next(model.parameters()).device)
        log.note(f"matrix products in {recipe.model.dtype}: {peak / 1e12:.3g} TFLOP/s, measured")
        fit(
            model, examples, validation, recipe, run,
            resume=resume, log=log.record, on_resume=log.rewind, stop_requested=stop_requested,
            peak=peak,
        )  # fmt: skip
    if attributes:
        keep_attributes(model.score, recipe.loss.attributes, run)
        model.score = folded(model.score, recipe.loss)
    if recipe.lora.rank:
        write_adapter(extract(model, recipe.lora), run / "adapter", base.name)
    write_model(
        merged(model), run / "model", base, dtype=DTYPES[recipe.model.dtype],
        training_data=[file_sha256(folder / MANIFEST) for folder in data],
    )  # fmt: skip
    return {"dropped": {"train": dict(dropped), "validation": dict(lost)}, **log.last_validation}


def _digest(folder: Path) -> dict[str, str]:
    parts = sorted(read_manifest(folder)["counts"])
    return {
        part: " ".join(file_sha256(file) for file in part_files(folder, part)) for part in parts
    }


def _check_run(run: Path, identity: dict[str, Any], *, resume: bool, force: bool) -> bool:
    """Whether the run is one to go on with; raises where it may not be, nor a new one begin."""
    path = run / "run.json"
    if resume and path.is_file():
        begun = read_json(path)
        differs = [key for key in identity if begun.get(key) != identity[key]]
        if differs:
            raise WorldPMError(
                f"{run}: began with another {' and '.join(differs)}; resume with the same, "
                "or start a new run"
            )
        return True
    if run.exists() and not path.is_file() and (not run.is_dir() or any(run.iterdir())):
        raise OutputExistsError(
            f"{run}: is not a run, so --resume has nothing to go on with and --force does not "
            "replace it; give another -o"
        )
    if run.exists() and not force:
        raise OutputExistsError(f"{run}: exists already; give another -o, --resume or --force")
    return False


def _begin_run(run: Path, identity: dict[str, Any]) -> None:
    shutil.rmtree(run, ignore_errors=True)
    packages = ("worldpm", "torch", "tokenizers", "safetensors")
    record = {**identity, "versions": versions(*packages)}
    write_atomic(run / "run.json", orjson.dumps(record, option=orjson.OPT_INDENT_2))
