"""A base cut to its first layers: those layers to the bit, and nothing of the others."""

import orjson
import pytest
import torch
from checkpoints import read_state
from tiny import small_model, tiny_base

from worldpm.errors import ConfigError
from worldpm.model.config import parse_config
from worldpm.model.cut import cut_base, cut_config


def test_the_first_layers_stay(tmp_path):
    """Every tensor but a language model's own head and later layers', with its bits and type."""
    base = tiny_base(tmp_path / "base")
    assert cut_base(base, 1, tmp_path / "cut").num_hidden_layers == 1
    whole, cut = read_state(base), read_state(tmp_path / "cut")
    assert whole.keys() - cut.keys() == {
        name for name in whole if ".layers.1." in name or name == "lm_head.weight"
    }
    for name, tensor in cut.items():
        assert tensor.dtype == whole[name].dtype
        assert torch.equal(tensor, whole[name]), name


def test_all_layers_are_the_base(tmp_path):
    """A model cut at its own depth, its head with it, has the same tensors."""
    model = small_model(tmp_path / "model")
    depth = parse_config(orjson.loads((model / "config.json").read_bytes()), "").num_hidden_layers
    cut_base(model, depth, tmp_path / "cut")
    whole, cut = read_state(model), read_state(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in cut.items())


def test_lists_by_layer_are_cut(tmp_path):
    """Qwen3's `layer_types` has an entry a layer; too many layers are an error."""
    base = tiny_base(tmp_path / "base")
    raw = orjson.loads((base / "config.json").read_bytes())
    kinds = ["full_attention"] * raw["num_hidden_layers"]
    (base / "config.json").write_bytes(orjson.dumps({**raw, "layer_types": kinds}))
    cut_base(base, 1, tmp_path / "cut")
    found = orjson.loads((tmp_path / "cut" / "config.json").read_bytes())
    assert (found["num_hidden_layers"], found["layer_types"]) == (1, kinds[:1])
    with pytest.raises(ConfigError, match=r"layers: 9 were asked for, and .*base has 2"):
        cut_config(base, 9)
