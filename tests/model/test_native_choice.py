"""Which engine computes: by what is asked, what is installed and what the processor has."""

import os
import sys
import types

import pytest
import torch
from tiny import SMALL

from worldpm.errors import ConfigError
from worldpm.model import native as native_module
from worldpm.model.config import parse_config
from worldpm.model.native import NativeEngine, choose_engine, gpu, native_isas
from worldpm.work import processors

CONFIG = parse_config(SMALL, "c")


@pytest.fixture
def kernels(monkeypatch):
    """A stand-in for the native package, with the instruction sets that a test gives it."""
    module = types.ModuleType("worldpm_kernels")
    module.threads = None
    module.isas = lambda: module.sets
    module.set_num_threads = lambda count: setattr(module, "threads", count)
    module.num_threads = lambda: module.threads
    monkeypatch.setitem(sys.modules, "worldpm_kernels", module)

    def with_sets(*sets):
        module.sets = sets
        return module

    return with_sets


@pytest.fixture(autouse=True)
def same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("sets", "dtype", "engine", "wanted"),
    [
        (("amx-bf16", "avx512", "portable"), "auto", "auto", "native avx512"),
        (("amx-bf16", "avx512", "portable"), "float32", "native", "native avx512"),
        (("amx-bf16", "avx512", "portable"), "bfloat16", "auto", "native amx-bf16"),
        (("avx512-bf16", "avx2"), "bfloat16", "native", "native avx512-bf16"),
        (("avx2", "portable"), "auto", "auto", "native avx2"),
        (("portable",), "auto", "native", "native portable"),
        # Slower than torch without vector units, so only where it is asked for by name.
        (("portable",), "auto", "auto", "torch"),
        (("avx2", "portable"), "bfloat16", "auto", "torch"),
        (("amx-bf16", "avx512"), "auto", "torch", "torch"),
        ((), "auto", "auto", "torch"),
    ],
)
def test_the_best_that_serves(kernels, sets, dtype, engine, wanted):
    """The fastest instruction set of the precision that is asked for; torch where none serves."""
    kernels(*sets)
    chosen = choose_engine(CONFIG, dtype, engine)
    assert chosen.name.startswith(wanted)
    assert chosen.dtype == ("float32" if dtype == "auto" else dtype)


def test_a_gpu_goes_before_the_processor(kernels, monkeypatch):
    """With a GPU "auto" is torch on it, and "native" still the processor."""
    kernels("avx512")
    monkeypatch.setattr(native_module, "gpu", lambda: "cuda:3")
    chosen = choose_engine(CONFIG, "auto", "auto")
    assert (chosen.name.split(" on ")[1], chosen.device.index) == ("cuda:3", 3)
    assert isinstance(choose_engine(CONFIG, "auto", "native"), NativeEngine)


def test_each_process_has_its_own_gpu(monkeypatch):
    """torchrun's LOCAL_RANK is the GPU's number; the first without it; none where there is none."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpu() == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "5")
    assert gpu() == "cuda:5"


def test_native_threads_are_the_processors_at_hand(kernels, monkeypatch):
    """Those that the process may use, or as many as are asked for; all where nothing says."""
    module = kernels("avx2")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert choose_engine(CONFIG, "auto").threads == 3
    assert choose_engine(CONFIG, "auto", threads=2).threads == module.threads == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS has none
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert processors() == choose_engine(CONFIG, "auto").threads == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors() == 1


def test_torch_threads_change_only_when_asked(kernels):
    """Without a number torch keeps its own; a program around us may have set it."""
    kernels()
    torch.set_num_threads(2)
    assert choose_engine(CONFIG, "auto", "torch").threads == 2
    assert choose_engine(CONFIG, "auto", "torch", threads=1).threads == 1
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("sets", "arguments", "message"),
    [
        ((), ("float32", "native"), "is not installed"),
        (("avx2",), ("bfloat16", "native"), "has no bfloat16 here"),
        (("avx2",), ("float32", "vulkan"), "'vulkan' is not one of auto, native, torch"),
        (("avx2",), ("float32", "auto", 0), "threads 0 is below 1"),
        (("avx2",), ("float32", "torch", -1), "threads -1 is below 1"),
    ],
)
def test_what_cannot_be_had(kernels, sets, arguments, message):
    """Each refusal says what was asked and what is there."""
    kernels(*sets)
    with pytest.raises(ConfigError, match=message):
        choose_engine(CONFIG, *arguments)


def test_without_the_package(monkeypatch):
    """A light install has no instruction sets, and no error."""
    monkeypatch.setitem(sys.modules, "worldpm_kernels", None)
    assert native_isas() == ()
