"""What is wrong with an argument is a ValueError that names it; packed layers survive storage."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from kernel_models import EVERY, array, config, forward, head, kernels, layers, model, plan, trees

SIX = {
    "positions": [0, 1, 2, 0, 1, 1],
    "starts": [0, 3, 5],
    "lengths": [3, 2, 1],
    "parents": [-1, -1, 0],
}


def make_plan(**changes):
    """A plan of six tokens in three segments, with `changes`."""
    fields = {**SIX, "positions": [0, 1, 2, 0, 1, 3], **changes}
    integers = {name: np.array(value, dtype=np.int32) for name, value in fields.items()}
    table = np.ones((len(fields["positions"]), 4), dtype=np.float32)
    return kernels.Plan(integers.pop("positions"), table, table, **integers)


def test_a_right_plan_is_taken():
    """The plan that the faults below are made from has none."""
    made = make_plan()
    assert (made.num_tokens, made.num_segments) == (6, 3)


FAULTS = {
    "parent after": ({"parents": [-1, 2, 0]}, "segment 1 has parent 2"),
    "own parent": ({"parents": [0, -1, 0]}, "segment 0 has parent 0"),
    "parent below -1": ({"parents": [-1, -2, 0]}, "segment 1 has parent -2"),
    "gap": ({"starts": [0, 4, 5]}, "segment 1 starts at 4, but the segments before it end at 3"),
    "overlap": ({"starts": [0, 2, 5]}, "segment 1 starts at 2"),
    "too long": ({"lengths": [3, 2, 9]}, "segment 2 ends at 14, after the last of 6 tokens"),
    "too short": ({"lengths": [3, 1, 1], "starts": [0, 3, 4]}, "position 1; its path counts to 3"),
    "empty": ({"lengths": [3, 0, 1]}, "segment 1 has length 0"),
    "negative": ({"lengths": [3, -2, 1]}, "segment 1 has length -2"),
    "a token left": ({"lengths": [3, 2], "starts": [0, 3], "parents": [-1, -1]}, "hold 5 tokens"),
    "lists differ": ({"lengths": [3, 2]}, "differ in length: 3, 2, 3"),
    "position": ({"positions": [0, 1, 1, 0, 1, 3]}, "token 2 of segment 0 has position 1"),
    "child position": ({"positions": [0, 1, 2, 0, 1, 2]}, "token 5 of segment 2 has position 2"),
    "negative position": ({"positions": [-1, 0, 1, 0, 1, 2]}, "negative position -1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plan_names_its_fault(fault):
    """Every kind of wrong plan is refused, and the message says where and what."""
    changes, message = FAULTS[fault]
    with pytest.raises(ValueError, match=message):
        make_plan(**changes)


def test_a_plan_takes_int32_and_float32_only():
    """Arrays of other kinds, shapes and layouts are refused by name."""
    good = [np.array(SIX[name], dtype=np.int32) for name in ("starts", "lengths", "parents")]
    positions = np.array([0, 1, 2, 0, 1, 3], dtype=np.int32)
    table = np.ones((6, 4), dtype=np.float32)
    for arguments, message in [
        ((positions.astype(np.int64), table, table, *good), "positions must be int32"),
        ((positions, table.astype(np.float64), table, *good), "cos must be float32"),
        ((positions, table, table[:, ::2], *good), "sin is not C-contiguous"),
        ((positions, table, table[:5], *good), "cos and sin differ in shape"),
        ((positions, table[:5], table[:5], *good), "a row for each of the 6 positions"),
        ((positions, table[0], table, *good), "cos must have 2 dimensions, not 1"),
        ((positions, table[:, :0].copy(), table[:, :0].copy(), *good), "no columns"),
    ]:
        with pytest.raises(ValueError, match=message):
            kernels.Plan(*arguments)


def tensors(made):
    """The weights of a model's first layer."""
    return {n: array(t) for n, t in made.model.layers[0].state_dict().items()}


