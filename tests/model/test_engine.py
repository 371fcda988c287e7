"""Engines and the resident runner: each equals the module it stands for."""

import pytest
import torch
from checkpoints import LAYOUTS, write_layout

from worldpm.model.batch import collate
from worldpm.model.checkpoint import read_model
from worldpm.model.engine import Resident, TorchEngine
from worldpm.model.native import NativeEngine, choose_engine, native_isas
from worldpm.model.weights import Weights
from worldpm.tokens.tree import build_tree

TREES = [
    build_tree([[5, 6, 7, 8, 9], [5, 6, 7, 30, 31, 32], [5, 6]]),
    build_tree([list(range(3, 90))]),
    build_tree([[4], [9, 9]]),
]
FLOAT32_ISAS = [isa for isa in native_isas() if "bf16" not in isa] or [None]


@pytest.fixture(scope="module", params=LAYOUTS)
def folder(request, tmp_path_factory):
    return write_layout(tmp_path_factory.mktemp("engine") / "m", request.param, seed=3)


def run(weights, engine, every_token=False):
    batches = [collate(TREES), collate(TREES[1:])]
    return list(Resident(weights, engine).run(batches, every_token=every_token))


@torch.inference_mode()
def module_scores(folder):
    model = read_model(folder)
    return [model(collate(TREES)), model(collate(TREES[1:]))]


def test_torch_engine_is_the_module(folder):
    """Layer by layer, the torch engine gives the module's scores; the module computes the last
    layer at the scored tokens alone, which rounds products of other shapes.
    """
    weights = Weights(folder)
    found = run(weights, TorchEngine(weights.config, "float32"))
    for ours, theirs in zip(found, module_scores(folder), strict=True):
        assert float((ours - theirs).abs().max()) < 2e-6


@pytest.mark.parametrize("isa", FLOAT32_ISAS)
def test_native_engine_is_the_module(folder, isa):
    """Each instruction set at hand gives the module's scores within 1e-5 in float32."""
    if isa is None:
        pytest.skip("worldpm-kernels is not installed")
    weights = Weights(folder)
    found = run(weights, NativeEngine(weights.config, "float32", isa))
    for ours, theirs in zip(found, module_scores(folder), strict=True):
        assert float((ours - theirs).abs().max()) < 1e-5


@pytest.mark.parametrize("name", ["torch", "native"])
def test_every_token_holds_the_leaves(folder, name):
    """At the leaves, the scores of all tokens are the scores, to the bit."""
    if name == "native" and not native_isas():
        pytest.skip("worldpm-kernels is not installed")
    weights = Weights(folder)
    engine = choose_engine(weights.config, "float32", name)
    leaves = [collate(TREES).leaves, collate(TREES[1:]).leaves]
    for scores, traces, at in zip(
        run(weights, engine), run(weights, engine, every_token=True), leaves, strict=True
    ):
        assert torch.equal(traces[at], scores)
        assert traces.unique().numel() > traces.numel() // 2
