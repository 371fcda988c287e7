"""Outputs of frozen layers on disk, by what they are computed from, for runs that share them.

    shelf = Shelf(Path("frozen"), frozen_digest(model, frozen_layers=25))
    shelf.get(parts_of(tree), lambda: compute())     computed once, read ever after, in any run

Runs over the same comparisons with the same frozen layers (seeds, learning rates, arms) pay for
those layers once. A value is the float32 residual stream of a tree, or of a batch of them, 2.3 kB a
token at 576 dimensions, and its bits are those that were computed.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worldpm.errors import UnwrittenError
from worldpm.model.decoder import PreferenceModel
from worldpm.tokens.tree import TokenTree


def frozen_digest(model: PreferenceModel, frozen_layers: int) -> str:
    """The digest of the embeddings and the first `frozen_layers` layers: names, types, values.

    And of what config.json says of their arithmetic and no tensor shows.
    """
    config = model.model.config
    shown_by_none = (
        config.num_attention_heads, config.num_key_value_heads, config.head_dim,
        config.rms_norm_eps, config.rope_theta,
    )  # fmt: skip
    found = hashlib.sha256(repr(shown_by_none).encode())
    parts: list[tuple[str, nn.Module]] = [("embed_tokens", model.model.embed_tokens)]
    parts += [(f"layers.{i}", layer) for i, layer in enumerate(model.model.layers[:frozen_layers])]
    for part, module in parts:
        for name, tensor in sorted(module.state_dict().items()):
            found.update(f"{part}.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def parts_of(tree: TokenTree) -> tuple[NDArray[Any], ...]:
    """What decides a tree's outputs."""
    return tree.tokens, tree.parent, tree.length, tree.position


class Shelf:
    """A folder of tensors, each in a file named by the digest of its key and of `identity`."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity

    def get(self, key: Sequence[NDArray[Any]], compute: Callable[[], Tensor]) -> Tensor:
        """The value of `key`, computed and kept where it is not there, or not whole."""
        path = self._path(key)
        try:
            return torch.from_numpy(np.load(path, allow_pickle=False))
        except (FileNotFoundError, ValueError, EOFError):
            value = compute()
        self._keep(path, value)
        return value

    def _keep(self, path: Path, value: Tensor) -> None:
        """UnwrittenError, and nothing half is left, where the disk does not take it."""
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.save(file, value.detach().cpu().numpy(), allow_pickle=False)
            partial.replace(path)
        except OSError as error:  # of a full disk numpy raises one without a number
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise UnwrittenError(
                f"{self.folder}: outputs of frozen layers could not be kept "
                f"({error.strerror or error}); free some space, or go on without --frozen-cache"
            ) from error

    def _path(self, key: Sequence[NDArray[Any]]) -> Path:
        found = hashlib.sha256(self.identity.encode())
        for part in key:
            found.update(len(part).to_bytes(8, "little"))
            found.update(part.tobytes())
        name = found.hexdigest()[:40]
        return self.folder / name[:2] / f"{name}.npy"
