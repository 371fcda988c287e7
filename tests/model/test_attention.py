"""Attention with its own backward pass: equal to the plain computation, gradients included."""

import random

import pytest
import torch

from worldpm.model import attention
from worldpm.model.attention import Block, attend, plan_attention, plan_leaves
from worldpm.model.batch import collate
from worldpm.model.decoder import rotary_table, rotate, tree_attention, tree_masks
from worldpm.tokens.tree import build_tree

SIZE = 8


def random_batch(seed, most=40):
    """Three tries of up to sixteen sequences over few letters, so that they fork at many places."""
    chance = random.Random(seed)

    def sequence():
        return [chance.randrange(3) for _ in range(chance.randint(1, most))]

    return collate([build_tree([sequence() for _ in range(chance.randint(1, 16))]) for _ in "abc"])


def states(batch, heads, kv_heads, dtype=torch.float32):
    """Query, key, value and the rotary table of a batch."""
    generator = torch.Generator().manual_seed(1)
    count = len(batch.tokens)
    query, key, value = (
        torch.randn(count, n, SIZE, generator=generator, dtype=dtype).requires_grad_()
        for n in (heads, kv_heads, kv_heads)
    )
    cos, sin = rotary_table(batch.positions, SIZE, 1e4)
    return query, key, value, (cos.to(dtype), sin.to(dtype))


def plainly(query, key, value, rope, batch):
    """Torch's own attention under the tree's masks, and autograd's backward pass."""
    masks = tree_masks(batch, query.dtype)
    return tree_attention(rotate(query, *rope), rotate(key, *rope), value, batch, masks).flatten(1)


def test_plan_by_hand(monkeypatch):
    """[1 2] with the branches [3] and [4 5 6], then a tree of [7]; blocks of two rows at most."""
    batch = collate([build_tree([[1, 2, 3], [1, 2, 4, 5, 6]]), build_tree([[7]])])
    monkeypatch.setattr(attention, "BLOCK_ROWS", 2)
    assert plan_attention(batch).blocks == (
        Block((0, 2), ((0, 2),), causal=True),
        Block((2, 3), ((0, 3),), causal=True),  # neighbouring ranges are one
        Block((3, 5), ((0, 2), (3, 5)), causal=True),
        Block((5, 6), ((0, 2), (3, 6)), causal=True),
        Block((6, 7), ((6, 7),), causal=True),
    )
    leaves = plan_leaves(batch)
    assert leaves.rows.tolist() == [2, 5, 6]
    assert leaves.blocks == (
        Block((0, 1), ((0, 3),), causal=False),
        Block((1, 2), ((0, 2), (3, 6)), causal=False),
        Block((2, 3), ((6, 7),), causal=False),
    )


@pytest.mark.parametrize("rows", [256, 5])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 1), (4, 2), (3, 3)])
def test_equal_to_plain_attention(heads, kv_heads, rows, monkeypatch):
    """Values and gradients within 1e-5 of their size, for all tokens and for the leaves alone."""
    monkeypatch.setattr(attention, "BLOCK_ROWS", rows)
    batch = random_batch(heads + rows)
    *inputs, rope = states(batch, heads, kv_heads)
    wanted = plainly(*inputs, rope, batch)
    outer = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(2))
    query, key, value = inputs
    leaves = plan_leaves(batch)
    cases = [
        (wanted, attend(*inputs, rope, plan_attention(batch)), outer),
        (
            wanted[batch.leaves],
            attend(query[batch.leaves], key, value, rope, leaves),
            outer[batch.leaves],
        ),
    ]
    for expected, found, grad in cases:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        pairs = zip(
            torch.autograd.grad(expected, inputs, grad, retain_graph=True),
            torch.autograd.grad(found, inputs, grad),
            strict=True,
        )
        for theirs, ours in pairs:
            assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


def test_gradients_in_float64():
    """The backward pass is the derivative of the forward pass, by finite differences."""
    batch = collate([build_tree([[1, 2, 3, 4], [1, 2, 9], [1, 2, 3, 5, 6]]), build_tree([[7, 8]])])
    *inputs, rope = states(batch, 2, 1, torch.float64)
    for plan in (plan_attention(batch), plan_leaves(batch)):

        def run(query, key, value, plan=plan):
            asking = query if plan.rows is None else query[plan.rows]
            return attend(asking, key, value, rope, plan)

        assert torch.autograd.gradcheck(run, inputs)


def test_a_sibling_would_be_noticed(monkeypatch):
    """Blocks that see all of their tree's earlier tokens give other values: the check has teeth."""
    batch = random_batch(3)
    *inputs, rope = states(batch, 2, 1)
    expected = plainly(*inputs, rope, batch)
    monkeypatch.setattr(attention, "_joined", lambda ranges: ((ranges[0][0], ranges[-1][1]),))
    found = attend(*inputs, rope, plan_attention(batch))
    assert float((found - expected).detach().abs().max()) > 0.1


def test_low_precision_stays_near():
    """In bfloat16, under autocast too, values and gradients are within its rounding of float32's.

    Logits in bfloat16 would be off by more: they are computed in float32 there.
    """
    batch = random_batch(5)
    query, key, value, rope = states(batch, 4, 2)
    plan = plan_attention(batch)
    sharp = 8.0  # logits of up to about a hundred

    def run(q, k, v):
        return attend(q * sharp, k, v, rope, plan)

    with torch.no_grad():
        low = [x.bfloat16() for x in (query, key, value)]
        exact = run(*(x.float() for x in low))
        with torch.autocast("cpu", torch.bfloat16):
            found = run(*low)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - exact).abs().max()) < 0.03
    rough = plainly(low[0] * sharp, low[1], low[2], tuple(t.bfloat16() for t in rope), batch)
    assert float((rough.float() - exact).abs().max()) > 0.1
