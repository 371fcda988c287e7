"""FlexAttention with the tree mask, run on the processor: equal to attention segment by segment."""

import random

import pytest
import torch
from checkpoints import write_layout

from worldpm.model import decoder, engine, native
from worldpm.model.batch import collate
from worldpm.model.decoder import tree_attention, tree_masks
from worldpm.model.engine import Resident, TorchEngine
from worldpm.model.flex import flex_tree_attention, subtree_ends, tree_block_mask
from worldpm.model.weights import Weights
from worldpm.tokens.tree import build_tree

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def random_batch(seed):
    """Three tries of up to nine sequences over few letters, so that they branch at many places."""
    chance = random.Random(seed)

    def sequence():
        return [chance.randrange(3) for _ in range(chance.randint(1, 40))]

    return collate([build_tree([sequence() for _ in range(chance.randint(1, 9))]) for _ in "abc"])


def visible(batch):
    """The mask (T, T) that the small masks of the processor say, tree by tree."""
    blocks = []
    for lengths, mask in zip(batch.tree_lengths, tree_masks(batch, torch.float32), strict=True):
        causal = torch.ones(lengths, lengths, dtype=torch.bool).tril()
        blocks.append(causal if mask is None else mask == 0)
    return torch.block_diag(*blocks)


def test_subtree_ends_by_hand():
    """[1 2] with the branches [3] and [4 5], then a tree of [6]."""
    batch = collate([build_tree([[1, 2, 3], [1, 2, 4, 5]]), build_tree([[6]])])
    assert subtree_ends(batch).tolist() == [5, 5, 3, 5, 5, 6]


@pytest.mark.parametrize("seed", range(30))
def test_one_number_a_token_says_what_it_sees(seed):
    """k <= q < end of k's subtree is the tree mask, whatever the trees."""
    batch = random_batch(seed)
    index = torch.arange(len(batch.tokens))
    ends = subtree_ends(batch)
    seen = (index[:, None] >= index[None]) & (index[:, None] < ends[None])
    assert torch.equal(seen, visible(batch))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_equal_to_attention_segment_by_segment(kv_heads):
    """Within 1e-6 in float32, with 4 query heads; and a mask of another batch differs."""
    batch, other = random_batch(7), random_batch(8)
    generator = torch.Generator().manual_seed(0)
    count = len(batch.tokens)
    query = torch.randn(count, 4, 16, generator=generator)
    key, value = (torch.randn(count, kv_heads, 16, generator=generator) for _ in range(2))
    expected = tree_attention(query, key, value, batch, tree_masks(batch, torch.float32))
    mask = tree_block_mask(batch)
    found = flex_tree_attention(query, key, value, mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert torch.equal(tree_attention(query, key, value, batch, mask), found)
    causal = collate([build_tree([other.tokens.tolist()[:1] * count])])
    wrong = flex_tree_attention(query, key, value, tree_block_mask(causal))
    assert float((wrong - expected).abs().max()) > 0.1


@pytest.mark.parametrize("layout", ["Qwen2ForRewardModel", "LlamaForSequenceClassification"])
def test_a_model_scores_the_same_by_either(layout, tmp_path, monkeypatch):
    """The torch engine with the GPU's attention gives the processor's scores within 1e-5."""
    weights = Weights(write_layout(tmp_path / "m", layout, seed=11))
    batch = random_batch(3)
    runner = Resident(weights, TorchEngine(weights.config, "float32"))
    (expected,) = runner.run([batch])
    monkeypatch.setattr(engine, "masks_for", lambda batch, dtype: tree_block_mask(batch))
    (found,) = runner.run([batch])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert expected.unique().numel() > 1


def test_a_gpu_gets_the_block_mask(monkeypatch):
    """Batches on a GPU take one mask for all; those on the processor one a tree."""
    batch = random_batch(1)
    assert isinstance(decoder.masks_for(batch, torch.float32), list)
    monkeypatch.setattr(decoder, "tree_block_mask", lambda batch: "one mask")

    class OnGPU:
        tokens = type("Tokens", (), {"device": torch.device("cuda")})

    assert decoder.masks_for(OnGPU, torch.float32) == "one mask"


def test_auto_prefers_a_gpu(tmp_path, monkeypatch):
    """Where there is a GPU "auto" and "torch" compute on torchrun's one; "native" stays."""
    config = Weights(write_layout(tmp_path / "m", "Qwen2ForRewardModel", seed=1)).config
    assert native.gpu() is None or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert native.gpu() == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    for name in ("auto", "torch"):
        chosen = native.choose_engine(config, "bfloat16", name)
        assert isinstance(chosen, TorchEngine)
        assert (chosen.device, chosen.dtype) == (torch.device("cuda:3"), "bfloat16")
        assert chosen.name.endswith("on cuda:3")
    if native.native_isas():
        assert native.choose_engine(config, "float32", "native").name.startswith("native")
