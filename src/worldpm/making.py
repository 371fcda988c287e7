"""An artefact made in steps, by one process or many, that survives being killed.

    with making(Path("threads"), kind="threads", settings={...}, inputs=dumps) as made:
        counts = run_tasks(join, tasks, made.work)      writes part_path(made.out, ...)
        made.finish(inputs=[...], counts={...}, dropped={...}, notes={...})

Until it is finished all stands in `.NAME.partial` beside the folder: what tasks leave to each
other, what they made (`out`), and a plan of settings, inputs and versions. The same call goes on
with the same plan; with another it is an error, unless `force` starts over. Finishing writes the
manifest and renames `out`, so that the folder is there whole or not at all.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from worldpm.errors import (
    ConfigError,
    DataError,
    InterruptedRunError,
    OutputExistsError,
    UnreadError,
    UnwrittenError,
    WorldPMError,
)
from worldpm.jsonfiles import json_bytes, read_object
from worldpm.outputs import check_new, check_outside, put_in_place
from worldpm.store import (
    files_of,
    making_versions,
    size_bytes,
    write_atomic,
    write_manifest,
)
from worldpm.work import Share

PLAN, LOCK = "plan.json", "lock"
EDGE_BYTES = 1 << 20
# After these the same command may go on, as it may after a bug.
KEPT = (InterruptedRunError, OutputExistsError, UnreadError, UnwrittenError)


@dataclass(frozen=True, slots=True)
class Making:
    """Where an unfinished artefact is made: tasks work in `work`, its files go to `out`."""

    folder: Path
    work: Path
    out: Path
    kind: str
    settings: Mapping[str, Any]
    share: Share | None = None
    force: bool = False

    def finish(
        self,
        *,
        inputs: Sequence[Mapping[str, Any]],
        counts: Mapping[str, int],
        dropped: Mapping[str, int],
        notes: Mapping[str, Any],
    ) -> None:
        """Write the manifest and put the folder in its place.

        A share does not, since another may be about to: InterruptedRunError says what is left.
        """
        if self.share is not None:
            raise InterruptedRunError(
                f"{self.folder}: all shares are done; the same command without --shard finishes it"
            )
        self.out.mkdir(exist_ok=True)
        for cut_short in self.out.rglob(".*.tmp"):  # left by workers that were killed
            cut_short.unlink()
        write_manifest(
            self.out,
            kind=self.kind,
            settings=self.settings,
            inputs=inputs,
            counts=counts,
            dropped=dropped,
            notes=notes,
        )
        check_new(self.folder, force=self.force)  # another may have made it meanwhile
        if self.folder.exists():  # which takes time, and may be interrupted or refused
            shutil.rmtree(self.folder)
        (self.work / PLAN).unlink()  # from here on there is nothing to go on with
        put_in_place(self.out, self.folder, force=self.force)


def partial_path(folder: Path) -> Path:
    """Where an unfinished artefact stands."""
    return folder.with_name(f".{folder.name}.partial")


@contextmanager
def making(
    folder: Path,
    *,
    kind: str,
    settings: Mapping[str, Any],
    inputs: Sequence[Path],
    force: bool = False,
    share: Share | None = None,
) -> Iterator[Making]:
    """Begin an artefact, or go on with it; the block ends with `finish`, or it stays unfinished.

    With `force` an output that exists is replaced, and what is unfinished is begun again unless it
    has the same plan and an output to replace. What the user must mend (a WorldPMError inside the
    block) removes it; an interruption, a bug, a full disk and an input that cannot be read now keep
    it, and so does a share, beside which others may be at work. Raises OutputExistsError for an
    output without `force`, also at the end, for a link, for one inside an input's folder, for an
    unfinished one of another plan, and while another process makes the same; ConfigError for
    `force` with a `share`.
    """
    if force and share:
        raise ConfigError("--force would remove what the other shares did; remove the output first")
    check_outside(folder, inputs)
    partial = partial_path(folder)
    plan = {
        "kind": kind,
        "settings": settings,
        "inputs": [fingerprint(path) for path in inputs],
        "versions": making_versions(),
    }
    with _locked(folder, partial, force, share):
        check_new(folder, force=force)
        _check_plan(folder, partial, orjson.loads(json_bytes(plan)), force)
        made = Making(folder, partial, partial / "out", kind, settings, share, force)
        try:
            yield made
        except WorldPMError as error:
            if share is None and not isinstance(error, KEPT):
                shutil.rmtree(partial, ignore_errors=True)
            raise
        if not (partial / PLAN).exists():
            shutil.rmtree(partial, ignore_errors=True)


def _check_plan(folder: Path, partial: Path, plan: Mapping[str, Any], force: bool) -> None:
    path = partial / PLAN
    if path.exists():
        same = read_object(path) == plan
        if same and (not force or folder.exists()):
            return
        if not same and not force:
            raise OutputExistsError(
                f"{folder}: an unfinished one is there ({partial}), begun with other settings, "
                "inputs or versions; --force starts over"
            )
    for each in partial.iterdir():
        if each.name != LOCK:
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    write_atomic(path, json_bytes(plan))


@contextmanager
def _locked(folder: Path, partial: Path, force: bool, share: Share | None) -> Iterator[None]:
    """The only process that makes this artefact, or one of those that share it."""
    check_new(folder, force=force)
    try:
        while True:
            partial.mkdir(parents=True, exist_ok=True)
            with (partial / LOCK).open("ab") as file:
                if not lock(file, shared=share is not None):
                    raise OutputExistsError(f"{folder}: is being made by another process just now")
                # Whoever had the lock may have finished, and removed the file that we opened.
                if _same_file(partial / LOCK, file):
                    yield
                    return
    except OSError as error:
        raise UnwrittenError(
            f"{folder}: could not be written: {error.strerror or error}; the same command goes on"
        ) from error


def _same_file(path: Path, file: IO[bytes]) -> bool:
    return path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))


def lock(file: IO[bytes], *, shared: bool) -> bool:
    """Whether the open file is now held, for as long as it is open; False while another has it."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def fingerprint(path: Path) -> dict[str, Any]:
    """What tells an input from another at once: names, sizes, and both ends of each file."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    digest = hashlib.sha256()
    for file in files_of(path):
        length = file.stat().st_size
        place = f"{file.relative_to(path.parent).as_posix()}\0{length}\0"
        digest.update(place.encode("utf-8", "surrogateescape"))
        with file.open("rb") as data:
            digest.update(data.read(EDGE_BYTES))
            data.seek(max(EDGE_BYTES, length - EDGE_BYTES))
            digest.update(data.read(EDGE_BYTES))
    return {"path": path.name, "bytes": size_bytes(path), "edges_sha256": digest.hexdigest()}
