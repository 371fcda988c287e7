"""LoRA layers: they start at the base, sit where they should, and merge to the live model."""

from dataclasses import replace

import pytest
import torch
from tiny import tiny_base

from worldpm.config import load_settings
from worldpm.errors import CheckpointError, ConfigError
from worldpm.model.batch import collate
from worldpm.model.checkpoint import iter_tensors, read_model
from worldpm.model.decoder import mlp_head
from worldpm.tokens.tree import build_tree
from worldpm.train.begin import whole_model
from worldpm.train.lora import LoRALinear, add_lora, begin_with, extract
from worldpm.train.recipe import LoRASettings

BATCH = collate([build_tree([[1, 2, 3, 4, 5], [1, 2, 9, 8]]), build_tree([[7] * 11])])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("lora"), layers=3, head=True)


def settings(**changes):
    return LoRASettings(**{"rank": 4, "alpha": 6.0, **changes})


@torch.no_grad()
def train_by_chance(model):
    """Give every factor and the head a value, as training would."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_" in name or name.startswith("score."):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)


@torch.inference_mode()
def scores(model):
    return model(BATCH)


def test_starts_at_the_base(base):
    """With B at zero the scores are those of the base, to the bit."""
    model = read_model(base)
    before = scores(model)
    add_lora(model, settings(), 0, seed=1)
    assert torch.equal(scores(model), before)
    train_by_chance(model)
    assert not torch.allclose(scores(model), before)


@pytest.mark.parametrize("first", [0, 2])
def test_only_the_named_modules_from_the_first_layer_on(base, first):
    """Layers before `first_layer` and modules that are not named stay as they are."""
    model = read_model(base)
    add_lora(model, settings(modules=("v_proj", "down_proj")), first, seed=1)
    found = {name for name, m in model.named_modules() if isinstance(m, LoRALinear)}
    assert found == {
        f"model.layers.{layer}.{name}"
        for layer in range(first, 3)
        for name in ("self_attn.v_proj", "mlp.down_proj")
    }
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {f"{name}.lora_{side}" for name in found for side in "AB"}


def test_start_of_the_factors(base):
    """A is uniform within 1 / sqrt(inputs), as peft's, B zero, and the seed decides A alone."""

    def factors(seed):
        model = read_model(base)
        add_lora(model, settings(), 0, seed)
        return extract(model, settings()).factors

    first, again, other = factors(1), factors(1), factors(2)
    for name, (down, up) in first.items():
        bound = down.shape[1] ** -0.5
        assert 0.9 * bound < float(down.abs().max()) <= bound
        assert float(up.abs().max()) == 0
        assert torch.equal(down, again[name][0])
        assert not torch.equal(down, other[name][0])
    assert len({tuple(down[0, :4].tolist()) for down, _ in first.values()}) == len(first)


def test_extract_and_merge_give_the_live_model(base, tmp_path):
    """The adapter merged into the base's tensors, and layers folded in place, score the same."""
    model = read_model(base)
    add_lora(model, settings(), 1, seed=1)
    train_by_chance(model)
    live = scores(model)
    adapter = extract(model, settings())
    assert adapter.head.keys() == {"score.weight"}
    from_adapter = read_model(base)
    from_adapter.load_state_dict(adapter.merge(iter_tensors(base)))
    torch.testing.assert_close(scores(from_adapter), live, atol=1e-5, rtol=0)
    folded = whole_model(model)
    assert not any(isinstance(m, LoRALinear) for m in folded.modules())
    torch.testing.assert_close(scores(folded), live, atol=1e-5, rtol=0)
    assert folded.state_dict().keys() == from_adapter.state_dict().keys()
    for name, tensor in folded.state_dict().items():
        torch.testing.assert_close(tensor, from_adapter.state_dict()[name])


def test_float32_factors_on_a_bfloat16_base(base):
    """The masters stay float32 and get gradients while the products are bfloat16."""
    model = read_model(base, torch.bfloat16)
    add_lora(model, settings(), 0, seed=1)
    train_by_chance(model)
    assert {p.dtype for n, p in model.named_parameters() if "lora_" in n} == {torch.float32}
    model(BATCH).sum().backward()
    gradients = [p.grad for n, p in model.named_parameters() if "lora_" in n]
    assert all(g is not None and g.dtype == torch.float32 and g.any() for g in gradients)


