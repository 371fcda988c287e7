"""Weights on their way into panels: every value in its place, rounded as torch rounds."""

import numpy as np
import pytest
from kernel_models import BRAIN, EVERY, array, config, kernels, layers, model, torch

SHAPES = {
    "grouped": {},
    "odd sizes": {"hidden_size": 33, "intermediate_size": 517},
    "tiny": {"hidden_size": 1, "intermediate_size": 1, "head_dim": 2},
    "wide": {"hidden_size": 300, "intermediate_size": 130},
}


def packed(made, **options):
    """The first layer's packed bytes."""
    return layers(made, **options)[0].to_bytes()


@pytest.mark.parametrize(("precision", "isa"), EVERY)
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_weights_pack_to_equal_bytes(shape, precision, isa):
    """Packing leaves no byte to chance, so a stored layer can be compared and hashed."""
    made = model(config(**SHAPES[shape], num_hidden_layers=1))
    rubbish = [np.full(1 << 20, 255, np.uint8) for _ in range(8)]  # what memory holds next
    first = packed(made, precision=precision, isa=isa)
    del rubbish
    assert packed(made, precision=precision, isa=isa) == first


@pytest.mark.parametrize(("precision", "isa"), BRAIN)
@pytest.mark.parametrize("shape", SHAPES)
def test_packing_rounds_as_torch_does(shape, precision, isa):
    """Float32 weights packed for bfloat16 are the bytes of weights that torch rounded before.

    Among them are ties to either side, the largest number that stays finite and one that does not,
    the smallest that is not zero, both zeros and infinities.
    """
    made = model(config(**SHAPES[shape], num_hidden_layers=1))
    loud = [0x3F808000, 0x3F818000, 0xBF808001, 0x7F7F7FFF, 0x7F7FFFFF, 1, 0x8000, 0x18000]
    special = torch.tensor([*loud, 0, 0x7F800000], dtype=torch.int64).int().view(torch.float32)
    for parameter in made.model.layers[0].parameters():
        if parameter.ndim == 2:
            flat = parameter.data.view(-1)
            values = special[: flat.numel()]
            flat[-values.numel() :] = values
            flat[0] = -0.0
    before = packed(made, precision=precision, isa=isa)
    for parameter in made.model.layers[0].parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.bfloat16()
    assert packed(made, precision=precision, isa=isa) == before


@pytest.mark.parametrize(("precision", "isa"), EVERY)
def test_every_value_of_a_weight_is_packed_once(precision, isa):
    """A matrix of ones among zeros leaves as many ones in the packed layer as it has values."""
    shape = config(hidden_size=33, intermediate_size=70, head_dim=6, num_hidden_layers=1)
    made = model(shape)
    names = [name for name, tensor in made.model.layers[0].state_dict().items() if tensor.ndim == 2]
    for name in names:
        weights = {
            other: array(torch.full_like(tensor, float(other == name)))
            for other, tensor in made.model.layers[0].state_dict().items()
        }
        layer = kernels.Layer(shape, weights, precision, isa)
        width = np.uint32 if layer.storage == "float32" else np.uint16
        one = 0x3F800000 if layer.storage == "float32" else 0x3F80
        panels = layer.packed[256:].view(width)
        assert (panels == one).sum() == weights[name].size, name
        assert ((panels != one) & (panels != 0)).sum() == 0, name
