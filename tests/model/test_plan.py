"""The planner: what it promises is what happens; and sizes, free memory and forecasts."""

import json
import mmap
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoints import write_layout

from worldpm.errors import CheckpointError, ConfigError
from worldpm.model import memory as memory_module
from worldpm.model import probe as probe_module
from worldpm.model.engine import Resident, TorchEngine
from worldpm.model.forecast import Forecast, Progress
from worldpm.model.memory import cgroup_files, free_bytes, parse_bytes, resident_bytes
from worldpm.model.native import choose_engine, native_isas
from worldpm.model.outline import Outline, lacks_weights
from worldpm.model.plan import activation_bytes, choose_runner, plan_memory
from worldpm.model.probe import Speeds, measure_speeds, narrow, outline_speeds
from worldpm.model.streaming import Streaming
from worldpm.model.weights import Weights

LAYOUT = "LlamaForSequenceClassification"
BIG = {
    "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 16,
    "num_attention_heads": 8, "num_key_value_heads": 4,
}  # fmt: skip
WORLDPM_72B = {
    "architectures": ["Qwen2ForRewardModel"], "model_type": "qwen2", "hidden_size": 8192,
    "intermediate_size": 29_568, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "vocab_size": 152_064, "rope_theta": 1e6,
}  # fmt: skip


def torch_engine(weights):
    return TorchEngine(weights.config, "float32")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Sixteen layers of 9.4 MB in float32, 151 MB in all."""
    return Weights(write_layout(tmp_path_factory.mktemp("plan") / "m", LAYOUT, seed=2, **BIG))


@pytest.fixture
def engine(weights):
    return torch_engine(weights)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("8GiB", 8 * 2**30), ("500MB", 5 * 10**8), ("1.5 gb", 15 * 10**8),
     ("77", 77), ("1k", 1000), (" 2kib ", 2048), ("3TB", 3 * 10**12)],
)  # fmt: skip
def test_sizes(text, size):
    """Decimal and binary units, any case, with or without a space; plain bytes."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "8 G B", "-1GB", "8XB", "0GB", "1e9", "8GB8"])
def test_what_is_no_size(text):
    """Anything else is an error that shows how to write it."""
    with pytest.raises(ConfigError, match="8GB"):
        parse_bytes(text)


def test_free_memory_is_bounded_by_every_cgroup(tmp_path, monkeypatch):
    """The least of machine and all memory cgroups above the process, of either version."""
    root = tmp_path / "cgroup"
    membership = "4:cpu,memory:/a/b\n0::/c/d\n2:cpuset:/x\n"
    for folder, limit, used in [("memory/a", 900, 100), ("memory", 2**62, 1), ("c", 700, 500)]:
        (root / folder).mkdir(parents=True, exist_ok=True)
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        names = names if folder.startswith("memory") else ("memory.max", "memory.current")
        for name, value in zip(names, (limit, used), strict=True):
            (root / folder / name).write_text(f"{value}\n")
    (root / "c" / "d").mkdir()
    (root / "c" / "d" / "memory.max").write_text("max\n")
    (root / "c" / "d" / "memory.current").write_text("400\n")
    files = cgroup_files(membership, root)
    assert (
        root / "memory/a/memory.limit_in_bytes",
        root / "memory/a/memory.usage_in_bytes",
    ) in files
    assert not any("cpuset" in str(path) or "/x/" in str(path) for pair in files for path in pair)
    real = memory_module._read
    monkeypatch.setattr(memory_module, "cgroup_files", lambda text, base: files)
    assert free_bytes() == 200
    monkeypatch.setattr(memory_module, "cgroup_files", lambda text, base: files[:3])
    assert free_bytes() == 800
    monkeypatch.setattr(memory_module, "cgroup_files", lambda text, base: [])
    machine = free_bytes()
    assert 10**7 < machine < 10**14
    monkeypatch.setattr(memory_module, "_read", lambda path: "")
    assert free_bytes() == memory_module.UNKNOWN_FREE
    assert real(Path("/nowhere")) == ""


def test_own_memory_is_seen():
    """Memory that is taken shows, memory that is given back goes."""
    before = resident_bytes()
    # Not a tensor: a process that keeps freed memory would find room for one in what it has.
    block = mmap.mmap(-1, 100_000_000)
    block[:: mmap.PAGESIZE] = bytes(len(block[:: mmap.PAGESIZE]))
    assert 90e6 < resident_bytes() - before < 130e6
    block.close()
    assert resident_bytes() - before < 20e6


