"""The native forward against torch's decoder."""

import copy

import numpy as np
import pytest
from kernel_models import (
    BRAIN,
    EVERY,
    FLOAT,
    array,
    config,
    forward,
    head,
    layers,
    leaves,
    model,
    native,
    plan,
    reference,
    tokens,
    torch,
    trees,
)

from worldpm.tokens.tree import build_tree

BARE = {"qkv_bias": False, "o_bias": False, "mlp_bias": False, "qk_norm": False}
SHAPES = {
    "grouped": {},
    "head 64": {"head_dim": 64, "num_attention_heads": 9, "num_key_value_heads": 3, **BARE},
    "head 80": {"head_dim": 80, "num_attention_heads": 2, "num_key_value_heads": 2},
    "head 96": {"head_dim": 96, "num_attention_heads": 7, "num_key_value_heads": 1},
    "head 128": {"head_dim": 128, "num_attention_heads": 8, "num_key_value_heads": 2},
    "head 256": {"head_dim": 256, "num_attention_heads": 3, "num_key_value_heads": 1},
    "head 2": {"head_dim": 2, "num_attention_heads": 5, "num_key_value_heads": 5},
    "head 34": {"head_dim": 34, "num_attention_heads": 4, "num_key_value_heads": 1},
    "odd sizes": {"hidden_size": 33, "intermediate_size": 517},
    "tiny": {"hidden_size": 1, "intermediate_size": 1, "num_hidden_layers": 1},
    "wide": {"hidden_size": 300, "intermediate_size": 1030, "qk_norm": False, "o_bias": False},
}


@pytest.mark.parametrize(("precision", "isa"), FLOAT)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_token_equals_torch_in_float32(shape, precision, isa):
    """Residuals and scores at every token agree with torch's to a few units of the last place."""
    made = model(config(**SHAPES[shape]), mlp=shape in ("grouped", "odd sizes"))
    residual, scores = native(made, trees(), precision, isa)
    expected_residual, expected_scores = reference(made, trees())
    scale = np.abs(expected_residual).max()
    np.testing.assert_allclose(residual / scale, expected_residual / scale, rtol=0, atol=2e-6)
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=1e-5)


def rounded(made):
    """A copy that rounds what the kernels round: the layers' weights and their inputs."""

    def nearest(module, inputs):
        return tuple(x.bfloat16().float() for x in inputs)

    twin = copy.deepcopy(made)
    for layer in twin.model.layers:
        for module in layer.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.data = module.weight.data.bfloat16().float()
                module.register_forward_pre_hook(nearest)
    return twin


@pytest.mark.parametrize(("precision", "isa"), BRAIN)
@pytest.mark.parametrize("shape", ["grouped", "head 64", "head 80", "odd sizes", "wide"])
def test_every_token_equals_torch_with_rounded_inputs_in_bfloat16(shape, precision, isa):
    """bfloat16 is float32 with the inputs of products rounded, and only those.

    Where a value lies between two bfloat16, the last bit of float32 decides: that leaves 5 to 18 %
    of the error of rounding; rounding attention's inputs too would leave over half.
    """
    made = model(config(**{**SHAPES[shape], "num_hidden_layers": 1}))
    scores = native(made, trees(), precision, isa)[1]
    expected = reference(rounded(made), trees())[1]
    exact = reference(made, trees())[1]
    error = np.abs(expected - exact).mean()
    assert np.abs(scores - expected).mean() < 0.3 * error
    assert 0.3 * error < np.abs(scores - exact).mean() < 3 * error


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_storage_does_not_change_bits(storage):
    """Weights that are bfloat16 give the same bits in float32, however they are stored."""
    made = model(config())
    for layer in made.model.layers:
        for parameter in layer.parameters():
            if parameter.ndim == 2:
                parameter.data = parameter.data.bfloat16().float()
    plain = native(made, trees())[0]
    narrow = copy.deepcopy(made)
    narrow.model.layers.bfloat16()
    for old, new in zip(made.model.layers, narrow.model.layers, strict=True):
        for name, tensor in old.named_parameters():
            if tensor.ndim == 1:
                new.get_parameter(name).data = tensor.data
    packed = layers(narrow, storage=storage)
    assert {layer.storage for layer in packed} == {storage}
    np.testing.assert_array_equal(forward(made, trees(), packed), plain)


