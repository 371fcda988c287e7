"""States between layers: what is put comes back, and every fault of a disk is a sentence."""

import errno
import os

import orjson
import pytest
import torch

from worldpm.errors import DataError, WorldPMError
from worldpm.model import states as states_module
from worldpm.model.states import DATA, LOCK, STATE, FileStates, MemoryStates, discard_scratch

TOKENS, HIDDEN = [3, 1, 5], 6
JOB = {"model": "m", "batches": "b"}


def opened(folder, said=None, identity=JOB, tokens=TOKENS):
    return FileStates(folder, identity, tokens, HIDDEN, ([] if said is None else said).append)


def values(layer):
    """Residuals that differ by layer, batch, token and place."""
    generator = torch.Generator().manual_seed(layer)
    return [torch.randn(count, HIDDEN, generator=generator) for count in TOKENS]


def put_all(states, layer):
    for number, residual in enumerate(values(layer)):
        states.put(number, residual)
    states.commit(layer)


def assert_holds(states, layer):
    assert states.layers_done == layer
    for number, residual in enumerate(values(layer)):
        assert torch.equal(states.get(number), residual)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_is_put_comes_back(tmp_path, kind):
    """After each layer exactly that layer's residuals, in memory and in a file."""
    states = MemoryStates() if kind == "memory" else opened(tmp_path / "s")
    assert states.layers_done == -1
    for layer in range(4):
        put_all(states, layer)
        assert_holds(states, layer)
    states.remove()
    states.close()
    assert list(tmp_path.iterdir()) == []


def test_a_layer_half_put_does_not_show(tmp_path):
    """Until it is committed, `get` gives the layer before; so does a run that takes it up."""
    states = opened(tmp_path / "s")
    put_all(states, 0)
    put_all(states, 1)
    states.put(0, values(2)[0])
    assert_holds(states, 1)
    states.close()
    said = []
    again = opened(tmp_path / "s", said)
    assert_holds(again, 1)
    put_all(again, 2)
    assert_holds(again, 2)
    assert said == []
    again.close()


def test_a_residual_that_is_not_contiguous(tmp_path):
    """A view with its columns first is stored row by row all the same."""
    states = opened(tmp_path / "s")
    for number, residual in enumerate(values(0)):
        states.put(number, residual.t().contiguous().t())
    states.commit(0)
    assert_holds(states, 0)
    states.close()
    again = opened(tmp_path / "s")
    assert_holds(again, 0)
    again.close()


@pytest.mark.parametrize(
    ("change", "said_so"),
    [
        (lambda s: s.update(layers_done=-2), True),
        (lambda s: s.update(layers_done="two"), True),
        (lambda s: s.update(format="worldpm-states/9"), True),
        (lambda s: s.update(sum=s["sum"] ^ 1), True),
        (lambda s: s.pop("identity"), True),
        (lambda s: s.update(identity=5), True),
        (lambda s: s.update(more="from a later version"), False),
    ],
)
def test_a_state_file_that_is_not_ours(tmp_path, change, said_so):
    """Whatever does not check out begins anew, aloud; what is merely unknown does not matter."""
    states = opened(tmp_path / "s")
    put_all(states, 0)
    states.close()
    path = tmp_path / "s" / STATE
    state = orjson.loads(path.read_bytes())
    change(state)
    path.write_bytes(orjson.dumps(state))
    said = []
    again = opened(tmp_path / "s", said)
    assert again.layers_done == (-1 if said_so else 0)
    assert bool(said) == said_so
    assert path.exists() != said_so
    again.close()


def test_other_jobs_are_named_and_left(tmp_path):
    """All that differs is named, and the states stay for whoever owns them."""
    states = opened(tmp_path / "s")
    put_all(states, 0)
    states.close()
    before = (tmp_path / "s" / DATA).read_bytes()
    with pytest.raises(DataError, match="another model, dtype;"):
        opened(tmp_path / "s", identity={"model": "n", "batches": "b", "dtype": "float32"})
    assert (tmp_path / "s" / DATA).read_bytes() == before
    opened(tmp_path / "s").close()  # nobody holds the lock


def test_a_batch_of_the_wrong_shape_is_our_bug(tmp_path):
    """Batches may not change between layers."""
    states = opened(tmp_path / "s")
    with pytest.raises(AssertionError):
        states.put(0, torch.zeros(4, HIDDEN))
    states.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_while_writing(tmp_path, monkeypatch, code):
    """No room is told with what it takes; another fault by its name."""
    states = opened(tmp_path / "s")

    def fail(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(states_module.os, "pwrite", fail)
    message = "cannot be written" if code == errno.EIO else "has no room for the 0.00 GB of states"
    with pytest.raises(WorldPMError, match=message):
        put_all(states, 0)
    states.close()


def test_short_writes_and_reads_are_gone_on_with(tmp_path, monkeypatch):
    """A system that takes and gives seven bytes at a time loses none."""
    real_write, real_read = os.pwrite, os.preadv
    monkeypatch.setattr(
        states_module.os, "pwrite", lambda fd, data, at: real_write(fd, bytes(data[:7]), at)
    )
    monkeypatch.setattr(
        states_module.os, "preadv", lambda fd, views, at: real_read(fd, [views[0][:7]], at)
    )
    states = opened(tmp_path / "s")
    put_all(states, 0)
    assert_holds(states, 0)
    states.close()


def test_data_cut_by_another_program(tmp_path):
    """Bytes that vanish under a run are an error, not zeros."""
    states = opened(tmp_path / "s")
    put_all(states, 0)
    os.truncate(tmp_path / "s" / DATA, 10)
    with pytest.raises(WorldPMError, match="cut short by another program"):
        states.get(2)
    states.close()


def test_a_scratch_that_cannot_be_made(tmp_path):
    """A file where the folder should be is told by its path."""
    (tmp_path / "s").write_text("mine")
    with pytest.raises(WorldPMError, match="s: cannot be written"):
        opened(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def test_a_system_without_preallocation(tmp_path, monkeypatch):
    """The file gets its length by other means, and an earlier job's bytes are gone."""
    monkeypatch.delattr(states_module.os, "posix_fallocate")
    states = opened(tmp_path / "s")
    assert (tmp_path / "s" / DATA).stat().st_size == 2 * 4 * HIDDEN * sum(TOKENS)
    put_all(states, 0)
    assert_holds(states, 0)
    states.close()


def test_only_our_own_files_are_discarded(tmp_path):
    """The state goes first and half-written ones with it; a folder with others' files stays."""
    folder = tmp_path / "s"
    folder.mkdir()
    for name in (STATE, DATA, LOCK, f".{STATE}.77.tmp", "mine.txt"):
        (folder / name).write_text("x")
    discard_scratch(folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    (folder / "mine.txt").unlink()
    discard_scratch(folder, folder_too=False)
    assert folder.is_dir()
    discard_scratch(folder)
    assert not folder.exists()
    discard_scratch(folder)  # nothing there is nothing to do
