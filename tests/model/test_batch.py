"""Trees -> one flat batch: known batches, worked out by hand, and the whole against its parts."""

import numpy as np
import torch

from worldpm.model.batch import collate
from worldpm.tokens.tree import build_tree


def test_known_batch():
    """Two trees end to end: positions restart, leaves count on, segments keep their own numbers."""
    batch = collate([build_tree([[7, 8, 9]]), build_tree([[1, 2, 3], [1, 2, 4, 5], [1, 6]])])
    assert batch.tokens.tolist() == [7, 8, 9, 1, 2, 3, 4, 5, 6]
    assert batch.positions.tolist() == [0, 1, 2, 0, 1, 2, 2, 3, 1]
    assert batch.segments == ((3,), (1, 1, 1, 2, 1))
    assert batch.ancestors == (((),), ((), (0,), (0, 1), (0, 1), (0,)))
    assert batch.leaves.tolist() == [2, 5, 7, 8]
    assert batch.replies_per_tree == (1, 3)
    assert batch.tree_lengths == [3, 6]
    assert {t.dtype for t in (batch.tokens, batch.positions, batch.leaves)} == {torch.int64}


def test_equal_replies_and_prefixes():
    """Equal replies share a leaf; a reply that ends within another has its own."""
    batch = collate([build_tree([[1, 2], [1, 2], [1, 2, 3]])])
    assert batch.leaves.tolist() == [1, 1, 2]
    assert batch.ancestors == (((), (0,)),)


def test_several_roots():
    """Replies without a common first token hang on nothing, and start at position 0 each."""
    batch = collate([build_tree([[1, 2], [3]])])
    assert batch.ancestors == (((), ()),)
    assert batch.positions.tolist() == [0, 1, 0]


def test_a_batch_moves_as_a_whole():
    """All three tensors go to the device, the plan stays as it is."""
    batch = collate([build_tree([[1, 2, 3], [1, 2, 4]])])
    moved = batch.to(torch.device("meta"))
    assert {t.device.type for t in (moved.tokens, moved.positions, moved.leaves)} == {"meta"}
    assert moved.leaves.shape == batch.leaves.shape
    plan = ("segments", "ancestors", "replies_per_tree")
    assert all(getattr(moved, name) == getattr(batch, name) for name in plan)


def test_batch_is_its_trees_side_by_side():
    """Whatever the trees, a batch is the batches of each one joined, leaves moved along."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        trees = [
            build_tree([rng.integers(0, 3, rng.integers(1, 9)).tolist() for _ in range(4)])
            for _ in range(rng.integers(1, 5))
        ]
        whole, parts = collate(trees), [collate([tree]) for tree in trees]
        for field in ("tokens", "positions"):
            assert torch.equal(getattr(whole, field), torch.cat([getattr(p, field) for p in parts]))
        for field in ("segments", "ancestors", "replies_per_tree"):
            assert getattr(whole, field) == sum((getattr(p, field) for p in parts), ())
        starts = np.cumsum([0, *whole.tree_lengths])[:-1]
        moved = [
            leaf + int(s) for p, s in zip(parts, starts, strict=True) for leaf in p.leaves.tolist()
        ]
        assert whole.leaves.tolist() == moved
        assert sum(map(sum, whole.segments)) == len(whole.tokens)