@pytest.mark.parametrize(("precision", "isa"), EVERY)
def test_every_tensor_of_a_layer_matters(precision, isa):
    """Scores change, by far more than noise, when any tensor of a layer is destroyed."""
    made = model(config(num_hidden_layers=1))
    whole = native(made, trees(), precision, isa)[1]
    noise = {"float32": 1e-5, "bfloat16": 2e-2}[precision]
    for name, parameter in made.model.layers[0].named_parameters():
        kept = parameter.data.clone()
        parameter.data = kept.flip(0) * 0.5 if name != "self_attn.k_proj.bias" else -kept
        moved = np.abs(native(made, trees(), precision, isa)[1] - whole).max()
        parameter.data = kept
        assert moved > 2 * noise, name


@pytest.mark.parametrize(("precision", "isa"), FLOAT)
def test_every_tensor_of_the_head_matters(precision, isa):
    """Scores change when any tensor of the head or the final norm is destroyed."""
    made = model(config(), mlp=True)
    rows = np.random.default_rng(0).standard_normal((9, 72)).astype(np.float32)
    whole = head(made, isa).run(rows)
    for parameter in [made.model.norm.weight, *made.score.parameters()]:
        kept = parameter.data.clone()
        parameter.data = kept.flip(0) * 0.5
        assert np.abs(head(made, isa).run(rows) - whole).max() > 1e-3
        parameter.data = kept
    np.testing.assert_array_equal(head(made, isa).run(rows), whole)


@pytest.mark.parametrize(("precision", "isa"), EVERY)
def test_a_row_that_is_not_a_number_says_so(precision, isa):
    """What is not a number in a token's own path reaches its score, and no other tree's."""
    made = model(config())
    residual = array(made.model.embed_tokens.weight[:11]).copy()
    grown = [build_tree([list(range(5))]), build_tree([list(range(6))])]
    residual = np.concatenate([residual[:5], residual[:6]])
    residual[2, 3] = np.nan
    for layer in layers(made, precision=precision, isa=isa):
        layer.run(residual, plan(made, grown))
    scores = head(made, isa).run(residual)
    assert np.isnan(scores[2:5]).all()
    assert np.isfinite(scores[5:]).all()


@pytest.mark.parametrize("length", [511, 512, 513, 1100])
def test_blocks_of_keys_join_without_a_seam(length):
    """Conversations around the length of a block of keys agree with torch."""
    made = model(config(num_attention_heads=2, num_key_value_heads=1))
    rng = np.random.default_rng(length)
    prompt = tokens(rng, length - 3)
    grown = [build_tree([prompt + tokens(rng, n) for n in (1, 4, 515)])]
    scores = native(made, grown)[1]
    np.testing.assert_allclose(scores, reference(made, grown)[1], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "isa"), [FLOAT[0], BRAIN[0]])
def test_thirty_thousand_tokens(precision, isa):
    """A conversation of 30,000 tokens agrees with torch and needs no square of memory."""
    import resource

    made = model(config(hidden_size=48, num_attention_heads=2, num_key_value_heads=1))
    grown = [build_tree([tokens(np.random.default_rng(0), 30_000)])]
    expected = reference(made, grown)[1][leaves(grown)]
    packed = layers(made, precision=precision, isa=isa)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    residual = forward(made, grown, packed)
    grown_by = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    scores = head(made).run(residual[leaves(grown)])
    assert np.abs(scores - expected).max() < {"float32": 2e-5, "bfloat16": 2e-2}[precision]
    assert grown_by < 300_000  # kB; 30,000 x 30,000 floats are 3.6 GB
