"""A checkpoint of which only config.json is there: what its tensors would be, and how fast.

    if lacks_weights(folder):
        plan_memory(Outline(folder), engine, tokens=88_000)

For a plan before 145 GB are fetched.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from worldpm.errors import CheckpointError
from worldpm.model.checkpoint import head_of, read_config, read_json
from worldpm.model.decoder import PreferenceModel
from worldpm.model.weights import Place, Weights
from worldpm.records import Comparison

CHARS_PER_TOKEN = 4  # of English; fewer of other languages
MESSAGE_TOKENS = 5  # that the template writes around a message
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class Outline(Weights):
    """Names, shapes and sizes as config.json (and the index, if any) let expect; nothing to read.

    Released checkpoints are bfloat16, which is taken where config.json does not say.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_config(folder)
        raw = read_json(folder / "config.json")
        dtype = DTYPES.get(str(raw.get("dtype", raw.get("torch_dtype"))), torch.bfloat16)
        names = ["score.weight"]
        if any("RewardModel" in str(name) for name in raw.get("architectures") or ()):
            names = [f"score.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")]
        size = self.config.hidden_size
        with torch.device("meta"):
            head = head_of(dict.fromkeys(names, torch.empty(0)), size, folder)
            expected = PreferenceModel(self.config, head).state_dict()
        self.places = {
            name: Place(folder, tuple(t.shape), t.numel() * dtype.itemsize, dtype)
            for name, t in expected.items()
        }
        self._check_index(folder / "model.safetensors.index.json")

    def _check_index(self, index: Path) -> None:
        if not index.is_file():
            return
        named: Any = read_json(index).get("weight_map")
        missing = sorted(self.places.keys() - (named or ()))
        if missing:
            raise CheckpointError(f"{index}: lacks {len(missing)} tensors, first {missing[0]}")


def lacks_weights(folder: Path) -> bool:
    """Whether a folder has a config.json and not one file of weights."""
    return (folder / "config.json").is_file() and not any(folder.glob("*.safetensors"))


def rough_tokens(comparisons: Iterable[Comparison]) -> int:
    """Tokens of comparisons, prompts once, where there is no tokenizer either."""
    messages = (
        message
        for comparison in comparisons
        for part in (comparison.prompt, *comparison.replies)
        for message in part
    )
    return sum(len(each.content) // CHARS_PER_TOKEN + MESSAGE_TOKENS for each in messages)
