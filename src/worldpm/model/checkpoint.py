"""Checkpoint folders <-> models: config.json, safetensors (whole or sharded), tokenizer files.

    FOLDER -> read_model -> PreferenceModel           PreferenceModel -> write_model -> FOLDER

Read as released: `Qwen2ForRewardModel` with an `auto_map` and no pad id, a stray `lm_head.weight`,
`*ForSequenceClassification`. Only safetensors are opened, no code from a folder is ever run, and a
missing head is an error, never a fresh random one.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from worldpm.errors import CheckpointError
from worldpm.model.config import ModelConfig, hf_config, parse_config
from worldpm.model.decoder import PreferenceModel, linear_head, mlp_head
from worldpm.store import write_atomic

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
IGNORED = ("lm_head.",)  # a causal model's output layer: the released files still hold it
SHAPES = {
    ("qwen2", True): "Qwen2ForRewardModel",
    ("qwen2", False): "Qwen2ForSequenceClassification",
    ("qwen3", False): "Qwen3ForSequenceClassification",
    ("llama", False): "LlamaForSequenceClassification",
}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a checkpoint; CheckpointError names the file."""
    try:
        value = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; is this a complete checkpoint?") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return value


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
        files = [folder / name for name in sorted(set(weight_map.values()))]
        for file in files:
            if file.parent != folder or not file.is_file():
                raise CheckpointError(f"{index}: names {file.name}, which is not in the folder")
        return files
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


def _head_for(names: set[str], hidden_size: int, folder: Path) -> nn.Module:
    heads = {name for name in names if name.startswith("score.")}
    if heads == {"score.weight"}:
        return linear_head(hidden_size)
    if heads == {"score.weight", "score.bias"}:
        return linear_head(hidden_size, bias=True)
    if heads == {"score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias"}:
        return mlp_head(hidden_size)
    found = ", ".join(sorted(heads)) or "none"
    raise CheckpointError(
        f"{folder}: has no scalar head that we know (score.weight, or score.0 and score.2 with "
        f"biases; found: {found}); a plain language model cannot score, train one first"
    )


def read_model(folder: Path, dtype: torch.dtype = torch.float32) -> PreferenceModel:
    """Load the checkpoint in `folder`, in evaluation mode, its decoder in `dtype`.

    Raises CheckpointError for a missing head, missing, unknown or misshapen tensors, values that
    are not finite, and damaged files.
    """
    config = read_config(folder)
    state = {n: t for n, t in iter_tensors(folder) if not n.startswith(IGNORED)}
    with torch.device("meta"):
        model = PreferenceModel(config, _head_for(set(state), config.hidden_size, folder))
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    _check_names(expected, state, folder)
    for name, tensor in state.items():
        if tensor.shape != expected[name]:
            raise CheckpointError(
                f"{folder}: {name} has shape {tuple(tensor.shape)}, "
                f"config.json asks for {tuple(expected[name])}"
            )
        if not tensor.isfinite().all():
            raise CheckpointError(f"{folder}: {name} has values that are not finite")
        keep = torch.float32 if name.startswith("score.") else dtype
        state[name] = tensor.to(keep)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _check_names(expected: dict[str, Any], state: dict[str, Tensor], folder: Path) -> None:
    missing, unknown = sorted(expected.keys() - state), sorted(state.keys() - expected)
    if missing:
        raise CheckpointError(f"{folder}: lacks {len(missing)} tensors, first {missing[0]}")
    if unknown:
        raise CheckpointError(
            f"{folder}: has {len(unknown)} tensors that this shape does not, first {unknown[0]}"
        )


def write_model(
    model: PreferenceModel, folder: Path, tokenizer_from: Path, *, dtype: torch.dtype
) -> None:
    """Write `model` as a Hugging Face folder (one safetensors file) with its tokenizer files.

    The pad id is set to a token other than the scored one: `*ForSequenceClassification` reads the
    score at the rightmost token that is not the pad (transformers #35911).
    """
    config = model.model.config
    is_mlp = isinstance(model.score, nn.Sequential)
    if (config.model_type, is_mlp) not in SHAPES:
        raise CheckpointError(f"an MLP head cannot be written for {config.model_type}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer_from / name).is_file() and folder != tokenizer_from:
            shutil.copyfile(tokenizer_from / name, folder / name)
    written = {
        "architectures": [SHAPES[config.model_type, is_mlp]],
        **hf_config(config),
        "num_labels": 1,
        "id2label": {"0": "LABEL_0"},
        "pad_token_id": _pad_token_id(folder),
        "dtype": str(dtype).removeprefix("torch."),
    }
    tensors = {name: t.detach().to(dtype).contiguous() for name, t in model.state_dict().items()}
    partial = folder / ".model.safetensors.tmp"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(folder / "model.safetensors")
    write_atomic(folder / "config.json", orjson.dumps(written, option=orjson.OPT_INDENT_2))


def _pad_token_id(folder: Path) -> int | None:
    """A reserved token that the template never ends with, if the tokenizer has one."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    added = {token["content"]: token["id"] for token in read_json(path).get("added_tokens", [])}
    names = [n for n in added if n not in {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}]
    return added[names[0]] if names else None
