"""Weights read on demand: all that is wrong with a folder is said, nothing is kept."""

import pytest
import torch
from checkpoints import LAYOUTS, read_state, write_layout, write_shards
from torch.utils._python_dispatch import TorchDispatchMode

from worldpm.errors import CheckpointError
from worldpm.model import checkpoint
from worldpm.model.checkpoint import read_model
from worldpm.model.weights import EMBEDDING, NORM, Weights


@pytest.fixture
def folder(tmp_path):
    """A checkpoint, to be damaged."""
    return write_layout(tmp_path / "model", "Qwen2ForRewardModel", seed=1)


def rewrite(folder, change):
    """Write the folder's tensors again after `change` of their dict."""
    state = read_state(folder)
    change(state)
    write_shards(folder, state)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pieces_make_the_whole(layout, shards, tmp_path):
    """Ends, head and layers together are the tensors that `read_model` loads, each once."""
    weights = Weights(write_layout(tmp_path / "m", layout, shards=shards))
    found = dict(weights.read([EMBEDDING, NORM]))
    for index in range(weights.config.num_hidden_layers):
        layer = weights.layer(index)
        assert set(weights.layer_names(index)) == {f"model.layers.{index}.{n}" for n in layer}
        found |= {f"model.layers.{index}.{name}": tensor for name, tensor in layer.items()}
    found |= {f"score.{name}": t for name, t in weights.head().state_dict().items()}
    expected = read_model(weights.folder).state_dict()
    assert found.keys() == expected.keys() == weights.places.keys()
    assert all(torch.equal(found[name].float(), expected[name]) for name in expected)


def test_values_are_looked_at_in_pieces(folder, monkeypatch):
    """A table of embeddings may be half of a model: looking for NaN makes no copy as large."""

    class Largest(TorchDispatchMode):
        looked_at = 0

        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            found = op(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor) and found.dtype == torch.bool:
                self.looked_at = max(self.looked_at, found.numel())
            return found

    weights = Weights(folder)
    monkeypatch.setattr(checkpoint, "FINITE_PIECE", 1000, raising=False)
    with Largest() as largest:
        weights.read([EMBEDDING])
    assert 0 < largest.looked_at <= 1000
    rewrite(folder, lambda s: s[EMBEDDING][-1, -1].fill_(float("nan")))
    with pytest.raises(CheckpointError, match="not finite"):
        Weights(folder).read([EMBEDDING])


def test_opening_reads_headers_only(folder, monkeypatch):
    """No tensor's values are read before they are asked for, and bytes are known from headers."""
    monkeypatch.setattr(Weights, "read", lambda *_: pytest.fail("values were read"))
    weights = Weights(folder)
    sizes = {name: t.numel() * t.element_size() for name, t in read_state(folder).items()}
    assert weights.num_bytes([EMBEDDING, NORM]) == sizes[EMBEDDING] + sizes[NORM]
    assert not any(name.startswith("lm_head") for name in weights.places)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("model.layers.1.mlp.up_proj.weight"), "lacks 1 tensors"),
        (lambda s: s.update({"model.layers.7.x": torch.ones(2)}), "this shape does not"),
        (lambda s: s.update({NORM: torch.ones(3)}), "config.json asks for"),
        (lambda s: s.pop("score.2.bias"), "no scalar head"),
        (lambda s: s.update({NORM: torch.ones(64, dtype=torch.int32)}), "give bf16 or float32"),
    ],
)
def test_what_headers_show_is_refused_at_once(folder, change, message):
    """Missing, unknown and misshapen tensors, half a head, integers: an error before any value."""
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        Weights(folder)


def test_values_not_finite_are_found_when_read(folder):
    """A NaN is named by its tensor when its layer is read, and not before."""
    rewrite(folder, lambda s: s["model.layers.1.mlp.up_proj.weight"].view(-1)[3:4].fill_(torch.nan))
    weights = Weights(folder)
    weights.layer(0)
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj\.weight has values"):
        weights.layer(1)


def test_a_shard_cut_short_is_named(tmp_path):
    """A file that lost its end is an error at opening."""
    folder = write_layout(tmp_path / "sharded", "Qwen2ForRewardModel", shards=3)
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=shard.name):
        Weights(folder)


def test_a_plain_language_model_opens_without_head(folder):
    """Without a head it is refused, unless none is asked for."""

    def behead(state):
        for name in [name for name in state if name.startswith("score.")]:
            del state[name]

    rewrite(folder, behead)
    with pytest.raises(CheckpointError, match="no scalar head"):
        Weights(folder)
    assert Weights(folder, head=False).layer(0)