def test_modes_by_memory(weights, engine):
    """Resident where it fits; below that two buffers, then one, then an error."""
    tokens = {"tokens": 50_000, "largest_batch": 256}
    resident = plan_memory(weights, engine, 10**12, **tokens)
    assert (resident.streaming, resident.buffers, resident.scratch_bytes) == (False, 0, 0)
    assert isinstance(choose_runner(weights, engine, 10**12), Resident)
    less = plan_memory(weights, engine, resident.peak_bytes - 20_000_000, **tokens)
    assert (less.streaming, less.buffers) == (True, 2)
    assert less.peak_bytes <= less.memory_bytes
    assert less.state_bytes == 4 * 512 * 50_000
    assert less.scratch_bytes in (0, 2 * less.state_bytes)
    assert less.layer_bytes == weights.num_bytes(weights.layer_names(0))
    least = plan_memory(weights, engine, less.peak_bytes - (less.state_bytes if less.scratch_bytes
                        == 0 else 0) - less.layer_bytes // 2, **tokens)  # fmt: skip
    assert least.buffers == 1
    assert least.scratch_bytes == 2 * least.state_bytes
    with pytest.raises(ConfigError, match="not enough"):
        plan_memory(weights, engine, least.peak_bytes - least.layer_bytes, **tokens)
    on_disk = plan_memory(weights, engine, less.memory_bytes, scratch=True, **tokens)
    assert on_disk.scratch_bytes == 2 * on_disk.state_bytes
    unknown = plan_memory(weights, engine, less.memory_bytes)
    assert (unknown.tokens, unknown.state_bytes, unknown.scratch_bytes) == (None, None, None)


def test_the_choice_is_the_plans(weights, engine, tmp_path):
    """`choose_runner` streams when the plan says so, with the plan's buffers and states' room."""
    memory = plan_memory(weights, engine, 10**12).peak_bytes - 30_000_000
    runner = choose_runner(weights, engine, memory, tmp_path / "s")
    assert isinstance(runner, Streaming)
    assert runner.scratch == tmp_path / "s"
    assert runner.room is not None
    assert 0 <= runner.room(1) == runner.room(4096) < memory
    more = activation_bytes(weights, engine, 9000) - activation_bytes(weights, engine, 4096)
    assert runner.room(9000) == runner.room(1) - more


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["torch", "native"])
def test_packed_bytes_are_what_layers_take(weights, name, dtype):
    """The native package's own count of a packed layer is within a tenth of the plan's."""
    if name == "native" and not native_isas():
        pytest.skip("worldpm-kernels is not installed")
    try:
        engine = choose_engine(weights.config, dtype, name, threads=1)
    except ConfigError as error:
        pytest.skip(str(error))
    plan = plan_memory(weights, engine, 10**12)
    ends = weights.num_bytes(["model.embed_tokens.weight", "score.weight"])
    planned = (plan.packed_bytes - ends) / plan.layers
    if name == "native":
        layer = engine.make_layer(weights.layer(0))
        actual = next(
            cell.cell_contents.packed_bytes for cell in layer.__closure__
            if hasattr(cell.cell_contents, "packed_bytes")
        )  # fmt: skip
    else:
        size = 2 if dtype == "bfloat16" else 4
        actual = sum(t.numel() for t in weights.layer(0).values()) * size
    assert planned == pytest.approx(actual, rel=0.1)


def test_seconds_follow_the_longer_of_read_and_compute(weights, engine):
    """A job bound by its reads takes their time, one bound by compute takes that."""
    memory = plan_memory(weights, engine, 10**12).peak_bytes - 30_000_000
    plan = plan_memory(weights, engine, memory, tokens=10_000)
    plan = replace(plan, layers=10, layer_bytes=100, read_bytes=1000)
    slow_disk = plan.with_speeds(Speeds(10.0, 1.0, 10_000 / 2.0))
    assert slow_disk.expected_seconds == pytest.approx(10 * 10 + 3)
    slow_compute = plan.with_speeds(Speeds(100.0, 1.0, 10_000 / 7.0))
    assert slow_compute.expected_seconds == pytest.approx(10 * 8 + 1)
    resident = replace(plan, streaming=False, overlap=False).with_speeds(
        Speeds(10.0, 1.0, 10_000 / 2.0)
    )
    assert resident.expected_seconds == pytest.approx(10 * 13)
    alone = replace(plan, overlap=False, buffers=1).with_speeds(Speeds(10.0, 1.0, 10_000 / 2.0))
    assert alone.expected_seconds == pytest.approx(10 * 13)
    assert slow_disk.fast_disk_seconds == pytest.approx(10 * 3)
    assert "about 81 s; 80 s were" in str(slow_compute)
    assert "streaming" in str(slow_disk)
    assert "GB/s" in str(slow_disk)


