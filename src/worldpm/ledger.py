"""The ledger of an artefact: what was left out, one row each, with the reason.

    write_ledger(ledger_path(folder), [Lost("ai.stackexchange.com", "7", "only_one_answer")])
    for lost in read_ledger(folder): ...

FOLDER/ledger/dropped.parquet, or dropped-00003-of-00016.parquet, has the columns source, id, reason
and detail: of a duplicate the twin that is kept, of a leak the benchmark and its row. That of
threads has a file for each of theirs that left some out, by the same name. The folder is its own,
so that a glob of the records' files does not meet it.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.errors import DataError, UnwrittenError
from worldpm.store import part_files, part_path, read_parquet_rows

LEDGER, DROPPED = "ledger", "dropped"
SCHEMA = pa.schema([(name, pa.string()) for name in ("source", "id", "reason", "detail")])
ROWS_PER_GROUP = 50_000


class Lost(NamedTuple):
    """A thread, post or row that was left out."""

    source: str
    id: str
    reason: str
    detail: str | None = None


def ledger_path(folder: Path, number: int = 0, count: int = 1) -> Path:
    """File `number` (from 0) of the `count` that an artefact's ledger has."""
    return part_path(folder / LEDGER, DROPPED, number, count)


def write_ledger(path: Path, rows: Iterable[Lost]) -> None:
    """Write one file, which appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    try:
        table = pa.table([pa.array(c, pa.string()) for c in columns], schema=SCHEMA)
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROWS_PER_GROUP)
        temporary.replace(path)
    except OSError as error:
        raise UnwrittenError(f"{path}: could not be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_ledger(folder: Path) -> Iterator[Lost]:
    """What `pairs` left out, nothing before there were ledgers; threads' are read file by file."""
    if (folder / LEDGER).is_dir():
        for path in part_files(folder / LEDGER, DROPPED):
            yield from read_ledger_file(path)


def read_ledger_file(path: Path) -> Iterator[Lost]:
    """The rows of one file; DataError for one that is damaged or not a ledger."""
    for number, row in read_parquet_rows(path):
        if not {"source", "id", "reason"} <= row.keys():
            raise DataError(f"{path}:{number}: lacks source, id or reason; not a ledger of ours")
        yield Lost(row["source"], row["id"], row["reason"], row.get("detail"))
