"""kill -9 of either process, at a step or while it writes a checkpoint: the losses are the same."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import TOY, metrics, tiny_base, toy_data

STEPS = 8
SETTINGS = [
    *TOY, "parallel.layout='shard'", "run.checkpoint_every_seconds=1e-9", "data.batch_pairs=24",
]  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The arguments of a run but for its folder: recipe, base, data."""
    work = tmp_path_factory.mktemp("killed")
    (work / "toy.toml").write_text("")
    sets = [part for each in SETTINGS for part in ("--set", each)]
    base, data = tiny_base(work / "base"), toy_data(work / "data")
    return [work / "toy.toml", "--base", base, "--data", data, "-q", "--resume", *sets]


def start(inputs, run, restarts):
    """Two processes under torchrun, which starts both again after a death."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "--max-restarts", restarts, "--monitor-interval", "0.05",
        "-m", "worldpm", "train", *inputs, "-o", run,
    ]  # fmt: skip
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def process_of(parent, rank):
    """The id of the process of this rank that torchrun, `parent`, runs now."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(words[1]) == parent and words[0] != "Z":
                variables = (entry / "environ").read_bytes().split(b"\0")
                if f"RANK={rank}".encode() in variables:
                    return int(entry.name)
        except (OSError, IndexError, ValueError):
            continue
    return None


def kill_at(torchrun, run, rank, step, *, writing, seconds=150):
    """SIGKILL to a process once `step` is logged, or while its checkpoint is being written."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and torchrun.poll() is None:
        halves = (run / "checkpoints").glob(".step-*.partial")
        reached = any(int(half.name[6:14]) >= step for half in halves)
        if not writing:
            reached = any(r["step"] >= step for r in whole_lines(run))
        if reached and (own := process_of(torchrun.pid, rank)):
            os.kill(own, signal.SIGKILL)
            return True
        time.sleep(0.001)
    return False


def whole_lines(run):
    """The steps logged so far; the last line may be under way."""
    try:
        return metrics(run, "step")
    except (ValueError, FileNotFoundError):
        return []


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """The numbers of a run of two processes that nobody touched, and the bytes of its model."""
    run = tmp_path_factory.mktemp("whole") / "run"
    torchrun = start(inputs, run, 0)
    assert torchrun.wait(280) == 0, torchrun.stderr.read()[-3000:]
    assert len(metrics(run, "step")) == STEPS
    return metrics(run), (run / "model" / "model.safetensors").read_bytes()


def check(inputs, whole, run, kills):
    """Kill as told, one after the other; the end is that of the run nobody touched."""
    torchrun = start(inputs, run, len(kills))
    try:
        for rank, step, writing in kills:
            assert kill_at(torchrun, run, rank, step, writing=writing), torchrun.stderr.read()[
                -3000:
            ]
        assert torchrun.wait(200) == 0, torchrun.stderr.read()[-3000:]
    finally:
        torchrun.terminate()  # and it ends its processes
        torchrun.communicate(timeout=60)
    assert metrics(run) == whole[0]
    assert (run / "model" / "model.safetensors").read_bytes() == whole[1]


def test_killed_at_a_step_and_in_a_checkpoint(inputs, whole, tmp_path):
    """The second dies after a step, then the first in a checkpoint: numbers and bytes are equal."""
    check(inputs, whole, tmp_path / "run", [(1, 2, False), (0, 5, True)])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trial", range(20))
def test_killed_at_random(inputs, whole, tmp_path, trial):
    """Either process, any step, every second time while it writes a checkpoint."""
    rng = random.Random(trial)
    kill = rng.randrange(2), rng.randint(1, STEPS - 2), trial % 2 == 1
    check(inputs, whole, tmp_path / "run", [kill])


@pytest.mark.slow
def test_a_signal_to_one_stops_both(inputs, whole, tmp_path):
    """SIGTERM to one process: both save the same step and end with 75; --resume goes on."""
    run = tmp_path / "run"
    torchrun = start(inputs, run, 0)
    end = time.monotonic() + 150
    while time.monotonic() < end and not whole_lines(run):
        time.sleep(0.005)
    os.kill(process_of(torchrun.pid, 1), signal.SIGTERM)
    assert torchrun.wait(200) == 1  # torchrun's own code; those of its processes it tells
    said = torchrun.stderr.read()
    assert said.count("stopped and saved; go on with --resume") == 2
    assert "exitcode  : 75" in said
    assert not (run / "model").exists()
    torchrun = start(inputs, run, 0)
    assert torchrun.wait(200) == 0, torchrun.stderr.read()[-3000:]
    assert metrics(run) == whole[0]
