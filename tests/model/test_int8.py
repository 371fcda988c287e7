"""Linear layers in 8-bit integers: by hand, in a decoder, and through the scorer."""

import pytest
import torch
from checkpoints import write_layout
from tiny import small_model

from worldpm.errors import ConfigError
from worldpm.model.batch import collate
from worldpm.model.engine import Resident, TorchEngine
from worldpm.model.int8 import Int8Engine, Int8Linear, quantize_rows
from worldpm.model.weights import Weights
from worldpm.score import load
from worldpm.tokens.tree import build_tree


def test_rows_by_hand():
    """The largest of a row becomes 127, the rest the nearest multiple; zeros stay zeros."""
    quantized, scale = quantize_rows(torch.tensor([[1.0, -2.54, 0.051], [0.0, 0.0, 0.0]]))
    assert quantized.tolist() == [[50, -127, 3], [0, 0, 0]]
    assert quantized.dtype == torch.int8
    torch.testing.assert_close(scale, torch.tensor([[0.02], [1.0]]))


@pytest.mark.parametrize("activations", [False, True])
def test_rounding_is_bounded(activations):
    """An output is off by at most half a step for each weight, and for each input where asked."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(24, 40, generator=generator), torch.randn(24, generator=generator)
    states = torch.randn(32, 40, generator=generator)
    output = Int8Linear(weight, bias, activations=activations)(states)
    exact = torch.nn.functional.linear(states, weight, bias)
    step = weight.abs().amax(1) / 127
    bound = 0.5 * step * states.abs().sum(1, keepdim=True)
    if activations:
        own = states.abs().amax(1, keepdim=True) / 127
        bound = bound + 0.5 * own * (weight.abs() + 0.5 * step[:, None]).sum(1)
    error = (output - exact).abs()
    assert (error <= bound + 1e-5).all()
    assert float(error.max()) > 1e-4, "nothing was rounded"


@pytest.mark.parametrize("activations", [False, True])
@pytest.mark.parametrize("layout", ["Qwen2ForRewardModel", "Qwen3ForSequenceClassification"])
def test_scores_follow_float32(tmp_path, layout, activations):
    """Scores of biased, normed and MLP-headed models stay near float32's, and are not those."""
    weights = Weights(write_layout(tmp_path / "model", layout, seed=3))
    generator = torch.Generator().manual_seed(5)
    draws = [torch.randint(0, 300, (40,), generator=generator).tolist() for _ in range(4)]
    batch = collate([build_tree([draws[0] + d for d in draws[1:]])])

    def scores(engine):
        return next(iter(Resident(weights, engine).run([batch])))

    exact = scores(TorchEngine(weights.config, "float32"))
    found = scores(Int8Engine(weights.config, activations=activations))
    difference = float((found - exact).abs().max())
    assert 1e-5 < difference < 0.25 * float(exact.std())


def test_weights_take_a_quarter(tmp_path):
    """Every linear layer's weight is kept as int8, and no float copy of it."""
    weights = Weights(write_layout(tmp_path / "model", "Qwen2ForRewardModel"))
    run = Int8Engine(weights.config).make_layer(weights.layer(0))
    layer = next(
        c.cell_contents for c in run.__closure__ if isinstance(c.cell_contents, torch.nn.Module)
    )
    held = {n: t for n, t in layer.state_dict().items() if t.dim() == 2 and t.shape[1] > 1}
    assert len(held) == 7
    assert {t.dtype for t in held.values()} == {torch.int8}


def test_scorer_loads_it(tmp_path):
    """`load(dtype="int8")` says what it is; the native engine has no such thing."""
    folder = small_model(tmp_path / "model")
    assert "8-bit" in load(folder, dtype="int8").describe()
    with pytest.raises(ConfigError, match="no int8"):
        load(folder, dtype="int8", engine="native")
