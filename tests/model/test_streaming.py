"""Streaming: the resident scorer's bits from a layer or two at a time, and after any kill."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoints import LAYOUTS, write_layout
from safetensors.torch import load_file, save_file

from worldpm.errors import CheckpointError, DataError, WorldPMError
from worldpm.model import states as states_module
from worldpm.model.batch import collate
from worldpm.model.engine import Resident
from worldpm.model.native import choose_engine, native_isas
from worldpm.model.states import DATA, STATE
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


# A child for each moment: it kills itself there, a second one goes on and says what it has.
KILLS = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import worldpm.model.states as states
from test_streaming import batches, engine_of
from worldpm.model.streaming import Streaming
from worldpm.model.weights import Weights

folder, scratch, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
real_put, real_write = states.FileStates.put, states.write_atomic

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying_put(self, batch, residual, at=[0]):
    at[0] += 1
    if at[0] == stop:
        residual = residual.clone()
        residual[len(residual) // 2 :] = float("nan")  # half of it written
        real_put(self, batch, residual)
        die()
    real_put(self, batch, residual)

def dying_write(path, data, at=[0]):
    at[0] += 1
    if at[0] == stop and not late:
        die()
    real_write(path, data)
    if at[0] == stop:
        die()

moments = [("put", n, None) for n in (1, 4, 5, 12)]
moments += [("write", n, late) for n in (2, 4) for late in (False, True)]
for kind, stop, late in moments:
    pid = os.fork()
    if not pid:
        weights = Weights(folder)
        if kind == "put":
            states.FileStates.put = dying_put
        else:
            states.write_atomic = dying_write
        list(Streaming(weights, engine_of(weights, name), scratch=scratch).run(batches()))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, (kind, stop)
    assert (scratch / "states.bin").is_file()
    pid = os.fork()
    if not pid:
        weights = Weights(folder)
        streaming = Streaming(weights, engine_of(weights, name), scratch=scratch)
        scores = torch.cat(list(streaming.run(batches())))
        print(kind, streaming.cost.layers, *scores.view(torch.int32).tolist(), flush=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not scratch.exists()
"""


@pytest.mark.parametrize("name", ENGINES)
def test_a_kill_changes_no_bit(tmp_path, name):
    """Killed with -9 while embeddings or a layer are half written, and before and after each state
    is: the next run does only the layers that are left, and gives the bits of an unbroken one."""
    weights = made(tmp_path / "m")
    wanted = torch.cat(scores(Resident(weights, engine_of(weights, name))))
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", KILLS, str(weights.folder), str(tmp_path / "scratch"), name],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = [line.split() for line in ran.stdout.splitlines()]
    assert [int(row[1]) for row in rows] == [3, 3, 3, 1, 3, 2, 1, 0]
    for row in rows:
        assert list(map(int, row[2:])) == wanted.view(torch.int32).tolist()


def begin(weights, scratch, layers_done=2):
    """A run that fails after some layers, as one that was stopped."""
    streaming = Streaming(weights, engine_of(weights), scratch=scratch)
    make, streaming._make_layer = streaming._make_layer, None

    def limited(index, tensors):
        if index == layers_done:
            raise KeyboardInterrupt
        return make(index, tensors)

    streaming._make_layer = limited
    with pytest.raises(KeyboardInterrupt):
        scores(streaming)


