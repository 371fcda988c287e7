"""A shape and a tokenizer -> a base of random weights, to train from scratch.

    create_base(Path("recipes/shapes/ladder-3m"), tokenizer_folder, Path("base-3m"), seed=0)
    worldpm train RECIPE.toml --base base-3m ...

The shape is a config.json; one without `vocab_size` takes the tokenizer's. The folder has no head:
training makes one. The same shape, tokenizer and seed give the same bytes.
"""

import shutil
from pathlib import Path

import orjson
import torch

from worldpm.errors import CheckpointError
from worldpm.model.checkpoint import TOKENIZER_FILES, read_json, save_tensors
from worldpm.model.config import ModelConfig, parse_config
from worldpm.model.decoder import Decoder
from worldpm.store import versions, write_atomic
from worldpm.tokens.encode import Encoder

RECORD = "fresh.json"  # what the weights were drawn by
SPREAD = 0.02  # `initializer_range` of Qwen2 and Llama where a config.json does not say


def read_shape(shape: Path, vocab_size: int) -> ModelConfig:
    """The shape in the file `shape`, or in the config.json of the folder `shape`.

    Raises CheckpointError for a shape that we do not have, or with fewer tokens than `vocab_size`.
    """
    path = shape / "config.json" if shape.is_dir() else shape
    config = parse_config({"vocab_size": vocab_size, **read_json(path)}, str(path))
    if config.vocab_size < vocab_size:
        raise CheckpointError(
            f"{path}: vocab_size {config.vocab_size} is less than the tokenizer's {vocab_size}; "
            "leave it out to take the tokenizer's"
        )
    return config


def create_base(shape: Path, tokenizer: Path, folder: Path, *, seed: int) -> ModelConfig:
    """Write a base of random weights to `folder`, which must be empty or new; returns its shape.

    Matrices and embeddings are drawn from N(0, initializer_range), biases are 0 and norms 1, as
    transformers begins a Qwen2. Raises CheckpointError for a shape or tokenizer we cannot use.
    """
    vocab_size = Encoder.from_folder(tokenizer).vocab_size
    config = read_shape(shape, vocab_size)
    raw = read_json(shape / "config.json" if shape.is_dir() else shape)
    spread = float(raw.get("initializer_range", SPREAD))
    decoder = Decoder(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, spread, generator=generator)
            else:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    state = {f"model.{name}": tensor for name, tensor in decoder.state_dict().items()}
    save_tensors(state, folder / "model.safetensors")
    record = {"seed": seed, "versions": versions("worldpm", "torch")}
    write_atomic(folder / RECORD, orjson.dumps(record, option=orjson.OPT_INDENT_2))
    written = {**raw, "vocab_size": config.vocab_size, "dtype": "float32"}
    write_atomic(folder / "config.json", orjson.dumps(written, option=orjson.OPT_INDENT_2))
    return config
