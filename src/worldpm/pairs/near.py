"""Signatures of many files -> the rows that are alike, in memory that does not grow with the files.

    write_signatures(folder, "prompt", "00003", rows)       # by the task that read the threads
    join_near(NearTask(...), folder)                        # pairs of rows that are alike

A file of signatures is laid out by band, so that a task holds one band of all files at a time: 40
bytes a comparison. Where that is more than the memory there is, several tasks each take a range of
the bands' values; the pairs found are the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldpm.pairs.arrays import read_array, write_array
from worldpm.pairs.dedup import BAND_ROWS, NUM_BANDS, Clusters, Text

BYTES_PER_ROW = 40
# In a band, texts of one value are compared with one another up to this many. More are the same
# sentence over and over: each is compared with the one before it and with the first.
ALL_PAIRS = 32
_FOLD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class NearTask:
    """Finds what is alike in `text` among the rows of all `files`, in range `number` of `count`."""

    name: str
    text: Text
    files: tuple[str, ...]
    least: float
    number: int = 0
    count: int = 1


def signature_path(folder: Path, text: Text, file: str) -> Path:
    """Where the signatures of a file's comparisons are."""
    return folder / "signatures" / f"{text}-{file}.npy"


def write_signatures(folder: Path, text: Text, file: str, rows: NDArray[np.uint16]) -> None:
    """(rows, 256) -> a file of (bands, rows, rows of a band)."""
    bands = rows.reshape(len(rows), NUM_BANDS, BAND_ROWS).transpose(1, 0, 2)
    write_array(signature_path(folder, text, file), np.ascontiguousarray(bands))


def join_near(task: NearTask, folder: Path) -> dict[str, Any]:
    """Write pairs of rows, numbered through all files in order, that link all that is alike."""
    files = [read_array(signature_path(folder, task.text, file)) for file in task.files]
    starts = np.cumsum([0, *(each.shape[1] for each in files)])
    clusters = Clusters(int(starts[-1]))
    pairs = []
    for band in range(NUM_BANDS):
        for rows in _alike(files, band, task.number, task.count):
            for a, b in _to_compare(rows):
                if clusters.find(a) == clusters.find(b):
                    continue
                same = _signature(files, starts, a) == _signature(files, starts, b)
                if same.mean() >= task.least:
                    clusters.join(a, b)
                    pairs.append((a, b))
    found = np.array(pairs, np.int64).reshape(-1, 2)
    write_array(pairs_path(folder, task.name), found)
    return {"pairs": len(pairs)}


def pairs_path(folder: Path, name: str) -> Path:
    """Where a task's pairs are."""
    return folder / "near" / f"{name}.npy"


def read_pairs(folder: Path, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The pairs that those tasks found."""
    for name in names:
        yield from read_array(pairs_path(folder, name)).tolist()


def num_ranges(num_rows: int, memory_bytes: int) -> int:
    """Into how many tasks the search is cut; what a row's clusters take is there in each."""
    fixed = 8 * num_rows
    return max(1, -(-BYTES_PER_ROW * num_rows // max(1 << 20, memory_bytes - fixed)))


def _alike(
    files: Sequence[NDArray[np.uint16]], band: int, number: int, count: int
) -> Iterator[list[int]]:
    """Groups of rows that agree in a band."""
    values = np.concatenate([_band(file, band) for file in files])
    rows = np.arange(len(values))
    if count > 1:
        rows = np.flatnonzero(values % np.uint64(count) == number)
        values = values[rows]
    order = np.argsort(values, kind="stable")
    values, rows = values[order], rows[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    starts = np.append(0, ends[:-1] + 1)
    for place in np.flatnonzero(ends > starts):
        yield rows[starts[place] : ends[place] + 1].tolist()


def _band(file: NDArray[np.uint16], band: int) -> NDArray[np.uint64]:
    """(rows,): eight values of 16 bits in 64; rows that differ may agree, and are then compared."""
    if not file.shape[1]:
        return np.empty(0, np.uint64)
    halves = np.ascontiguousarray(file[band]).view(np.uint64)  # (rows, 2)
    mixed: NDArray[np.uint64] = halves[:, 0] * _FOLD + halves[:, 1]
    return mixed ^ (mixed >> np.uint64(29))


def _to_compare(rows: list[int]) -> Iterator[tuple[int, int]]:
    if len(rows) <= ALL_PAIRS:
        yield from combinations(rows, 2)
        return
    yield from pairwise(rows)
    yield from ((rows[0], row) for row in rows[2:])


def _signature(
    files: Sequence[NDArray[np.uint16]], starts: NDArray[np.int64], row: int
) -> NDArray[np.uint16]:
    file = int(np.searchsorted(starts, row, side="right")) - 1
    found: NDArray[np.uint16] = files[file][:, row - int(starts[file])].reshape(-1)
    return found
