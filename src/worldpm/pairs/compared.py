"""A group's comparisons from the task that makes them to the task that writes them.

    write_compared(compared_path(folder, 3), comparisons)
    for start, table in read_compared(compared_path(folder, 3)): ...

As Arrow's own file under LZ4, which takes three fifths of the time of Parquet and half as much disk
again. They become Parquet when it is known which of them stay.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from worldpm.errors import DataError, unread
from worldpm.records import Comparison
from worldpm.schema import SCHEMAS, to_table
from worldpm.store import ROWS_PER_GROUP, whole_file

COMPARED = "compared"
Value = TypeVar("Value")


def in_batches(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """The values in lists of `size`, the last of what is left."""
    left = iter(values)
    while batch := list(islice(left, size)):
        yield batch


def compared_path(folder: Path, number: int) -> Path:
    """Where a group's comparisons are; beside them their keys, drops and hits."""
    return folder / COMPARED / f"{number:05d}.arrow"


def write_compared(path: Path, comparisons: Iterable[Comparison]) -> None:
    """Write the file, which appears whole or not at all."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        whole_file(path) as temporary,
        pa.ipc.new_file(str(temporary), SCHEMAS[Comparison], options=options) as out,
    ):
        for rows in in_batches(comparisons, ROWS_PER_GROUP):
            out.write_table(to_table(Comparison, rows))


def read_compared(path: Path) -> Iterator[tuple[int, pa.Table]]:
    """A thousand rows at a time, each with the number of its first."""
    start = 0
    try:
        with pa.OSFile(str(path)) as raw, pa.ipc.open_file(raw) as file:
            for number in range(file.num_record_batches):
                batch = file.get_batch(number)
                yield start, pa.Table.from_batches([batch])
                start += len(batch)
    except (pa.ArrowException, OSError) as error:
        problem = DataError(f"{path}: cannot be read: {error}; --force starts over")
        raise unread(path, error) or problem from None
