"""Checkpoint folders <-> models: config.json, safetensors (whole or sharded), tokenizer files.

    FOLDER -> read_model -> PreferenceModel           PreferenceModel -> write_model -> FOLDER

Read as released: `Qwen2ForRewardModel` with an `auto_map` and no pad id, a stray `lm_head.weight`,
`*ForSequenceClassification`. Only safetensors are opened, no code from a folder is ever run, and a
missing head is an error, never a fresh random one.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from worldpm.errors import CheckpointError, UnwrittenError
from worldpm.jsonfiles import read_object
from worldpm.model.config import ModelConfig, hf_config, parse_config
from worldpm.model.decoder import PreferenceModel, linear_head, mlp_head
from worldpm.records import Message
from worldpm.store import whole_file, write_atomic
from worldpm.tokens.encode import Encoder

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
)  # fmt: skip
CONTRACT = "worldpm.json"
FINITE_PIECE = 1 << 20  # values that are looked at together
SHARD_BYTES = 5_000_000_000  # of one file, as transformers shards
IGNORED = ("lm_head.",)  # a causal model's output layer: the released files still hold it
HEADS = {
    ("score.weight",): "linear",
    ("score.bias", "score.weight"): "linear with bias",
    ("score.0.bias", "score.0.weight", "score.2.bias", "score.2.weight"): "mlp",
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
ARCHITECTURES = {  # by family, and whether the head is an MLP
    ("qwen2", True): "Qwen2ForRewardModel",
    ("qwen2", False): "Qwen2ForSequenceClassification",
    ("qwen3", False): "Qwen3ForSequenceClassification",
    ("llama", False): "LlamaForSequenceClassification",
}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a checkpoint; CheckpointError names the file."""
    return read_object(path, CheckpointError, "is this a complete checkpoint?")


def read_config(folder: Path) -> ModelConfig:
    """The shape of the checkpoint in `folder`."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; give the path of a checkpoint")
    path = folder / "config.json"
    return parse_config(read_json(path), str(path))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, from its index if it has one."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index}: has no weight_map")
        names = list(weight_map.values())
        for name in names:
            if not isinstance(name, str) or not name.endswith(".safetensors"):
                raise CheckpointError(f"{index}: names {name!r}; only safetensors are read")
            if (folder / name).parent != folder or not (folder / name).is_file():
                raise CheckpointError(f"{index}: names {name!r}, which is not in the folder")
        return [folder / name for name in sorted(set(names))]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    raise CheckpointError(
        f"{folder}: has no model.safetensors and no index; only safetensors are read"
    )


def iter_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of every tensor in the folder's safetensors files."""
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (not a mapping)
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: damaged or cut short: {error}") from None


def read_state(folder: Path) -> dict[str, Tensor]:
    """All the checkpoint's tensors by name, without a causal model's output layer."""
    return {name: t for name, t in iter_tensors(folder) if not name.startswith(IGNORED)}


def head_kind(names: Iterable[str]) -> str | None:
    """The kind of head among the tensors' names, as in HEADS; None without one.

    Names that make no head we know are returned as they are.
    """
    found = tuple(sorted(name for name in names if name.startswith("score.")))
    return HEADS.get(found, ", ".join(found) or None)


def head_of(state: Mapping[str, Tensor], hidden_size: int, folder: Path) -> nn.Module:
    """A module of the kind of head that `state` holds, its weights not yet those of `state`.

    Raises CheckpointError if it holds none, or a part of one.
    """
    kind = head_kind(state)
    if kind == "mlp":
        return mlp_head(hidden_size)
    if kind in ("linear", "linear with bias"):
        return linear_head(hidden_size, bias=kind == "linear with bias")
    raise CheckpointError(
        f"{folder}: has no scalar head that we know (score.weight, or score.0 and score.2 with "
        f"biases; found: {kind or 'none'}); a plain language model cannot score, train one first"
    )


