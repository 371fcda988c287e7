"""Frozen layers run by the scoring engine: near the trained path, the same bits in any company."""

import pytest
import torch
from tiny import toy_recipe

from worldpm.model.batch import collate
from worldpm.model.config import parse_config
from worldpm.model.decoder import PreferenceModel, linear_head
from worldpm.model.native import native_isas
from worldpm.tokens.tree import build_tree
from worldpm.train import frozen
from worldpm.train.frozen import FrozenLayers
from worldpm.train.step import TreeScorer

SHAPE = {"model_type": "llama", "vocab_size": 260, "hidden_size": 64, "intermediate_size": 96,
         "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
TREES = [build_tree([[1, 2, 3, 4], [1, 2, 9]]), build_tree([[7, 8, 9], [7, 5]])]


@pytest.fixture
def model():
    config = parse_config(SHAPE, "small")
    made = PreferenceModel(config, linear_head(config.hidden_size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.fixture(params=["native", "torch"])
def engine(request, monkeypatch):
    """Either engine, whatever is best here."""
    if request.param == "native" and "portable" in native_isas()[:1]:
        pytest.skip("worldpm-kernels has no vector units here")
    if request.param == "native" and not native_isas():
        pytest.skip("worldpm-kernels is not installed")
    real = frozen.choose_engine
    monkeypatch.setattr(
        frozen, "choose_engine", lambda config, dtype, **more: real(config, dtype, request.param)
    )
    return request.param


@pytest.mark.usefixtures("engine")
def test_equal_to_the_decoders_own_layers(model):
    """Within 1e-5 of the decoder's layers in float32, and not what fewer layers give."""
    own = model.model
    for tree in TREES:
        batch = collate([tree])
        with torch.no_grad():
            expected = own.run_layers(own.embed(batch), batch, 0, 2)
        found = FrozenLayers(model, 2, "float32")(tree)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert not found.requires_grad
        fewer = FrozenLayers(model, 1, "float32")(tree)
        assert float((fewer - expected).abs().max()) > 1e-2


def test_identity_says_engine_and_precision(model, engine):
    """Values kept for other runs are found again only by runs that would compute the same bits."""
    low = FrozenLayers(model, 2, "float32").identity
    assert low.startswith(engine)
    assert low.endswith("float32")


@pytest.mark.usefixtures("engine")
def test_scores_do_not_ask_who_shared_the_frozen_part(model):
    """A scorer's frozen states are the same bits after others and first of all."""
    recipe = toy_recipe("model.frozen_layers=2")
    first, second = (TreeScorer(model, recipe) for _ in range(2))
    first.frozen_layers(TREES[1])
    assert torch.equal(first.frozen_layers(TREES[0]), second.frozen_layers(TREES[0]))


def test_the_embedding_is_not_worked_on_in_place(model):
    """Running twice gives the same: an engine that works in place works on its own copy."""
    layers = FrozenLayers(model, 2, "float32")
    before = model.model.embed_tokens.weight.clone()
    assert torch.equal(layers(TREES[0]), layers(TREES[0]))
    assert torch.equal(model.model.embed_tokens.weight, before)
