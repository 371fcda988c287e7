"""A checkpoint's tensors on demand: names and shapes are checked first, values as they are read.

    weights = Weights(folder);  weights.layer(3)  ->  {"mlp.up_proj.weight": tensor, ...}

Nothing is kept, so a model larger than memory can be read a layer at a time.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from worldpm.errors import CheckpointError
from worldpm.model.checkpoint import (
    IGNORED,
    all_finite,
    check_shapes,
    head_of,
    read_config,
    weight_files,
)
from worldpm.model.decoder import PreferenceModel
from worldpm.model.fingerprint import read_header

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
EMBEDDING, NORM = "model.embed_tokens.weight", "model.norm.weight"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor is: its file, shape, number of bytes, type and first byte in the file."""

    file: Path
    shape: tuple[int, ...]
    num_bytes: int
    dtype: torch.dtype
    start: int = 0


class Weights:
    """The tensors of one checkpoint folder.

    Opening reads headers only. Raises CheckpointError for files that are damaged, tensors that are
    missing, unknown or misshapen, a missing head unless `head` is False (a plain language model)
    and, when they are read, values that are not finite.
    """

    def __init__(self, folder: Path, *, head: bool = True) -> None:
        self.folder = folder
        self.config = read_config(folder)
        self.places = self._read_headers()
        heads = {name: torch.empty(0) for name in self.places if name.startswith("score.")}
        with torch.device("meta"):
            size = self.config.hidden_size
            self._head = head_of(heads, size, folder) if head else nn.Module()
            expected = PreferenceModel(self.config, self._head).state_dict()
        check_shapes({name: place.shape for name, place in self.places.items()}, expected, folder)

    def _read_headers(self) -> dict[str, Place]:
        places = {}
        for path in weight_files(self.folder):
            for name, at in sorted(read_header(path).items()):
                if name.startswith(IGNORED):
                    continue
                dtype = DTYPES.get(at.dtype)
                if dtype is None:
                    raise CheckpointError(f"{path}: {name} is {at.dtype}; give bf16 or float32")
                places[name] = Place(path, at.shape, at.end - at.start, dtype, at.start)
        return places

    def read(self, names: list[str]) -> dict[str, Tensor]:
        """The named tensors, in the checkpoint's own dtypes, all finite."""
        tensors = {}
        for path in sorted({self.places[name].file for name in names}):
            try:
                with safe_open(path, framework="pt") as file:
                    for name in names:
                        if self.places[name].file == path:
                            tensors[name] = file.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path}: damaged or cut short: {error}") from None
        for name, tensor in tensors.items():
            if not all_finite(tensor):
                raise CheckpointError(f"{self.folder}: {name} has values that are not finite")
        return tensors

    def rows(self, name: str, rows: slice) -> Tensor:
        """Some rows (first dimension) of one tensor, which alone are read; not checked."""
        path = self.places[name].file
        try:
            with safe_open(path, framework="pt") as file:
                return file.get_slice(name)[rows]  # type: ignore[no-any-return]
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: damaged or cut short: {error}") from None

    def layer_names(self, index: int) -> list[str]:
        """Names of the tensors of layer `index`."""
        prefix = f"model.layers.{index}."
        return [name for name in self.places if name.startswith(prefix)]

    def layer(self, index: int) -> dict[str, Tensor]:
        """Tensors of layer `index` by their names inside it."""
        prefix = f"model.layers.{index}."
        found = self.read(self.layer_names(index))
        return {name.removeprefix(prefix): tensor for name, tensor in found.items()}

    def head(self) -> nn.Module:
        """The head, in float32."""
        state = self.read([name for name in self.places if name.startswith("score.")])
        named = {name.removeprefix("score."): t.float() for name, t in state.items()}
        self._head.load_state_dict(named, strict=True, assign=True)
        return self._head.requires_grad_(False)

    def num_bytes(self, names: list[str]) -> int:
        """Bytes of the named tensors as stored."""
        return sum(self.places[name].num_bytes for name in names)