@pytest.mark.parametrize("damage", ["json", "fields", "flip", "cut", "swap"])
def test_damaged_states_are_not_used(tmp_path, damage):
    """A state file or data that are not whole: the run says so, starts anew, and is right."""
    weights = made(tmp_path / "m")
    wanted = scores(Resident(weights, engine_of(weights)))
    scratch = tmp_path / "scratch"
    begin(weights, scratch)
    state, data = scratch / STATE, scratch / DATA
    held = bytearray(data.read_bytes())
    if damage == "json":
        state.write_bytes(state.read_bytes()[:-9])
    elif damage == "fields":
        state.write_text("[1, 2]")
    elif damage == "flip":
        held[100] ^= 1
        data.write_bytes(held)
    elif damage == "cut":
        data.write_bytes(held[:-1])
    else:  # the region of another layer, as after a power failure
        data.write_bytes(held[len(held) // 2 :] + held[: len(held) // 2])
    said = []
    streaming = Streaming(weights, engine_of(weights), scratch=scratch, say=said.append)
    assert_same_bits(scores(streaming), wanted)
    assert streaming.cost.layers == 3
    assert len(said) == 1
    assert "starting anew" in said[0]
    begin(weights, scratch)
    assert_same_bits(scores(streaming), wanted)
    assert streaming.cost.layers == 1
    assert "goes on after 2 layers" in said[1]


def test_another_jobs_states_are_refused(tmp_path):
    """Weights that differ in one value, other batches, another precision: named and left alone."""
    weights = made(tmp_path / "m")
    scratch = tmp_path / "scratch"
    begin(weights, scratch)
    before = (scratch / STATE).read_bytes()
    path = write_layout(tmp_path / "n", "LlamaForSequenceClassification", num_hidden_layers=3,
                        seed=3) / "model.safetensors"  # fmt: skip
    state = load_file(path)
    state["model.layers.2.mlp.up_proj.weight"][0, 0] += 1
    save_file(state, path, metadata={"format": "pt"})
    os.utime(path, ns=(os.stat(weights.folder / path.name).st_mtime_ns,) * 2)
    other = Weights(tmp_path / "n")
    with pytest.raises(DataError, match=r"another model[;]"):
        scores(Streaming(other, engine_of(other), scratch=scratch))
    with pytest.raises(DataError, match="another batches"):
        list(Streaming(weights, engine_of(weights), scratch=scratch).run(batches()[:2]))
    with pytest.raises(DataError, match="another dtype"):
        scores(Streaming(weights, engine_of(weights, dtype="bfloat16"), scratch=scratch))
    assert (scratch / STATE).read_bytes() == before


def test_a_scratch_serves_one_run_at_a_time(tmp_path):
    """A second run in the same folder is refused while the first one is there."""
    weights = made(tmp_path / "m")

    def meet(progress):
        if progress.layers_done == 1 and not met:
            with pytest.raises(WorldPMError, match="another run"):
                scores(Streaming(weights, engine_of(weights), scratch=tmp_path / "s"))
            met.append(progress)

    met = []
    first = Streaming(weights, engine_of(weights), scratch=tmp_path / "s", on_progress=meet)
    assert len(scores(first)) == 3
    assert met


def test_others_files_stay(tmp_path):
    """Of a folder that was there only our own files go."""
    weights = made(tmp_path / "m")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes.txt").write_text("mine")
    scores(Streaming(weights, engine_of(weights), scratch=tmp_path / "s"))
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_full_disk_is_an_error(tmp_path, monkeypatch, call):
    """No room for the states: said with their size, at the start or wherever it shows."""
    weights = made(tmp_path / "m")

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(states_module.os, call, full)
    streaming = Streaming(weights, engine_of(weights), scratch=tmp_path / "s")
    with pytest.raises(WorldPMError, match=r"no room for the 0\.00 GB of states"):
        scores(streaming)


def test_states_that_do_not_fit_ask_for_scratch(tmp_path):
    """Without a folder and with too little memory for the states, the run says what it takes."""
    weights = made(tmp_path / "m")
    tokens = sum(len(batch.tokens) for batch in batches())
    size = 4 * 64 * tokens
    with pytest.raises(WorldPMError, match="scratch"):
        scores(Streaming(weights, engine_of(weights), room=lambda tokens: size - 1))
    assert len(scores(Streaming(weights, engine_of(weights), room=lambda tokens: size))) == 3


def test_a_batch_that_does_not_fit_is_an_error(tmp_path):
    """A conversation whose activations alone are too large, before anything is read or written."""
    weights = made(tmp_path / "m")
    largest = max(len(batch.tokens) for batch in batches())
    streaming = Streaming(
        weights,
        engine_of(weights),
        scratch=tmp_path / "s",
        room=lambda tokens: largest - tokens - 1,
    )
    with pytest.raises(WorldPMError, match=f"a batch of {largest} tokens"):
        scores(streaming)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_that_are_not_finite_are_found(tmp_path, name, value, dtype):
    """One bad value in a layer, or in a row of the embedding that is used, stops the run."""
    weights = made(tmp_path / "m", dtype=dtype)
    path = weights.folder / "model.safetensors"
    state = load_file(path)
    state[name][6, -1] = value
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"{name} has values that are not finite"):
        scores(Streaming(weights, engine_of(weights)))


def test_a_file_cut_while_in_use_is_found(tmp_path):
    """A shard that became shorter after it was opened is an error, not a wrong score."""
    weights = made(tmp_path / "m")
    streaming = Streaming(weights, engine_of(weights))
    path = weights.folder / "model.safetensors"
    os.truncate(path, path.stat().st_size // 4)
    with pytest.raises(CheckpointError, match="cut short"):
        scores(streaming)


def test_no_batches_no_work(tmp_path):
    """An empty job yields nothing and leaves nothing."""
    weights = made(tmp_path / "m")
    assert list(Streaming(weights, engine_of(weights), scratch=tmp_path / "s").run([])) == []
    assert not (tmp_path / "s").exists()


def test_every_layer_is_read_once(tmp_path):
    """Bytes read are those of the layers and of the embedding rows' neighbourhood, once a job."""
    weights = made(tmp_path / "m", hidden_size=256, intermediate_size=512, num_attention_heads=4)
    streaming = Streaming(weights, engine_of(weights))
    scores(streaming)
    layers = [name for i in range(3) for name in weights.layer_names(i)]
    rows = weights.num_bytes(["model.embed_tokens.weight"])
    least = weights.num_bytes(layers)
    assert least <= streaming.cost.num_bytes <= least + rows + 5 * 8192