def test_a_layer_names_a_wrong_weight():
    """Missing, unknown, misshapen and mistyped weights are refused by name."""
    made = model(config())
    settings, weights = made.model.config, tensors(made)
    name = "self_attn.k_proj.weight"
    half = weights[name].view(np.uint16)[:, ::2].copy()
    for changes, message in [
        ({name: None}, "the weight self_attn.k_proj.weight is missing"),
        ({"self_attn.q_norm.weight": None}, "q_norm.weight is missing"),
        ({"extra": weights[name]}, "the layer has no weight extra"),
        ({name: weights[name].T.copy()}, r"has shape \(72, 64\), not \(64, 72\)"),
        ({name: weights[name].astype(np.float64)}, "must be float32, or bfloat16 seen as uint16"),
        ({name: weights[name].T}, "not C-contiguous"),
        ({name: half}, "all float32 or all bfloat16"),
    ]:
        changed = {k: v for k, v in {**weights, **changes}.items() if v is not None}
        with pytest.raises(ValueError, match=message):
            kernels.Layer(settings, changed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head_dim": 31}, "head_dim 31 is odd"),
        ({"num_key_value_heads": 3}, "4 attention heads are not a multiple of 3"),
        ({"hidden_size": 0}, "at least 1"),
        ({"intermediate_size": -5}, "at least 1"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps must be at least 0"),
        ({"intermediate_size": 1 << 21}, "over 2"),
    ],
)
def test_a_layer_names_a_wrong_shape(changes, message):
    """Shapes that no layer can have are refused."""
    made = model(config())
    names = kernels.Layer(made.model.config, tensors(made)).precision
    assert names == "float32"
    fields = {name: getattr(made.model.config, name) for name in made.model.config.__slots__}
    with pytest.raises(ValueError, match=message):
        kernels.Layer(SimpleNamespace(**{**fields, **changes}), tensors(made))


def test_a_residual_must_fit():
    """A residual of another shape, type or layout, or a plan for other heads, is refused."""
    made = model(config())
    layer, layout = layers(made)[0], plan(made, trees())
    count = layout.num_tokens
    for residual, message in [
        (np.zeros((count, 71), np.float32), r"not \(\d+, 72\)"),
        (np.zeros((count - 1, 72), np.float32), "the residual has shape"),
        (np.zeros((count, 72)), "the residual must be float32"),
        (np.zeros((count, 144), np.float32)[:, ::2], "not C-contiguous"),
    ]:
        with pytest.raises(ValueError, match=message):
            layer.run(residual, layout)
    with pytest.raises(ValueError, match="for head_dim 8, the layer has 32"):
        layer.run(np.zeros((6, 72), np.float32), make_plan())
    locked = np.zeros((count, 72), np.float32)
    locked.flags.writeable = False
    with pytest.raises((TypeError, ValueError)):
        layer.run(locked, layout)
    assert not locked.any()


def test_a_head_names_its_fault():
    """Heads whose layers do not fit together are refused."""
    ones = np.ones
    norm = ones(8, np.float32)
    for weights, message in [
        ([], "at least one linear layer"),
        ([(ones((2, 8), np.float32), None)], "2 outputs, not 1"),
        ([(ones((1, 7), np.float32), None)], "takes 7 inputs, not 8"),
        ([(ones((1, 8), np.float32), ones(2, np.float32))], "must have 1 values"),
        ([(ones(8, np.float32), None)], "must have 2 dimensions"),
    ]:
        with pytest.raises(ValueError, match=message):
            kernels.Head(norm, 1e-6, weights)
    with pytest.raises(ValueError, match="rows have 7 columns, not 8"):
        kernels.Head(norm, 1e-6, [(ones((1, 8), np.float32), None)]).run(ones((3, 7), np.float32))


