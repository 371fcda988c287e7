"""The path over AMX tiles, emulated where the processor has none: the layer tests run it too."""

import os
import subprocess
import sys

import numpy as np
import pytest
from kernel_models import BRAIN, config, kernels, layers, model, native, trees

TILES = [
    isa for isa in ("amx-bf16", "amx-emulated") if isa == "amx-emulated" or isa in kernels.isas()
]


def test_the_emulation_is_for_those_who_name_it():
    """It is in no list and never the choice of a layer, and has bfloat16 only."""
    assert "amx-emulated" not in kernels.isas() + kernels.isas("bfloat16")
    assert ("bfloat16", "amx-emulated") in BRAIN
    assert kernels.precisions("amx-emulated") == ("bfloat16",)
    assert layers(model(config()), precision="bfloat16")[0].isa == kernels.isas("bfloat16")[0]
    with pytest.raises(ValueError, match="'amx-emulated' does not compute float32"):
        layers(model(config()), precision="float32", isa="amx-emulated")


def test_the_environment_can_name_the_emulation():
    """WORLDPM_ISA=amx-emulated computes bfloat16 so, and float32 with the best that has it."""
    code = (
        "from kernel_models import *; made = model(config());"
        "print(*(layers(made, precision=p)[0].isa for p in ('bfloat16', 'float32')))"
    )
    environment = {
        **os.environ,
        "WORLDPM_ISA": "amx-emulated",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["amx-emulated", kernels.isas("float32")[0]]


@pytest.mark.skipif("amx-bf16" not in kernels.isas(), reason="this processor has no AMX")
def test_amx_is_the_choice_where_it_is():
    """A processor with AMX computes bfloat16 with it, unless told otherwise."""
    assert kernels.isas("bfloat16")[0] == "amx-bf16"
    residual = native(model(config()), trees(), "bfloat16", "amx-bf16")[0]
    emulated = native(model(config()), trees(), "bfloat16", "amx-emulated")[0]
    assert np.abs(residual - emulated).max() < 0.1


@pytest.mark.parametrize("isa", TILES)
def test_tiles_take_subnormal_weights_for_zero(isa):
    """Their products flush what is below 2^-126, as the manual says; other paths do not."""
    settings = config(num_hidden_layers=1, qk_norm=False)
    made = model(settings)
    for name, parameter in made.model.layers[0].named_parameters():
        parameter.data.zero_()
        if name in ("mlp.gate_proj.bias", "mlp.up_proj.bias"):
            parameter.data.fill_(1e3)
        if name == "mlp.down_proj.weight":
            parameter.data.fill_(1e-39)
    made.model.embed_tokens.weight.data.zero_()
    residual = native(made, trees(), "bfloat16", "portable")[0]
    assert (residual > 1e-33).all()
    assert (native(made, trees(), "bfloat16", isa)[0] == 0).all()
    made.model.layers[0].mlp.down_proj.weight.data.fill_(2e-38)
    assert (native(made, trees(), "bfloat16", isa)[0] > 1e-32).all()
