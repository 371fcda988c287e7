"""Outputs of frozen layers on disk, by what they are computed from, for runs that share them.

    shelf = Shelf(Path("frozen"), frozen_digest(model, frozen_layers=25))
    shelf.get(tree, lambda: compute())     computed once, read ever after, in any run

Runs over the same comparisons with the same frozen layers (seeds, learning rates, arms) pay for
those layers once. A value is the float32 residual stream of one tree, 2.3 kB a token at 576
dimensions, and its bits are those that were computed.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from worldpm.model.decoder import PreferenceModel
from worldpm.tokens.tree import TokenTree


def frozen_digest(model: PreferenceModel, frozen_layers: int) -> str:
    """The digest of the embeddings and the first `frozen_layers` layers: names, types, values."""
    found = hashlib.sha256()
    parts: list[tuple[str, nn.Module]] = [("embed_tokens", model.model.embed_tokens)]
    parts += [(f"layers.{i}", layer) for i, layer in enumerate(model.model.layers[:frozen_layers])]
    for part, module in parts:
        for name, tensor in sorted(module.state_dict().items()):
            found.update(f"{part}.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


class Shelf:
    """A folder of tensors, each in a file named by the digest of its tree and of `identity`."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity

    def get(self, tree: TokenTree, compute: Callable[[], Tensor]) -> Tensor:
        """The value of `tree`, computed and kept where it is not there, or not whole."""
        path = self._path(tree)
        try:
            return torch.from_numpy(np.load(path, allow_pickle=False))
        except (FileNotFoundError, ValueError, EOFError):
            value = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, value.detach().cpu().numpy(), allow_pickle=False)
        partial.replace(path)
        return value

    def _path(self, tree: TokenTree) -> Path:
        found = hashlib.sha256(self.identity.encode())
        for part in (tree.tokens, tree.parent, tree.length, tree.position):
            found.update(len(part).to_bytes(8, "little"))
            found.update(part.tobytes())
        name = found.hexdigest()[:40]
        return self.folder / name[:2] / f"{name}.npy"
