"""Checkpoints of a run: whole or not there, and a damaged one falls back to the one before."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from worldpm.errors import WorldPMError
from worldpm.train import state
from worldpm.train.optim import build_optimizer
from worldpm.train.recipe import OptimSettings
from worldpm.train.state import checkpoints, load_checkpoint, save_checkpoint


class Run:
    """A parameter pair and its optimiser, stepped with known gradients."""

    def __init__(self, folder):
        self.folder = folder
        self.trained = {"w": nn.Parameter(torch.ones(2, 3)), "b": nn.Parameter(torch.zeros(3))}
        self.optimizer = build_optimizer(self.trained, OptimSettings(lr=0.1))
        self.step = 0
        self.skipped = 0

    def advance(self, *, skip=False):
        self.step += 1
        self.skipped += skip
        if not skip:
            generator = torch.Generator().manual_seed(self.step)
            for parameter in self.trained.values():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            self.optimizer.step()

    def save(self, keep=2):
        progress = {"step": self.step, "skipped_steps": self.skipped, "pairs": self.step / 3}
        save_checkpoint(self.folder, self.trained, self.optimizer, progress, keep)

    def load(self, warn=lambda text: pytest.fail(text)):
        progress = load_checkpoint(self.folder, self.trained, self.optimizer, warn)
        if progress:
            self.step, self.skipped = progress["step"], progress["skipped_steps"]
        return progress

    def values(self):
        return torch.cat([p.detach().flatten() for p in self.trained.values()]).tolist()


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def names(run):
    return [folder.name for folder in checkpoints(run.folder)]


@pytest.mark.parametrize("skip", [False, True])
def test_going_on_is_never_having_stopped(run, tmp_path, skip):
    """Loaded into a fresh optimiser, later steps are the same to the bit, skipped steps or not."""
    for number in range(4):
        run.advance(skip=skip and number == 1)
    run.save()
    again = Run(tmp_path)
    assert again.load() == {"step": 4, "skipped_steps": int(skip), "pairs": 4 / 3}
    assert again.values() == run.values()
    for each in (run, again):
        each.advance()
        each.advance()
    assert again.values() == run.values()


def test_before_the_first_update(run, tmp_path):
    """A checkpoint before any update has no moments, and loads."""
    run.advance(skip=True)
    run.save()
    again = Run(tmp_path)
    again.load()
    run.advance()
    again.advance()
    assert again.values() == run.values()


def test_nothing_saved(run):
    """A run without checkpoints has nothing to load."""
    assert run.load() is None
    assert names(run) == []


def test_only_the_newest_are_kept(run):
    """All but the newest `keep` go."""
    for _ in range(4):
        run.advance()
        run.save(keep=2)
    assert names(run) == ["step-00000003", "step-00000004"]
    assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) == names(run)


def tensors_of(folder):
    """The one file of tensors that one process writes."""
    (path,) = folder.glob("shard-*.safetensors")
    return path


def flip(path, place):
    """Change one bit, and neither the length nor what the header says."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "cut tensors": lambda f: tensors_of(f).write_bytes(b"\x10\0\0\0\0\0\0\0{"),
    "a bit of a weight": lambda f: flip(tensors_of(f), -1),
    "a bit of a header": lambda f: flip(tensors_of(f), 12),
    "missing file": lambda f: tensors_of(f).unlink(),
    "a file too many": lambda f: (f / "other.safetensors").write_bytes(b""),
    "cut progress": lambda f: (f / "progress.json").write_text('{"step": 2'),
    "a digit of progress": lambda f: (f / "progress.json").write_bytes(
        (f / "progress.json").read_bytes().replace(b'"step":2', b'"step":3')
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_newest_falls_back(run, tmp_path, kind):
    """The newest is damaged: the one before is loaded whole, and a warning names the damaged."""
    run.advance()
    run.save()
    expected = run.values()
    run.advance()
    run.save()
    DAMAGE[kind](checkpoints(tmp_path)[-1])
    warnings = []
    again = Run(tmp_path)
    assert again.load(warnings.append)["step"] == 1
    assert again.values() == expected
    assert len(warnings) == 1
    assert "step-00000002: damaged" in warnings[0]


def test_unfinished_folders_are_not_checkpoints(run, tmp_path):
    """What a killed process leaves half written is not taken, and goes at the next save."""
    run.advance()
    run.save()
    partial = tmp_path / "checkpoints" / ".step-00000002.partial"
    partial.mkdir()
    (partial / "progress.json").write_text("{}")
    (tmp_path / "checkpoints" / "step-00000003").mkdir()  # without progress.json
    assert Run(tmp_path).load()["step"] == 1
    run.advance()
    run.save()
    assert not partial.exists()


def test_what_kills_left_does_not_pile_up(run, tmp_path):
    """Half-written folders of other steps go as well: a resumed run rarely saves the same ones."""
    for step in (2, 5):
        (tmp_path / "checkpoints" / f".step-{step:08d}.partial").mkdir(parents=True)
    run.advance()
    run.save()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_killed_while_a_step_is_saved_again(run, tmp_path, monkeypatch):
    """The last step is saved more than once; the checkpoint before it is whole all the while."""
    run.advance()
    run.save(keep=1)
    real, seen = state.shutil.rmtree, []

    def killed(path, **flags):
        seen.append(names(run))
        return real(path, **flags)

    monkeypatch.setattr(state.shutil, "rmtree", killed)
    run.save(keep=1)
    assert seen
    assert all(standing == ["step-00000001"] for standing in seen)
    assert names(run) == ["step-00000001"]
    monkeypatch.setattr(state, "_sync", lambda path: None)

    def refuse(self, target):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(state.Path, "rename", refuse)
    with pytest.raises(WorldPMError, match="Input/output error"):
        run.save(keep=1)
    monkeypatch.undo()
    assert Run(tmp_path).load()["step"] == 1


def test_a_fallback_does_not_lose_the_new_ones(run, tmp_path):
    """After a fallback, a damaged later checkpoint is removed rather than kept as the newest."""
    for _ in range(2):
        run.advance()
        run.advance()
        run.save()
    DAMAGE["cut tensors"](checkpoints(tmp_path)[-1])
    again = Run(tmp_path)
    assert again.load(lambda text: None)["step"] == 2
    again.advance()
    again.save(keep=1)
    assert names(again) == ["step-00000003"]
    assert Run(tmp_path).load()["step"] == 3


def test_full_disk(run, monkeypatch):
    """A full disk is said in one sentence; nothing half is left, and the one before stands."""
    run.advance()
    run.save()

    def full(tensors, folder, ranks):
        (folder / "shard-00001-half.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "write_tensors", full)
    run.advance()
    with pytest.raises(WorldPMError, match=r"No space left on device.*free some space"):
        run.save()
    assert [p.name for p in (run.folder / "checkpoints").iterdir()] == ["step-00000001"]


def test_another_recipes_checkpoint(run, tmp_path):
    """A checkpoint of other tensors is refused, not half loaded."""
    run.advance()
    run.save()
    other = Run(tmp_path)
    other.trained["extra"] = nn.Parameter(torch.zeros(1))
    before = other.values()
    with pytest.raises(WorldPMError, match="other tensors"):
        other.load()
    assert other.values() == before


def test_no_room_on_the_disk(run, monkeypatch):
    """Said before anything is written, with what is free and what it takes; the rest stands."""
    run.advance()
    run.save()
    usage = state.shutil.disk_usage(run.folder)
    monkeypatch.setattr(state.shutil, "disk_usage", lambda path: usage._replace(free=10_000_000))
    run.advance()
    with pytest.raises(WorldPMError, match=r"has 0\.01 GB free, a checkpoint takes 0\.06 GB"):
        run.save()
    assert names(run) == ["step-00000001"]
    assert len(list((run.folder / "checkpoints").iterdir())) == 1
    with pytest.raises(WorldPMError, match=r"0\.01 GB free.*before hours of training are lost"):
        state.check_room(run.folder / "not" / "yet", run.trained)
    monkeypatch.undo()
    state.check_room(run.folder / "not" / "yet", run.trained)
    assert Run(run.folder).load()["step"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_small_disk(tmp_path, monkeypatch):
    """On a real full disk the checkpoint before stands, and training goes on from it."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        run = Run(tmp_path)
        run.trained["large"] = nn.Parameter(torch.ones(80_000))
        run.optimizer = build_optimizer(run.trained, OptimSettings(lr=0.1))
        run.advance()
        with pytest.raises(WorldPMError, match=r"the disk has 0\.00 GB free"):
            run.save()
        monkeypatch.setattr(state, "SPARE_BYTES", 0)
        run.save()
        run.advance()
        monkeypatch.setattr(state, "check_space", lambda run, needed: None)
        with pytest.raises(WorldPMError, match=r"No space left on device|could not be written"):
            run.save()
        assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
        assert load_checkpoint(tmp_path, run.trained, run.optimizer, pytest.fail)["step"] == 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
