"""The first layers of a pretrained base -> a smaller base, to train from there.

    cut_base(Path("SmolLM2-135M-Instruct"), 10, Path("base-10"))     10 of its 30 layers

What is above the last layer (the final norm, and a head if there is one) stays as it is, although
it was trained for more layers: training has to fit it again. A language model's head is left out.
"""

import shutil
from pathlib import Path

import orjson

from worldpm.errors import ConfigError
from worldpm.model.checkpoint import TOKENIZER_FILES, read_json, save_tensors, weight_files
from worldpm.model.config import ModelConfig, parse_config
from worldpm.model.fingerprint import stored_tensors
from worldpm.model.weights import Weights
from worldpm.store import file_sha256, write_atomic

RECORD = "cut.json"  # what the layers were taken from


def cut_config(base: Path, layers: int) -> ModelConfig:
    """The shape of the first `layers` layers of `base`; ConfigError where it has fewer."""
    return parse_config(_cut(base, layers), str(base / "config.json"))


def cut_base(base: Path, layers: int, folder: Path) -> ModelConfig:
    """Write the first `layers` layers of `base` to `folder`, values as they are; returns the shape.

    Raises ConfigError where the base has fewer, CheckpointError where it is not a whole checkpoint.
    """
    config = cut_config(base, layers)
    files = weight_files(base)
    weights = Weights(base, head=any(name.startswith("score.") for name in stored_tensors(files)))
    dropped = {
        name for index in range(layers, weights.config.num_hidden_layers)
        for name in weights.layer_names(index)
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    kept = weights.read([name for name in weights.places if name not in dropped])
    save_tensors(kept, folder / "model.safetensors")
    record = {"layers": layers, "of": [file_sha256(file) for file in files]}
    write_atomic(folder / RECORD, orjson.dumps(record, option=orjson.OPT_INDENT_2))
    written = orjson.dumps(_cut(base, layers), option=orjson.OPT_INDENT_2)
    write_atomic(folder / "config.json", written)
    return config


def _cut(base: Path, layers: int) -> dict[str, object]:
    """The base's config.json with fewer layers; a list with one entry a layer is cut as well."""
    raw = read_json(base / "config.json")
    there = parse_config(raw, str(base / "config.json")).num_hidden_layers
    if layers > there:
        raise ConfigError(f"layers: {layers} were asked for, and {base} has {there}")
    kinds = raw.get("layer_types")
    if isinstance(kinds, list):
        raw = {**raw, "layer_types": kinds[:layers]}
    return {**raw, "num_hidden_layers": layers}