@pytest.mark.parametrize("name", ["qproj", "config", "forward", "score", ""])
def test_names_that_are_no_linear_layer(base, name):
    """A name of something else is a ConfigError naming it."""
    with pytest.raises(ConfigError, match=rf"lora\.modules: '{name}'"):
        add_lora(read_model(base), settings(modules=("q_proj", name)), 0, seed=1)


def test_a_name_given_twice(base):
    """Wrapping a layer twice is refused."""
    with pytest.raises(ConfigError, match="stands twice"):
        add_lora(read_model(base), settings(modules=("q_proj", "q_proj")), 0, seed=1)


def test_no_modules_train_the_head_alone(base):
    """An empty list of modules leaves the decoder untouched."""
    model = read_model(base)
    add_lora(model, load_settings(LoRASettings, None, ["modules=[]"]), 0, seed=1)
    assert not any(isinstance(m, LoRALinear) for m in model.modules())


def adapted(base, first=0, seed=1, **changes):
    """A model with LoRA from layer `first` on, its settings, and every factor trained."""
    model = read_model(base)
    add_lora(model, settings(**changes), first, seed)
    train_by_chance(model)
    return model, settings(**changes)


def tensors_of(adapter):
    """All the tensors of an adapter by name."""
    sides = {f"{n}.{i}": t for n, pair in adapter.factors.items() for i, t in enumerate(pair)}
    return sides | dict(adapter.head)


def test_begins_where_the_adapter_ended(base):
    """Every factor and the head are the adapter's, so the scores are its model's, to the bit."""
    trained, recipe = adapted(base)
    adapter = extract(trained, recipe)
    model = read_model(base)
    add_lora(model, recipe, 0, seed=2)
    assert not torch.allclose(scores(model), scores(trained))
    begin_with(model, adapter)
    assert torch.equal(scores(model), scores(trained))
    found = tensors_of(extract(model, recipe))
    assert found.keys() == tensors_of(adapter).keys()
    assert len(found) == 2 * 21 + 1
    for name, tensor in tensors_of(adapter).items():
        assert torch.equal(found[name], tensor), name
    kept = {name: tensor.clone() for name, tensor in tensors_of(adapter).items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # training on must not reach the adapter that was read
    assert all(torch.equal(kept[name], t) for name, t in tensors_of(adapter).items())


OTHER_SHAPES = {
    "rank": (0, {"rank": 2, "alpha": 3.0}),
    "alpha": (0, {"alpha": 12.0}),
    "fewer modules": (0, {"modules": ("q_proj",)}),
    "fewer layers": (1, {}),
    "no modules": (0, {"modules": ()}),
}


@pytest.mark.parametrize("name", OTHER_SHAPES)
@pytest.mark.parametrize("swapped", [False, True])
def test_another_shape_is_refused(base, name, swapped):
    """An adapter that has more, less or other than the recipe says is refused, nothing touched."""
    first, changes = OTHER_SHAPES[name]
    sides = [adapted(base), adapted(base, first, **changes)]
    (giver, recipe), (taker, _) = reversed(sides) if swapped else sides
    before = scores(taker)
    with pytest.raises(CheckpointError, match=r"not of the recipe's shape: model\.layers\.\d"):
        begin_with(taker, extract(giver, recipe))
    assert torch.equal(scores(taker), before)


def test_another_head_is_refused(base):
    """A head of another kind or width is named."""
    model, recipe = adapted(base)
    size = model.model.config.hidden_size
    adapter = extract(model, recipe)
    model.score = mlp_head(size)
    with pytest.raises(CheckpointError, match=r"score\.(0|2|weight).* differs"):
        begin_with(model, adapter)
    model, recipe = adapted(base)
    narrow = {"score.weight": torch.zeros(1, size // 2)}
    with pytest.raises(CheckpointError, match=r"score\.weight differs"):
        begin_with(model, replace(adapter, head=narrow))
