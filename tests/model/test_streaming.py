"""Streaming: the resident scorer's bits from a layer or two at a time, and after any kill."""

import pytest
import torch
from checkpoints import LAYOUTS, write_layout

from worldpm.errors import WorldPMError
from worldpm.model.batch import collate
from worldpm.model.engine import Resident
from worldpm.model.native import choose_engine, native_isas
from worldpm.model.streaming import Streaming
from worldpm.model.weights import Weights
from worldpm.tokens.tree import build_tree

TREES = [
    build_tree([[5, 6, 7, 8, 9], [5, 6, 7, 30, 31, 32], [5, 6]]),
    build_tree([list(range(3, 90))]),
    build_tree([[4], [9, 9]]),
]
ENGINES = [
    "torch",
    pytest.param("native", marks=pytest.mark.skipif(
        not native_isas(), reason="worldpm-kernels is not installed"
    )),
]  # fmt: skip


def batches():
    return [collate(TREES), collate(TREES[1:]), collate(TREES[:1])]


def made(folder, layout="LlamaForSequenceClassification", **changes):
    return Weights(write_layout(folder, layout, **{"num_hidden_layers": 3, "seed": 3} | changes))


def engine_of(weights, name="torch", dtype="float32"):
    try:
        return choose_engine(weights.config, dtype, name, threads=1)
    except WorldPMError as error:
        pytest.skip(str(error))


def scores(runner, **options):
    return list(runner.run(iter(batches()), **options))


def assert_same_bits(found, wanted):
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(("stored", "dtype"), [
    (torch.float32, "float32"), (torch.bfloat16, "float32"), (torch.bfloat16, "bfloat16"),
    (torch.float16, "float32"),
])  # fmt: skip
def test_bits_are_those_of_the_resident_runner(tmp_path, layout, name, stored, dtype):
    """For every layout, engine and dtype, at the leaves and at every token, states in memory or
    in a file, one buffer or two: the same bits."""
    weights = made(tmp_path / "m", layout, dtype=stored, shards=2)
    engine = engine_of(weights, name, dtype)
    wanted = scores(Resident(weights, engine))
    traced = scores(Resident(weights, engine), every_token=True)
    for buffers in (1, 2):
        for scratch in (None, tmp_path / "scratch"):
            streaming = Streaming(weights, engine, scratch=scratch, buffers=buffers)
            assert_same_bits(scores(streaming), wanted)
            assert_same_bits(scores(streaming, every_token=True), traced)
            assert not (tmp_path / "scratch").exists()
