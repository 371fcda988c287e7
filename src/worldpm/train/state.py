"""Saving a run so that nothing is lost: trained tensors, optimiser moments and progress.

    RUN/checkpoints/step-00000120/shard-00001-model-00001-of-00001.safetensors, ... + progress.json

Torch's distributed checkpoint writes the tensors with its safetensors storage, each process what
it holds; any number of processes reads them again. (Its default storage keeps a pickle, which runs
what it says; this one keeps none.) progress.json has the size and digest of every file and is
written last, before the folder is renamed into place. A checkpoint with a changed byte is seen by
all processes alike, and the one before is taken.
"""

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from worldpm.errors import WorldPMError
from worldpm.store import file_sha256
from worldpm.train.parallel import ALONE, Ranks

PROGRESS = "progress.json"
MOMENTS = {"exp_avg": "first_moment", "exp_avg_sq": "second_moment"}
FILE_BYTES = 256_000_000  # the storage makes a copy of each file in memory before it is written
SPARE_BYTES = 64_000_000  # beside the tensors: headers, the log, what else is written meanwhile


def save_checkpoint(
    run: Path,
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
    keep: int,
    ranks: Ranks = ALONE,
) -> None:
    """Write the checkpoint of `progress["step"]` and remove all but the newest `keep` and the best.

    The best is that of `progress["best"]["step"]`, where there is one. Checkpoints of later steps
    are left from before a fallback, damaged, and go too. Raises WorldPMError, in all processes, if
    it cannot be written; those before it then still stand.
    """
    folder = run / "checkpoints" / f"step-{progress['step']:08d}"
    partial = folder.with_name(f".{folder.name}.partial")
    replaced = folder.with_name(f".{folder.name}.replaced")
    tensors = _named(trained, optimizer)
    files: dict[str, Any] = {}

    def begin() -> None:
        for cut_short in folder.parent.glob(".step-*"):  # of processes that were killed
            shutil.rmtree(cut_short, ignore_errors=True)
        partial.mkdir(parents=True)
        check_space(run, num_bytes(tensors))

    def write() -> None:
        write_tensors(tensors, partial, ranks)
        for path in partial.glob(f"shard-{ranks.rank + 1:05d}-*"):
            files[path.name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}

    def commit() -> None:
        record = {"progress": progress, "tensors": sorted(tensors), "files": written}
        record["sha256"] = _digest(record)
        (partial / PROGRESS).write_bytes(orjson.dumps(record))
        _sync(partial / PROGRESS)
        _sync(partial)
        if folder.exists():  # of the same step: it stands until the new one takes its name
            shutil.rmtree(replaced, ignore_errors=True)
            folder.rename(replaced)
        partial.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(replaced, ignore_errors=True)

    try:
        _together(ranks, begin if ranks.first else None)
        _together(ranks, write)
        written = {name: entry for each in ranks.gather(files) for name, entry in each.items()}
        _together(ranks, commit if ranks.first else None)
    except _FailedError as error:
        if ranks.first:
            shutil.rmtree(partial, ignore_errors=True)
        raise WorldPMError(
            f"{folder}: the checkpoint could not be written ({error}); the one before stands, "
            "free some space and go on with --resume"
        ) from error
    if ranks.first:
        found = checkpoints(run)
        own = found.index(folder)
        best = progress.get("best") or {}
        for old in found[: max(0, own + 1 - keep)] + found[own + 1 :]:
            if old.name != f"step-{best.get('step', -1):08d}":
                shutil.rmtree(old, ignore_errors=True)


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoint folders of a run, oldest first."""
    return sorted(path.parent for path in (run / "checkpoints").glob(f"step-*/{PROGRESS}"))


def load_checkpoint(
    run: Path,
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    warn: Callable[[str], None],
    ranks: Ranks = ALONE,
    step: int | None = None,
) -> dict[str, Any] | None:
    """Restore the newest undamaged checkpoint in place; its progress, or None if there is none.

    With `step`, that one alone. It may be one of another number of processes. Progress holds at
    least "step" and, from where on steps were skipped, "skipped_steps": the optimiser has not
    counted those.
    """
    for name in reversed(ranks.gather([folder.name for folder in checkpoints(run)])[0]):
        folder = run / "checkpoints" / name
        if step is not None and name != f"step-{step:08d}":
            continue
        record, problem = _checked(folder, ranks)
        problems = [found for found in ranks.gather(problem) if found]
        if problems:
            then = "falling back to the checkpoint before" if step is None else "it is not used"
            warn(f"{folder}: damaged ({problems[0]}); {then}")
            continue
        progress: dict[str, Any] = record["progress"]
        restore(folder, record["tensors"], trained, optimizer, progress, ranks)
        return progress
    return None


def restore(
    folder: Path,
    names: list[str],
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
    ranks: Ranks = ALONE,
) -> None:
    """Read the tensors `names` of one checkpoint into the parameters and the optimiser."""
    own = {name.removeprefix("trained.") for name in names if name.startswith("trained.")}
    if own != trained.keys():
        raise WorldPMError(f"{folder}: holds other tensors than this recipe trains")
    updates = progress["step"] - progress.get("skipped_steps", 0)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            place = parameter.device if group.get("fused") else None
            optimizer.state[parameter] = {
                "step": torch.tensor(float(updates), device=place),
                **{moment: torch.zeros_like(parameter) for moment in MOMENTS},
            }
    for name, parameter in trained.items():
        if f"first_moment.{name}" not in names:  # it was saved before its first update
            optimizer.state.pop(parameter, None)
    tensors = _named(trained, optimizer)
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with _without_warnings():
            load(dict(tensors), storage_reader=reader, no_dist=ranks.world == 1)
    except CheckpointException as error:
        raise WorldPMError(f"{folder}: could not be read: {_reason(error)}") from error


def num_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the tensors, all processes' parts of them together."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def check_space(run: Path, needed: int) -> None:
    """OSError unless the disk of `run` has `needed` bytes free, and some to spare."""
    there = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed + SPARE_BYTES:
        raise OSError(
            f"the disk has {free / 1e9:.2f} GB free, a checkpoint takes "
            f"{(needed + SPARE_BYTES) / 1e9:.2f} GB"
        )


def check_room(run: Path, trained: Mapping[str, nn.Parameter], ranks: Ranks = ALONE) -> None:
    """WorldPMError, in all processes, where the disk has no room for a checkpoint of `trained`."""
    needed = (1 + len(MOMENTS)) * num_bytes(trained)
    try:
        _together(ranks, (lambda: check_space(run, needed)) if ranks.first else None)
    except _FailedError as error:
        raise WorldPMError(
            f"{run}: {error}; free some space before hours of training are lost"
        ) from None


def write_tensors(tensors: Mapping[str, Tensor], folder: Path, ranks: Ranks) -> None:
    """Write this process's parts of `tensors` into files of about FILE_BYTES."""
    file = held = 0
    files = {}
    for name, tensor in tensors.items():
        held += num_bytes({name: tensor}) // (ranks.world if ranks.sharded else 1)
        files[name] = 1 + file
        if held >= FILE_BYTES:
            file, held = file + 1, 0
    writer = HuggingFaceStorageWriter(str(folder), files, save_distributed=True)
    with _without_warnings():
        save(dict(tensors), storage_writer=writer, no_dist=ranks.world == 1)


