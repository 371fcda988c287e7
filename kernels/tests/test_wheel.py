"""A built wheel, with numpy alone: every instruction set against the formulas written out."""

from types import SimpleNamespace

import numpy as np
import pytest

kernels = pytest.importorskip("worldpm_kernels", reason="worldpm-kernels is not installed")

SHAPE = SimpleNamespace(
    hidden_size=40,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=6,
    intermediate_size=50,
    rms_norm_eps=1e-2,
    qk_norm=False,
)
LENGTH = 21


def weights(rng):
    """The tensors of one layer, with the query's bias."""
    sizes = {
        "self_attn.q_proj.weight": (24, 40),
        "self_attn.k_proj.weight": (12, 40),
        "self_attn.v_proj.weight": (12, 40),
        "self_attn.o_proj.weight": (40, 24),
        "mlp.gate_proj.weight": (50, 40),
        "mlp.up_proj.weight": (50, 40),
        "mlp.down_proj.weight": (40, 50),
        "self_attn.q_proj.bias": (24,),
        "input_layernorm.weight": (40,),
        "post_attention_layernorm.weight": (40,),
    }
    return {name: rng.normal(0, 0.3, size).astype(np.float32) for name, size in sizes.items()}


def norm(x, weight):
    """RMS norm."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + SHAPE.rms_norm_eps) * weight


def rotate(x, cos, sin):
    """Rotary positions, halves rotated; x (tokens, heads, size)."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = cos[:, None], sin[:, None]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def written_out(x, w, cos, sin):
    """One layer over one conversation, in float64."""
    hidden = norm(x, w["input_layernorm.weight"])
    query = hidden @ w["self_attn.q_proj.weight"].T + w["self_attn.q_proj.bias"]
    query = rotate(query.reshape(LENGTH, 4, 6), cos, sin)
    key = rotate((hidden @ w["self_attn.k_proj.weight"].T).reshape(LENGTH, 2, 6), cos, sin)
    value = (hidden @ w["self_attn.v_proj.weight"].T).reshape(LENGTH, 2, 6)
    scores = np.einsum("qhd,khd->hqk", query, key.repeat(2, axis=1)) / np.sqrt(6)
    scores += np.triu(np.full((LENGTH, LENGTH), -np.inf), 1)
    attention = np.exp(scores - scores.max(-1, keepdims=True))
    attention /= attention.sum(-1, keepdims=True)
    mixed = np.einsum("hqk,khd->qhd", attention, value.repeat(2, axis=1))
    x = x + mixed.reshape(LENGTH, -1) @ w["self_attn.o_proj.weight"].T
    hidden = norm(x, w["post_attention_layernorm.weight"])
    gate = hidden @ w["mlp.gate_proj.weight"].T
    up = hidden @ w["mlp.up_proj.weight"].T
    return x + (gate / (1 + np.exp(-gate)) * up) @ w["mlp.down_proj.weight"].T


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_layer_computes_the_formulas(precision):
    """Every instruction set gives the layer's formulas, up to the rounding of its precision."""
    rng = np.random.default_rng(0)
    w = weights(rng)
    angle = np.arange(LENGTH)[:, None] * 1e4 ** (-np.arange(3) / 3)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    x = rng.normal(size=(LENGTH, 40)).astype(np.float32)
    expected = written_out(x.astype(np.float64), w, cos, sin)
    whole = [np.array([n], np.int32) for n in (0, LENGTH, -1)]
    plan = kernels.Plan(np.arange(LENGTH, dtype=np.int32), cos, sin, *whole)
    for isa in kernels.isas(precision):
        residual = x.copy()
        kernels.Layer(SHAPE, w, precision, isa).run(residual, plan)
        error = np.abs(residual - expected).max()
        assert error < {"float32": 2e-5, "bfloat16": 0.1}[precision], isa
        assert error > {"float32": 0, "bfloat16": 1e-3}[precision], isa
