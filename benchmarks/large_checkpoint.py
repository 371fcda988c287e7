"""A random checkpoint of Qwen2.5-7B's shape, or another, written shard by shard in little memory.

make_checkpoint(Path("m"), tokenizer_folder)  ->  15 GB in bfloat16, with tokenizer and index
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor

from worldpm.model.checkpoint import TOKENIZER_FILES, head_of, save_tensors
from worldpm.model.config import parse_config
from worldpm.model.decoder import PreferenceModel
from worldpm.model.default import fetch

SHAPE = {  # Qwen2.5-7B's config.json
    "architectures": ["Qwen2ForSequenceClassification"], "model_type": "qwen2", "num_labels": 1,
    "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064,
    "rms_norm_eps": 1e-6, "rope_theta": 1e6, "max_position_embeddings": 32_768,
    "tie_word_embeddings": False,
}  # fmt: skip
SHARD_BYTES = 1_500_000_000


def make_checkpoint(folder: Path, tokenizer: Path | None, shape: Mapping[str, Any] = SHAPE) -> None:
    """A random checkpoint of `shape`, a causal model's unread output layer with it."""
    if (folder / "config.json").is_file():
        return
    tokenizer = tokenizer or fetch()
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    config = parse_config(shape, "shape")
    with torch.device("meta"):
        head = head_of({"score.weight": torch.empty(0)}, config.hidden_size, folder)
        state = PreferenceModel(config, head).state_dict()
        state["lm_head.weight"] = torch.empty(config.vocab_size, config.hidden_size)
    values = torch.randn(16_000_057, generator=torch.Generator().manual_seed(0))
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards({name: 2 * t.numel() for name, t in state.items()}), 1):
        file = f"model-{number:05d}.safetensors"
        seeds = enumerate(names, len(weight_map) + 1)
        made = {name: fill(name, state[name], values, seed) for seed, name in seeds}
        save_tensors(made, folder / file)
        weight_map |= dict.fromkeys(names, file)
    index = orjson.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_bytes(index)
    (folder / "config.json").write_bytes(orjson.dumps(dict(shape)))
    os.sync()


def shards(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Names in their order, in groups of at most SHARD_BYTES, or one."""
    names: list[str] = []
    for name, size in sizes.items():
        if names and sum(sizes[n] for n in names) + size > SHARD_BYTES:
            yield names
            names = []
        names.append(name)
    yield names


def fill(name: str, like: Tensor, values: Tensor, seed: int) -> Tensor:
    """Normal values at a scale that keeps the states of order one; others for every tensor.

    Taken from `values` again and again: drawing 7.6 billion would take longer than to write them.
    """
    if "norm" in name:
        return 1 + 0.1 * values[: like.numel()].roll(seed).bfloat16()
    fan_in = 1 if "embed" in name else like.shape[-1] if like.dim() == 2 else 400
    own = values.roll(seed * 104_729).mul(fan_in**-0.5).bfloat16()
    return own.repeat(-(-like.numel() // own.numel()))[: like.numel()].view(like.shape)
