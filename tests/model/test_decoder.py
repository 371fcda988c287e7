"""The decoder's parts: norm, rotary table, masks, precision, heads."""

import pytest
import torch
from checkpoints import write_layout

from worldpm.model import decoder
from worldpm.model.batch import collate
from worldpm.model.checkpoint import read_model
from worldpm.model.decoder import RMSNorm, linear_head, mlp_head, rotary_table, rotate, tree_masks
from worldpm.tokens.tree import build_tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_layout(tmp_path_factory.mktemp("decoder"), "Qwen2ForRewardModel", seed=4)


@pytest.fixture(scope="module")
def model(folder):
    return read_model(folder)


def test_norm_by_hand():
    """x / sqrt(mean(x^2) + eps) * weight, in float32 from bfloat16 too."""
    norm = RMSNorm(2, eps=0.5)
    norm.weight.data = torch.tensor([2.0, -1.0])
    hidden = torch.tensor([[3.0, 4.0]])
    expected = torch.tensor([[6.0, -4.0]]) / 13.0**0.5
    torch.testing.assert_close(norm(hidden), expected)
    assert norm.to(torch.bfloat16)(hidden.bfloat16()).dtype == torch.float32


def test_rotary_keeps_lengths_and_sees_distances():
    """Rotation keeps norms, is nothing at position 0, and products depend on distance alone."""
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 3, 8, generator=generator) for _ in range(2))

    def product(at, other):
        q = rotate(query, *rotary_table(torch.tensor([at]), 8, 1e4))
        k = rotate(key, *rotary_table(torch.tensor([other]), 8, 1e4))
        torch.testing.assert_close(q.norm(dim=-1), query.norm(dim=-1))
        return (q * k).sum(-1)

    torch.testing.assert_close(product(0, 0), (query * key).sum(-1))
    torch.testing.assert_close(product(9, 4), product(105, 100), atol=1e-4, rtol=1e-4)
    assert float((product(9, 4) - product(9, 5)).abs().max()) > 0.1


def test_mask_by_hand():
    """A token sees itself, its segment's earlier tokens and all of its ancestors; nothing else."""
    batch = collate([build_tree([[1, 2], [1, 3], [1, 3, 4]]), build_tree([[5, 6]])])
    first, second = tree_masks(batch, torch.float32)
    sees = ["1...", "11..", "1.1.", "1.11"]
    expected = torch.tensor([[0.0 if c == "1" else float("-inf") for c in row] for row in sees])
    assert torch.equal(first, expected)
    assert second is None


def test_large_trees_have_no_mask(monkeypatch):
    """Above MASKED_TREE_TOKENS no square mask is made."""
    batch = collate([build_tree([[1, 2], [1, 3]])])
    monkeypatch.setattr(decoder, "MASKED_TREE_TOKENS", 2)
    assert tree_masks(batch, torch.float32) == [None]
    monkeypatch.setattr(decoder, "MASKED_TREE_TOKENS", 3)
    assert tree_masks(batch, torch.float32)[0] is not None


def test_layers_in_parts(model):
    """Running the layers in two parts is running them in one: frozen layers can be kept."""
    batch = collate([build_tree([[1, 2, 3, 4], [1, 2, 9]])])
    with torch.inference_mode():
        half = model.model.run_layers(model.model.embed(batch), batch, 0, 1)
        assert torch.equal(model.apply_head(model.model.to_leaves(half, batch, 1)), model(batch))
        rest = model.model.run_layers(half, batch, 1, 2)
        whole = model.apply_head(model.model.at_leaves(rest, batch))
        torch.testing.assert_close(model(batch), whole, atol=1e-5, rtol=1e-5)  # leaves alone


def test_bfloat16_scores_stay_near_and_are_float32(folder, model):
    """With bfloat16 weights the residual stream, norms and head stay in float32."""
    low = read_model(folder, torch.bfloat16)
    batch = collate([build_tree([list(range(1, 30)), [*range(1, 20), 5, 6]])])
    with torch.inference_mode():
        assert low.model.embed(batch).dtype == torch.float32
        scores = low(batch)
        assert scores.dtype == torch.float32
        assert low.score[0].weight.dtype == torch.float32
        difference = float((scores - model(batch)).abs().max())
    assert 0 < difference < 0.2


def test_head_ignores_lower_precision_around_it(model):
    """Under autocast the head still computes in float32, so that scores do not tie."""
    hidden = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain = model.apply_head(hidden)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.apply_head(hidden), plain)
            assert not torch.equal(model.score(hidden).squeeze(-1).float(), plain)


def test_heads_have_the_released_names():
    """`score.0` and `score.2` with biases; `score.weight` without."""
    assert {n: tuple(t.shape) for n, t in mlp_head(8).state_dict().items()} == {
        "0.weight": (8, 8),
        "0.bias": (8,),
        "2.weight": (1, 8),
        "2.bias": (1,),
    }
    assert list(linear_head(8).state_dict()) == ["weight"]
    assert list(linear_head(8, bias=True).state_dict()) == ["weight", "bias"]