def test_speeds_are_measured(weights, engine):
    """The probe reads a layer's bytes and takes tokens through it."""
    speeds = measure_speeds(weights, engine)
    assert 1e6 < speeds.bytes_per_second < 1e12
    assert 1 < speeds.tokens_per_second < 1e9
    assert 0 < speeds.pack_seconds < 60


def simulate(read, compute, batches, layers, noise, seed=0):
    """A run by the clock of its parts: yields (forecast of what is left, what really was left)."""
    rng = random.Random(seed)
    costs = [rng.uniform(0.2, 1.0) for _ in range(batches)]
    unit = compute / sum(costs)
    forecast = Forecast(costs, layers)
    now, arrived, told = 0.0, read, []
    for _ in range(layers):
        now = max(now, arrived)
        took = read * rng.uniform(1 - noise, 1 + noise)
        arrived = now + took
        forecast.layer_begins(took, 0.0)
        for number, cost in enumerate(costs):
            seconds = cost * unit * rng.uniform(1 - noise, 1 + noise)
            now += seconds
            forecast.batch_done(number, seconds)
            told.append((now, forecast.seconds_left()))
    return [(left, now - at) for at, left in told]


@pytest.mark.parametrize(("read", "compute"), [(1.0, 20.0), (1.0, 1.0), (3.0, 1.0), (9.0, 0.3)])
@pytest.mark.parametrize("batches", [1, 12])
def test_forecasts_are_right_within_a_fifth(read, compute, batches):
    """From the first batch until two layers are left, whichever of read and compute is longer."""
    pairs = simulate(read, compute, batches, layers=30, noise=0.1)
    for left, actual in pairs[: -2 * batches]:
        assert left == pytest.approx(actual, rel=0.2)
    assert Forecast([1.0], 3).seconds_left() is None


def test_forecast_follows_a_change_of_speed():
    """A machine that becomes three times slower is believed after three layers."""
    forecast = Forecast([1.0], 20)
    for seconds in [1.0] * 5 + [3.0] * 3:
        forecast.layer_begins(0.1, 0.0)
        forecast.batch_done(0, seconds)
    assert forecast.seconds_left() == pytest.approx(12 * 3.0)


def test_progress_reads_well():
    """Layers, tokens, bytes and the time left in one line."""
    line = str(Progress(3, 28, 5 * 10**9, 14 * 10**9, 20_000, 88_000, 7512.0))
    assert line == ("layer 4 of 28, 20,000 of 88,000 tokens, 5.0 of 14.0 GB read, "
                    "2 h 05 min left")  # fmt: skip
    assert str(Progress(0, 28, 0, 1, 1, 2, None)).endswith("GB read")