def test_names_of_instruction_sets_and_precisions_are_checked():
    """Unknown names are refused with those there are."""
    made = model(config())
    with pytest.raises(ValueError, match=r"no instruction set 'sse9'; there are .*portable"):
        layers(made, isa="sse9")
    with pytest.raises(ValueError, match="precision must be 'float32' or 'bfloat16', not 'half'"):
        layers(made, precision="half")
    with pytest.raises(ValueError, match="would round"):
        layers(made, storage="bfloat16")
    with pytest.raises(ValueError, match="stores its weights in bfloat16"):
        layers(made, precision="bfloat16", storage="float32")
    with pytest.raises(ValueError, match="at least 1"):
        kernels.set_num_threads(0)
    assert "portable" in kernels.isas()
    assert kernels.precisions("portable") == ("float32", "bfloat16")
    for isa in set(kernels.isas()) - set(kernels.isas("float32")):
        assert kernels.precisions(isa) == ("bfloat16",)
        with pytest.raises(ValueError, match="does not compute float32"):
            layers(made, isa=isa)


@pytest.mark.parametrize("isa", kernels.isas())
def test_the_environment_forces_an_instruction_set(isa):
    """WORLDPM_ISA makes a processor look older; for a precision it lacks, the best below it."""
    program = (
        "from kernel_models import *\n"
        "print(*(layers(model(config()), precision=p)[0].isa for p in ('float32', 'bfloat16')))"
    )
    environment = {**os.environ, "WORLDPM_ISA": isa, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", program]
    output = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    float32, bfloat16 = output.stdout.split()
    assert bfloat16 == isa
    assert float32 == isa or ("float32" not in kernels.precisions(isa) and float32 == "avx512")


@pytest.mark.parametrize(("precision", "isa"), EVERY)
def test_a_packed_layer_survives_storage(precision, isa, tmp_path):
    """Written to a file and memory-mapped, a layer gives the same bits without a copy."""
    made = model(config())
    packed = layers(made, precision=precision, isa=isa)
    expected = forward(made, trees(), packed)
    mapped = []
    for index, layer in enumerate(packed):
        path = tmp_path / f"{index}.layer"
        path.write_bytes(layer.to_bytes())
        buffer = np.memmap(path, dtype=np.uint8, mode="r")
        again = kernels.Layer.from_buffer(buffer)
        assert buffer.size == layer.packed_bytes == again.packed_bytes
        assert np.shares_memory(again.packed, buffer)
        assert (again.precision, again.isa, again.storage) == (precision, isa, layer.storage)
        mapped.append(again)
    np.testing.assert_array_equal(forward(made, trees(), mapped), expected)


def test_a_damaged_packed_layer_is_refused():
    """A buffer that is cut, of another kind or version, or not aligned is refused."""
    layer = layers(model(config()))[0]
    whole = np.zeros(layer.packed_bytes + 128, np.uint8)
    shift = -whole.ctypes.data % 64
    buffer = whole[shift : shift + layer.packed_bytes]
    buffer[:] = layer.packed
    kernels.Layer.from_buffer(buffer)
    with pytest.raises(ValueError, match="aligned to 64 bytes"):
        kernels.Layer.from_buffer(whole[shift + 4 : shift + 4 + layer.packed_bytes])
    for length in (0, 100, layer.packed_bytes - 64):
        with pytest.raises(ValueError, match="bytes"):
            kernels.Layer.from_buffer(buffer[:length])
    for place, message in [(0, "not a packed layer"), (8, "was packed in form"), (32, "damaged")]:
        kept = buffer[place]
        buffer[place] ^= 0x55
        with pytest.raises(ValueError, match=message):
            kernels.Layer.from_buffer(buffer)
        buffer[place] = kept
    kernels.Layer.from_buffer(buffer)


def test_no_rows_are_no_scores():
    """An empty batch and an empty list of rows are no error."""
    made = model(config())
    assert head(made).run(np.zeros((0, 72), np.float32)).shape == (0,)
    empty = np.zeros(0, np.int32)
    layout = kernels.Plan(empty, *2 * [np.zeros((0, 16), np.float32)], empty, empty, empty)
    layers(made)[0].run(np.zeros((0, 72), np.float32), layout)
    assert layout.num_tokens == layout.num_segments == 0
