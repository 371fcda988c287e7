"""K token sequences -> one trie of segments, every shared prefix stored once.

    [1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2]    ->    [1 2]---[3]---[4]
                                                               \\-[5 6]

>>> tree = build_tree([[1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2]])
>>> tree.tokens.tolist(), tree.parent.tolist(), tree.position.tolist()
([1, 2, 3, 4, 5, 6], [-1, 0, 1, 1], [0, 2, 3, 3])
>>> tree.leaves.tolist(), tree.num_tokens.tolist()
([3, 5, 1], [4, 5, 2])
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROOT = -1
"""The `parent` of a segment that nothing precedes."""

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenTree:
    """The sequences of one comparison, T tokens in S segments for K replies.

    Segments stand in depth-first order, so parents precede children and the tokens of a subtree
    are neighbours; no segment is empty. Sequences without a common first token make several roots.
    A reply's scored token is its last one and always the last of a segment; equal replies share it.
    """

    tokens: Ints  # (T,) token ids
    parent: Ints  # (S,) index of the segment before, or ROOT
    start: Ints  # (S,) index into tokens of the segment's first token
    length: Ints  # (S,) number of tokens
    position: Ints  # (S,) position id of the segment's first token
    leaves: Ints  # (K,) index into tokens of each reply's last token
    num_tokens: Ints  # (K,) length of each reply's whole sequence

    def path_indices(self) -> list[NDArray[np.int64]]:
        """For each of the K sequences, the indices of its tokens in `tokens`, in their order."""
        ends = {end: i for i, end in enumerate((self.start + self.length - 1).tolist())}
        indices = []
        for leaf in self.leaves.tolist():
            segment = ends[leaf]
            pieces = []
            while segment != ROOT:
                start = int(self.start[segment])
                pieces.append(np.arange(start, start + int(self.length[segment])))
                segment = int(self.parent[segment])
            indices.append(np.concatenate(pieces[::-1]))
        return indices

    def paths(self) -> list[list[int]]:
        """The K sequences that the tree was built from."""
        return [self.tokens[indices].tolist() for indices in self.path_indices()]


def build_tree(sequences: Sequence[Sequence[int]]) -> TokenTree:
    """The trie of K >= 1 sequences, none of them empty, by longest common prefixes.

    Takes time proportional to the tokens of all sequences for each level of branching.
    """
    arrays = [np.asarray(sequence, dtype=np.int32) for sequence in sequences]
    assert arrays, "a tree needs at least one sequence"
    assert all(array.size for array in arrays), "an empty sequence has no token to score"
    pieces: list[Ints] = []
    parent, start, length, position = [], [], [], []
    leaves = np.zeros(len(arrays), dtype=np.int32)
    size = 0
    # Each entry: sequences that agree up to `depth` and on the token there, and what precedes.
    stack = [(group, 0, ROOT) for group in _branches(arrays, range(len(arrays)), 0)]
    while stack:
        group, depth, above = stack.pop()
        end = _agree_until(arrays, group, depth)
        segment = len(pieces)
        pieces.append(arrays[group[0]][depth:end])
        parent.append(above)
        start.append(size)
        length.append(end - depth)
        position.append(depth)
        size += end - depth
        longer = []
        for i in group:
            if arrays[i].size == end:
                leaves[i] = size - 1
            else:
                longer.append(i)
        stack += [(branch, end, segment) for branch in _branches(arrays, longer, end)]
    return TokenTree(
        tokens=np.concatenate(pieces),
        parent=np.array(parent, dtype=np.int32),
        start=np.array(start, dtype=np.int32),
        length=np.array(length, dtype=np.int32),
        position=np.array(position, dtype=np.int32),
        leaves=leaves,
        num_tokens=np.array([array.size for array in arrays], dtype=np.int32),
    )


def split_sequences(sequences: Sequence[Sequence[int]], budget: int) -> list[list[int]]:
    """Indices of neighbouring sequences whose tree has at most about `budget` tokens.

    Counts what each sequence adds to the first of its group, so a group's tree is never larger
    than counted; a sequence over the budget goes alone.
    """
    groups: list[list[int]] = []
    total = 0
    for i, sequence in enumerate(sequences):
        if groups:
            first = sequences[groups[-1][0]]
            added = len(sequence) - common_prefix(first, sequence)
            if total + added <= budget:
                groups[-1].append(i)
                total += added
                continue
        groups.append([i])
        total = len(sequence)
    return groups


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share from their beginning."""
    shorter = min(len(first), len(second))
    differs = np.asarray(first[:shorter]) != np.asarray(second[:shorter])
    return int(differs.argmax()) if differs.any() else shorter


def _branches(arrays: list[Ints], group: Sequence[int], depth: int) -> list[list[int]]:
    """Split a group by the token at `depth`; last first, since the stack takes from its end."""
    branches: dict[int, list[int]] = {}
    for i in group:
        branches.setdefault(int(arrays[i][depth]), []).append(i)
    return list(branches.values())[::-1]


def _agree_until(arrays: list[Ints], group: Sequence[int], depth: int) -> int:
    """The length of the prefix that all the group's sequences share; they agree up to `depth`."""
    first = arrays[group[0]]
    end = first.size
    for i in group[1:]:
        end = min(end, arrays[i].size)
        differs = first[depth:end] != arrays[i][depth:end]
        if differs.any():
            end = depth + int(differs.argmax())
    return end
