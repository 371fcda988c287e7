"""The token tree: its paths are the sequences, and every shared prefix is stored once."""

import doctest
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.tokens import pack as pack_module
from worldpm.tokens import tree as tree_module
from worldpm.tokens.pack import pack
from worldpm.tokens.tree import ROOT, build_tree, common_prefix, split_sequences

# Three token ids only, so that prefixes, equal replies and late forks come up all the time.
SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8)


def prefixes(sequences):
    return {tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)}


@pytest.mark.parametrize("module", [tree_module, pack_module])
def test_examples(module):
    """The examples in the modules' first lines are true."""
    assert doctest.testmod(module) == (0, doctest.testmod(module).attempted)
    assert doctest.testmod(module).attempted > 0


@given(SEQUENCES)
def test_paths_are_the_sequences(sequences):
    """Walking from each leaf to the root gives back exactly what the tree was built from."""
    tree = build_tree(sequences)
    assert tree.paths() == sequences
    assert tree.num_tokens.tolist() == [len(s) for s in sequences]


@given(SEQUENCES)
def test_every_prefix_is_stored_once(sequences):
    """There are as many tokens as distinct prefixes, and each token stands for its own prefix."""
    tree = build_tree(sequences)
    assert tree.tokens.size == len(prefixes(sequences))
    stored = set()
    before = {ROOT: ()}
    for i, above in enumerate(tree.parent.tolist()):
        path = before[above]
        for token in tree.tokens[tree.start[i] : tree.start[i] + tree.length[i]].tolist():
            path += (token,)
            stored.add(path)
        before[i] = path
    assert stored == prefixes(sequences)


@given(SEQUENCES)
def test_layout(sequences):
    """Parents precede children, segments tile the tokens, positions count from the root."""
    tree = build_tree(sequences)
    assert (tree.parent < np.arange(tree.parent.size)).all()
    assert (tree.length > 0).all()
    assert tree.start.tolist() == [0, *np.cumsum(tree.length)[:-1].tolist()]
    assert int(tree.length.sum()) == tree.tokens.size
    for above, position in zip(tree.parent.tolist(), tree.position.tolist(), strict=True):
        assert position == (0 if above == ROOT else tree.position[above] + tree.length[above])
    ends = set((tree.start + tree.length - 1).tolist())
    assert set(tree.leaves.tolist()) <= ends
    for field in ("tokens", "parent", "start", "length", "position", "leaves", "num_tokens"):
        assert getattr(tree, field).dtype == np.int32


@given(SEQUENCES)
def test_no_needless_segments(sequences):
    """A segment ends only where replies fork or one of them ends."""
    tree = build_tree(sequences)
    ends = tree.start + tree.length - 1
    for i, end in enumerate(ends.tolist()):
        assert end in tree.leaves or (tree.parent == i).sum() >= 2


@given(SEQUENCES)
def test_subtrees_are_neighbours(sequences):
    """The segments below a segment follow it without a gap."""
    tree = build_tree(sequences)
    below = [{i} for i in range(tree.parent.size)]
    for i in reversed(range(tree.parent.size)):
        if tree.parent[i] != ROOT:
            below[tree.parent[i]] |= below[i]
    assert all(sorted(b) == list(range(i, i + len(b))) for i, b in enumerate(below))


@pytest.mark.parametrize(
    ("sequences", "lengths", "parent", "leaves"),
    [
        ([[7, 8, 9]], [3], [-1], [2]),
        ([[7, 8], [7, 8], [7, 8]], [2], [-1], [1, 1, 1]),
        ([[7, 8, 9], [7]], [1, 2], [-1, 0], [2, 0]),
        ([[1, 2, 3], [1, 2, 4], [1, 5]], [1, 1, 1, 1, 1], [-1, 0, 1, 1, 0], [2, 3, 4]),
        ([[1], [2]], [1, 1], [-1, -1], [0, 1]),
    ],
    ids=["one", "equal", "prefix", "shared by some", "nothing shared"],
)
def test_known_trees(sequences, lengths, parent, leaves):
    """Small trees, worked out by hand."""
    tree = build_tree(sequences)
    assert tree.length.tolist() == lengths
    assert tree.parent.tolist() == parent
    assert tree.leaves.tolist() == leaves


@pytest.mark.parametrize("sequences", [[], [[1], []]])
def test_empty_sequences_are_refused(sequences):
    """A tree needs a sequence, and a sequence a token to score."""
    with pytest.raises(AssertionError):
        build_tree(sequences)


def test_paths_see_a_wrong_parent():
    """A tree whose branch hangs on the wrong segment no longer gives the sequences back."""
    sequences = [[1, 2, 3], [1, 2, 4], [1, 5]]
    tree = build_tree(sequences)
    wrong = tree.parent.copy()
    wrong[2] = 0
    assert replace(tree, parent=wrong).paths() != sequences


@given(st.lists(st.integers(1, 30), max_size=30), st.integers(1, 40))
def test_pack(sizes, budget):
    """Every tree goes into one batch, in order; only a lone tree is over the budget."""
    batches = list(pack([build_tree([[0] * n]) for n in sizes], budget))
    assert [i for batch in batches for i in batch] == list(range(len(sizes)))
    assert all(batches)
    for batch in batches:
        assert len(batch) == 1 or sum(sizes[i] for i in batch) <= budget
    for batch, following in pairwise(batches):
        assert sum(sizes[i] for i in batch) + sizes[following[0]] > budget


@given(SEQUENCES, SEQUENCES)
def test_common_prefix(one, other):
    """The longest beginning that both have, either way round."""
    for a, b in zip(one, other, strict=False):
        shared = common_prefix(a, b)
        assert shared == common_prefix(b, a)
        assert a[:shared] == b[:shared]
        assert shared == min(len(a), len(b)) or a[shared] != b[shared]


@given(SEQUENCES, st.integers(1, 30))
def test_groups_keep_order_and_budget(sequences, budget):
    """Every sequence once, in order; a group's tree is within the budget, or it is alone."""
    groups = split_sequences(sequences, budget)
    assert [i for group in groups for i in group] == list(range(len(sequences)))
    for group in groups:
        size = build_tree([sequences[i] for i in group]).tokens.size
        assert size <= budget or len(group) == 1


def test_groups_are_as_large_as_they_may_be():
    """What is shared with a group's first sequence costs nothing, and the budget is met in full."""
    sequences = [[1, 2, 3], [1, 2, 4], [1, 2, 3, 5], [9], [9, 8, 7, 6, 5, 4], [9]]
    assert split_sequences(sequences, 5) == [[0, 1, 2], [3], [4], [5]]
    assert split_sequences(sequences, 4) == [[0, 1], [2], [3], [4], [5]]
    assert split_sequences(sequences, 6) == [[0, 1, 2, 3], [4, 5]]
    assert split_sequences([[1, 2], [1, 3], [1, 4], [5]], 4) == [[0, 1, 2], [3]]
    assert split_sequences([], 4) == []
