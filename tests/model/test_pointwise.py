"""Norms and gates with their own backward passes: equal to torch's, with gradients."""

import pytest
import torch
from torch.nn import functional as F

from worldpm.model import pointwise
from worldpm.model.pointwise import gated, normalised


def drawn(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("shape", [(5, 6), (4, 3, 6)])
def test_gradients_of_the_norm(shape):
    """By finite differences in float64, over tokens and over heads; a frozen weight has none."""
    hidden, weight = drawn(*shape), drawn(6, seed=1)

    def run(hidden, weight):
        return normalised(hidden, weight, 0.1, torch.float64)

    assert torch.autograd.gradcheck(run, (hidden, weight))
    assert torch.autograd.gradcheck(run, (hidden, weight.detach()))
    assert torch.autograd.gradcheck(run, (hidden.detach(), weight))


def test_gradients_of_the_gate():
    """By finite differences in float64."""
    assert torch.autograd.gradcheck(gated, (drawn(5, 7), drawn(5, 7, seed=1)))


def test_equal_to_torch():
    """In float32 the norm is torch's; in bfloat16 it is that of float32, rounded once."""
    hidden, weight = drawn(9, 64, dtype=torch.float32), drawn(64, dtype=torch.float32, seed=1)
    expected = F.rms_norm(hidden, (64,), weight, 1e-5)
    torch.testing.assert_close(normalised(hidden, weight, 1e-5, torch.float32), expected)
    low = normalised(hidden, weight, 1e-5, torch.bfloat16)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), expected, rtol=2**-8, atol=0)
    torch.testing.assert_close(gated(hidden, -hidden), F.silu(hidden) * -hidden)


def test_a_wrong_backward_pass_is_noticed(monkeypatch):
    """Without the term along the state itself the gradient check fails: it has teeth."""
    hidden, weight = drawn(5, 6), drawn(6, seed=1)

    class Vecdot:
        def __getattr__(self, name):
            return getattr(torch.linalg, name)

        def vecdot(self, first, second):
            value = torch.linalg.vecdot(first, second)
            return value if first is second else value * 0.0

    class Torch:
        linalg = Vecdot()

        def __getattr__(self, name):
            return getattr(torch, name)

    monkeypatch.setattr(pointwise, "torch", Torch())
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(
            lambda h, w: normalised(h, w, 0.1, torch.float64), (hidden, weight)
        )