def _named(
    trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Everything to keep, by the names it has in a checkpoint."""
    tensors = {f"trained.{name}": p.detach() for name, p in trained.items()}
    for key, moment in MOMENTS.items():
        tensors |= {
            f"{moment}.{name}": optimizer.state[p][key]
            for name, p in trained.items()
            if optimizer.state.get(p)
        }
    return tensors


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Torch warns whenever one process saves alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _FailedError(Exception):
    """What one of the processes could not do."""


def _together(ranks: Ranks, act: Callable[[], None] | None) -> None:
    """Do `act`, and wait until all have done theirs; _FailedError in all where one failed."""
    reason = None
    try:
        if act is not None:
            act()
    except (OSError, SafetensorError, CheckpointException) as error:
        reason = _reason(error)
    reasons = [each for each in ranks.gather(reason) if each]
    if reasons:
        raise _FailedError(reasons[0])


def _reason(error: BaseException) -> str:
    """In one line: torch's own exception holds those of the processes."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    return str(error).strip() or type(error).__name__


def _checked(folder: Path, ranks: Ranks) -> tuple[dict[str, Any], str | None]:
    """A checkpoint's record, and what is wrong with this process's share of its files."""
    try:
        record = orjson.loads((folder / PROGRESS).read_bytes())
        digest = record.pop("sha256", None)
        if "files" not in record:
            raise WorldPMError(
                f"{folder}: is a checkpoint of an earlier version; finish the run with that, or "
                "start anew with --force"
            )
        if digest != _digest(record):
            return {}, f"{PROGRESS} was changed"
        if set(record["files"]) != {path.name for path in folder.glob("*.safetensors")}:
            return {}, "files are missing, or others are there"
        for name in sorted(record["files"])[ranks.rank :: ranks.world]:
            if (folder / name).stat().st_size != record["files"][name]["bytes"]:
                return {}, f"{name} is not as long as it was"
            if file_sha256(folder / name) != record["files"][name]["sha256"]:
                return {}, f"{name} was changed"
    except (OSError, orjson.JSONDecodeError, AttributeError, TypeError) as error:
        return {}, str(error)
    return record, None


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(record, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _sync(path: Path) -> None:
    """Have the disk hold what was written to a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