def read_model(folder: Path, dtype: torch.dtype = torch.float32) -> PreferenceModel:
    """Load the checkpoint in `folder`, in evaluation mode, its decoder in `dtype`.

    Raises CheckpointError for a missing head, missing, unknown or misshapen tensors, values that
    are not finite, and damaged files.
    """
    config = read_config(folder)
    state = read_state(folder)
    with torch.device("meta"):
        model = PreferenceModel(config, head_of(state, config.hidden_size, folder))
    check_state(state, model.state_dict(), folder)
    for name, tensor in state.items():
        state[name] = tensor.to(torch.float32 if name.startswith("score.") else dtype)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def all_finite(tensor: Tensor) -> bool:
    """Whether no value is infinite or NaN; a piece at a time, as torch takes memory of twice its
    size, which would count for more than a layer where the tensor is a table of embeddings.
    """
    pieces = torch.split(tensor.reshape(-1), FINITE_PIECE)
    return all(bool(piece.isfinite().all()) for piece in pieces)


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], folder: Path) -> None:
    """Raise CheckpointError unless `state` has the names and shapes of `expected`, all finite."""
    check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, expected, folder)
    for name, tensor in state.items():
        if tensor.dtype not in DTYPES:
            raise CheckpointError(f"{folder}: {name} is {tensor.dtype}; give bf16 or float32")
        if not all_finite(tensor):
            raise CheckpointError(f"{folder}: {name} has values that are not finite")


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, Tensor], folder: Path
) -> None:
    """Raise CheckpointError unless the shapes by name are those of `expected`, no more, no less."""
    missing, unknown = sorted(expected.keys() - found), sorted(found.keys() - expected)
    if missing:
        raise CheckpointError(f"{folder}: lacks {len(missing)} tensors, first {missing[0]}")
    if unknown:
        raise CheckpointError(
            f"{folder}: has {len(unknown)} tensors that this shape does not, first {unknown[0]}"
        )
    for name, shape in found.items():
        if shape != tuple(expected[name].shape):
            raise CheckpointError(
                f"{folder}: {name} has shape {shape}, "
                f"config.json asks for {tuple(expected[name].shape)}"
            )


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write one safetensors file, whole or not at all; UnwrittenError if it cannot be written."""
    try:
        with whole_file(path) as partial:
            save_file(dict(tensors), partial, metadata={"format": "pt"})
            partial.chmod(0o644)  # the library makes files that only their owner can read
    except SafetensorError as error:
        raise UnwrittenError(f"{path}: could not be written: {error}") from error


def save_weights(
    tensors: Mapping[str, Tensor], folder: Path, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write model.safetensors, or shards of at most `shard_bytes` with the index over them.

    A tensor larger than that is a shard of its own. Files of earlier weights in `folder` go.
    """
    shards: list[dict[str, Tensor]] = []
    held = shard_bytes
    for name, tensor in tensors.items():
        if held + tensor.nbytes > shard_bytes:
            shards.append({})
            held = 0
        shards[-1][name] = tensor
        held += tensor.nbytes
    index = folder / "model.safetensors.index.json"
    files = {"model.safetensors": shards[0]}
    if len(shards) > 1:
        numbered = enumerate(shards, 1)
        files = {f"model-{n:05d}-of-{len(shards):05d}.safetensors": part for n, part in numbered}
    for file, part in files.items():
        save_tensors(part, folder / file)
    if len(shards) > 1:
        total = sum(tensor.nbytes for tensor in tensors.values())
        weight_map = {name: file for file, part in files.items() for name in part}
        written = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_atomic(index, orjson.dumps(written, option=orjson.OPT_INDENT_2))
    else:
        index.unlink(missing_ok=True)
    for old in folder.glob("model*.safetensors"):
        if old.name not in files:
            old.unlink()


def architecture_of(model: PreferenceModel) -> str:
    """The class name that a checkpoint of `model` states; CheckpointError if there is none."""
    key = (model.model.config.model_type, isinstance(model.score, nn.Sequential))
    if key not in ARCHITECTURES:
        raise CheckpointError(f"an MLP head cannot be written for {key[0]}; use a linear one")
    return ARCHITECTURES[key]


def write_model(
    model: PreferenceModel,
    folder: Path,
    tokenizer_from: Path,
    *,
    dtype: torch.dtype,
    training_data: Sequence[str] | None = None,
) -> None:
    """Write `model` as a Hugging Face folder with tokenizer and contract.

    `training_data` are digests of the manifests of what it was trained on, None if unknown.

    config.json comes last: with it the folder is complete. The pad token becomes one that no
    conversation holds, in the config and in the tokenizer: `*ForSequenceClassification` reads the
    score at the rightmost token that is not the pad (transformers #35911). A linear head's
    `score.bias` is written where the model has one; transformers leaves it out, so that all scores
    there lack that constant and their differences are the same.
    """
    architecture = architecture_of(model)
    tensors = {name: t.detach().to(dtype).contiguous() for name, t in model.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONTRACT).unlink(missing_ok=True)  # of what stood there before
        for name in TOKENIZER_FILES:
            if (tokenizer_from / name).is_file() and folder.resolve() != tokenizer_from.resolve():
                shutil.copyfile(tokenizer_from / name, folder / name)
    except OSError as error:
        raise UnwrittenError(f"{folder}: could not be written: {error}") from error
    save_weights(tensors, folder)
    pad_token = _choose_pad_token(folder)
    if (folder / "tokenizer.json").is_file():
        from worldpm.model.contract import write_contract  # which stands on this module

        write_contract(folder, _as_stored(model, tensors), training_data)
    written = {
        "architectures": [architecture],
        **hf_config(model.model.config),
        "num_labels": 1,
        "id2label": {"0": "LABEL_0"},
        "pad_token_id": pad_token,
        "dtype": str(dtype).removeprefix("torch."),
    }
    write_atomic(folder / "config.json", orjson.dumps(written, option=orjson.OPT_INDENT_2))


def _as_stored(model: PreferenceModel, tensors: Mapping[str, Tensor]) -> PreferenceModel:
    """`model` in float32 with the values that were written, rounded where they were."""
    with torch.device("meta"):
        stored = PreferenceModel(
            model.model.config, head_of(tensors, model.model.config.hidden_size, Path("model"))
        )
    state = {name: tensor.float() for name, tensor in tensors.items()}
    stored.load_state_dict(state, strict=True, assign=True)
    return stored.eval().requires_grad_(False)


def _choose_pad_token(folder: Path) -> int | None:
    """The id of an added token that the template does not write, set as the tokenizer's pad.

    None without a tokenizer or such a token; then transformers refuses batches rather than guess.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    probe = (Message("system", ""), Message("user", "Hi"), Message("assistant", "Hello"))
    used = set(Encoder.from_folder(folder).encode(probe))
    added: dict[int, str] = {
        token["id"]: token["content"] for token in read_json(path).get("added_tokens", [])
    }
    free = [token for token in added if token not in used]
    if not free:
        return None
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            settings = {**read_json(folder / name), "pad_token": added[free[0]]}
            write_atomic(folder / name, orjson.dumps(settings, option=orjson.OPT_INDENT_2))
    return free[0]
