"""Which files of threads are done together, and what a run of `worldpm pairs` will take.

    group_files([Path("threads")])              [Group(0, "threads", (...), num_rows=2591), ...]
    plan_pairs([Path("threads")], PairSettings(), workers=2)

Groups depend on the files alone, so the files of comparisons do too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.errors import DataError
from worldpm.making import fingerprint
from worldpm.pairs.near import BYTES_PER_ROW, num_ranges
from worldpm.pairs.settings import PairSettings
from worldpm.store import part_files, read_manifest

GROUP_BYTES = 32_000_000  # of Parquet: 100 to 150 MB of text
DEFAULT_MEMORY_BYTES = 2_000_000_000
BYTES_PER_SECOND = 3_000_000  # of the Parquet of threads
INDEX_BYTES_PER_SECOND = 6_000_000  # of the benchmarks' files
TASK_BYTES = 420_000_000
SIGNATURE_BYTES = 1024  # a comparison: two texts of 256 minima of 16 bits
KEY_BYTES = 60  # a comparison, in the task that decides


@dataclass(frozen=True, slots=True)
class Group:
    """Files that one task reads, and that become one file of each split."""

    number: int
    folder: str
    files: tuple[str, ...]
    num_rows: int
    num_bytes: int


def group_files(folders: Sequence[Path]) -> list[Group]:
    """The files of all folders in an order that is not that of `folders`, in groups of like size.

    By the folders' names, and by what is in them where names are the same. Raises DataError for a
    folder that is no artefact, and for a file that is missing or no Parquet.
    """
    found = []
    for folder in folders:
        parts = sorted(read_manifest(folder)["counts"])
        mark = str(fingerprint(folder)["edges_sha256"])
        paths = [path for part in parts for path in part_files(folder, part)]
        found.append((folder.name, mark, [(path, *_size(path)) for path in paths]))
    groups: list[Group] = []
    for name, _, files in sorted(found, key=lambda each: each[:2]):
        last: Group | None = None
        for file, num_bytes, num_rows in files:
            path = str(file.resolve())
            if last is not None and last.num_bytes + num_bytes <= GROUP_BYTES:
                last = Group(
                    last.number,
                    name,
                    (*last.files, path),
                    last.num_rows + num_rows,
                    last.num_bytes + num_bytes,
                )
                groups[-1] = last
            else:
                last = Group(len(groups), name, (path,), num_rows, num_bytes)
                groups.append(last)
    return groups


def _size(path: Path) -> tuple[int, int]:
    try:
        return path.stat().st_size, int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None


@dataclass(frozen=True, slots=True)
class PairPlan:
    """What a run will take, by rates measured on one core (docs/results.md)."""

    workers: int
    num_groups: int
    num_ranges: int
    num_threads: int
    seconds: float
    disk_bytes: int
    memory_bytes: int


def plan_pairs(
    folders: Sequence[Path],
    against: Path | None,
    settings: PairSettings,
    *,
    workers: int,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> PairPlan:
    """What `build_pairs` of these will take, if every thread makes a comparison."""
    groups = group_files(folders)
    num_threads = sum(each.num_rows for each in groups)
    num_bytes = sum(each.num_bytes for each in groups)
    index_bytes = 0 if against is None else fingerprint(against)["bytes"]
    workers = max(1, min(workers, len(groups)))
    near = settings.dedup.near
    rate = BYTES_PER_SECOND * (0.5 if against is not None else 1)
    ranges = num_ranges(num_threads, memory_bytes) if near else 0
    largest = max((each.num_rows for each in groups), default=0)
    # A task holds its group's signatures; one task, the keys of all; an index, words of its texts.
    task = TASK_BYTES + (SIGNATURE_BYTES * largest if near else 0)
    every = KEY_BYTES * num_threads + min(memory_bytes, BYTES_PER_ROW * num_threads)
    return PairPlan(
        workers=workers,
        num_groups=len(groups),
        num_ranges=ranges,
        num_threads=num_threads,
        seconds=num_bytes / rate / workers + index_bytes / INDEX_BYTES_PER_SECOND + 1,
        disk_bytes=2 * num_bytes + (SIGNATURE_BYTES * num_threads if near else 0) + index_bytes,
        memory_bytes=max(workers * task, TASK_BYTES + every, 15 * index_bytes),
    )