PEAK = """
import re, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from worldpm.model.allocator import keep_freed_memory
from worldpm.model.batch import collate
from worldpm.model.memory import resident_bytes
from worldpm.model.native import choose_engine
from worldpm.model.plan import plan_memory
from worldpm.model.streaming import Streaming
from worldpm.model.engine import Resident
from worldpm.model.weights import Weights
from worldpm.tokens.tree import build_tree

keep_freed_memory()
folder, name, mode, scratch = sys.argv[1:]
weights = Weights(Path(folder))
engine = choose_engine(weights.config, "float32", name, threads=1)
tree = build_tree([[i % 300 for i in range(600)], [i % 290 + 1 for i in range(400)]])
batches = [collate([tree]) for _ in range(12)]
plan_memory(weights, engine, 10**12)
own = resident_bytes()
plan = plan_memory(weights, engine, own + 10**12, largest_batch=1000)
if mode == "resident":
    runner = Resident(weights, engine)
else:
    plan = plan_memory(weights, engine, plan.peak_bytes - 10**7, largest_batch=1000)
    runner = Streaming(weights, engine, scratch=Path(scratch), buffers=plan.buffers)
scores = torch.cat(list(runner.run(batches)))
# Not ru_maxrss, which a process has from its parent.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
print(own, plan.peak_bytes, peak, *scores.view(torch.int32).tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "native"])
def test_the_peak_is_what_was_planned(weights, tmp_path, name):
    """A process of its own holds at most what the plan says, and streaming a fraction of resident;
    the scores are the same."""
    if name == "native" and not native_isas():
        pytest.skip("worldpm-kernels is not installed")
    peaks, scores = {}, {}
    for mode in ("resident", "streaming"):
        ran = subprocess.run(
            [sys.executable, "-c", PEAK, str(weights.folder), name, mode, str(tmp_path / "s")],
            capture_output=True, text=True, check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        own, planned, peak, *scores[mode] = map(int, ran.stdout.split())
        assert peak <= planned
        peaks[mode] = peak - own
    assert scores["streaming"] == scores["resident"]
    assert peaks["streaming"] < 0.7 * peaks["resident"]


def test_an_outline_plans_as_the_weights_do(tmp_path):
    """With nothing but config.json, sizes, modes and reads are those of the weights themselves."""
    for layout in ("Qwen2ForRewardModel", "Qwen3ForSequenceClassification"):
        whole = Weights(write_layout(tmp_path / layout, layout, dtype=torch.bfloat16))
        bare = tmp_path / f"{layout}-bare"
        bare.mkdir()
        raw = json.loads((whole.folder / "config.json").read_text())
        (bare / "config.json").write_text(json.dumps(raw | {"torch_dtype": "bfloat16"}))
        assert (lacks_weights(bare), lacks_weights(whole.folder)) == (True, False)
        assert not lacks_weights(tmp_path)
        outline = Outline(bare)
        shapes = {name: (place.shape, place.num_bytes) for name, place in outline.places.items()}
        wanted = {name: (place.shape, place.num_bytes) for name, place in whole.places.items()}
        assert shapes == wanted
        for memory in (10**12, plan_memory(whole, torch_engine(whole), 10**12).peak_bytes - 1000):
            plans = [
                plan_memory(each, torch_engine(each), memory, tokens=99)
                for each in (outline, whole)
            ]
            assert [plan.estimate for plan in plans] == [True, False]
            assert replace(plans[0], estimate=False, peak_bytes=0) == replace(
                plans[1], peak_bytes=0
            )


def test_an_outline_of_worldpm_72b(tmp_path):
    """143 GB without the language head that is fetched with it, 80 layers of 1.76 GB."""
    (tmp_path / "config.json").write_text(json.dumps(WORLDPM_72B))
    outline = Outline(tmp_path)
    plan = plan_memory(outline, torch_engine(outline), 60 * 10**9, tokens=10_000)
    assert plan.weights_bytes == pytest.approx(143.06e9, rel=1e-3)
    assert plan.layer_bytes == pytest.approx(1.755e9, rel=1e-3)
    assert (plan.streaming, plan.layers, plan.estimate) == (True, 80, True)
    slow = plan.with_speeds(Speeds(1e9, 1.0, 1e6))
    assert slow.expected_seconds == pytest.approx(140.4, rel=0.03)
    assert slow.fast_disk_seconds == pytest.approx(80 * 1.01, rel=0.03)
    assert str(slow).startswith("estimate")
    assert "about 2 min; 81 s were the disk one of 7 GB/s" in str(slow)
    unknown = plan_memory(outline, torch_engine(outline), 60 * 10**9).with_speeds(slow.speeds)
    assert "reading      about 2 min; 20 s were" in str(unknown)
    index = {"weight_map": {name: "model-1.safetensors" for name in [*outline.places][1:]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="lacks 1 tensors, first"):
        Outline(tmp_path)


def test_an_outlines_speeds_are_scaled_by_their_work(weights, engine, monkeypatch, tmp_path):
    """A narrower layer stands for a wide one: as many operations a second, so fewer tokens."""
    monkeypatch.setattr(probe_module, "FILE_BYTES", 8 << 20)
    monkeypatch.setattr(probe_module, "WIDTH", 256)
    (tmp_path / "config.json").write_bytes((weights.folder / "config.json").read_bytes())
    small = narrow(weights.config)
    assert (small.hidden_size, small.intermediate_size, small.num_hidden_layers) == (256, 512, 1)
    assert small.num_attention_heads == 2 * small.num_key_value_heads
    made = []

    def make_engine(config):
        made.append(config)
        return TorchEngine(config, "float32")

    monkeypatch.setattr(probe_module, "_rate", lambda engine, layer, config: 1000.0)
    speeds = outline_speeds(Outline(tmp_path), make_engine)
    assert made == [small]
    layers = weights.config.num_hidden_layers
    work = weights.config.num_parameters() / layers / small.num_parameters()
    assert work > 3
    assert speeds.tokens_per_second == pytest.approx(1000 / work)
    assert 1e6 < speeds.bytes_per_second < 1e12
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
