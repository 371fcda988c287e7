"""Token trees -> one flat batch of tensors, with the plan that attention follows.

    [tree, tree, ...] -> TreeBatch(tokens (T,), positions (T,), segments, leaves (K_total,))

Trees are laid end to end without any padding. A segment's tokens see their own earlier tokens
and every token of the segments above it in its tree, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from worldpm.tokens.tree import TokenTree


@dataclass(frozen=True, slots=True)
class TreeBatch:
    """A flat batch of T tokens in S segments; numbered within their trees."""

    tokens: torch.Tensor  # (T,) int64
    positions: torch.Tensor  # (T,) int64
    segments: tuple[tuple[int, ...], ...]  # of each tree: the lengths of its segments; sum to T
    ancestors: tuple[tuple[tuple[int, ...], ...], ...]  # of each tree's segments, root first
    leaves: torch.Tensor  # (replies of all trees,) int64, index of each scored token
    replies_per_tree: tuple[int, ...]

    @property
    def tree_lengths(self) -> list[int]:
        """Tokens of each tree."""
        return [sum(lengths) for lengths in self.segments]

    def to(self, device: torch.device) -> "TreeBatch":
        """The same batch with its tensors on `device`."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            leaves=self.leaves.to(device),
        )


def collate(trees: Sequence[TokenTree]) -> TreeBatch:
    """Lay `trees` end to end."""
    tokens: list[NDArray[np.int32]] = []
    positions: list[NDArray[np.int64]] = []
    leaves: list[NDArray[np.int32]] = []
    ancestors: list[tuple[tuple[int, ...], ...]] = []
    for tree in trees:
        first_token = sum(part.size for part in tokens)
        tokens.append(tree.tokens)
        leaves.append(tree.leaves + first_token)
        above: list[tuple[int, ...]] = []
        for parent, length, position in zip(
            tree.parent.tolist(), tree.length.tolist(), tree.position.tolist(), strict=True
        ):
            above.append(() if parent < 0 else (*above[parent], parent))
            positions.append(np.arange(position, position + length))
        ancestors.append(tuple(above))
    return TreeBatch(
        tokens=torch.from_numpy(np.concatenate(tokens).astype(np.int64)),
        positions=torch.from_numpy(np.concatenate(positions).astype(np.int64)),
        segments=tuple(tuple(tree.length.tolist()) for tree in trees),
        ancestors=tuple(ancestors),
        leaves=torch.from_numpy(np.concatenate(leaves).astype(np.int64)),
        replies_per_tree=tuple(len(tree.leaves) for tree in trees),
    )
