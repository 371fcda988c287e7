"""The ledger of an artefact: what was left out, one row each, with the reason.

    write_ledger(ledger_path(folder), [Lost("ai.stackexchange.com", "7", "only_one_answer")])
    for path, lost in read_ledger(folder): ...

FOLDER/ledger/dropped.parquet, or dropped-00003-of-00016.parquet, has the columns source, id, reason
and detail: of a duplicate the twin that is kept, of a leak the benchmark and its row. That of
threads has a file for each of theirs that left some out, by the same name. The folder is its own,
so that a glob of the records' files does not meet it.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.errors import DataError
from worldpm.store import UNREADABLE, part_path, whole_file

LEDGER, DROPPED = "ledger", "dropped"
SCHEMA = pa.schema([(name, pa.string()) for name in ("source", "id", "reason", "detail")])
NEEDED = frozenset({"source", "id", "reason"})
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
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    table = pa.table([pa.array(c, pa.string()) for c in columns], schema=SCHEMA)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROWS_PER_GROUP)


def read_ledger(folder: Path, ids: Sequence[str] | None = None) -> Iterator[tuple[Path, Lost]]:
    """What an artefact left out, and the file that says so; nothing before there were ledgers."""
    for path in sorted((folder / LEDGER).glob("*.parquet")):
        for lost in read_ledger_file(path, ids):
            yield path, lost


def read_ledger_file(path: Path, ids: Sequence[str] | None = None) -> Iterator[Lost]:
    """The rows of one file, all or those of some ids; DataError if damaged or not a ledger."""
    try:
        if missing := NEEDED - set(pq.read_schema(path).names):
            raise DataError(f"{path}: lacks {', '.join(sorted(missing))}; not a ledger of ours")
        table = pq.read_table(path, filters=None if ids is None else [("id", "in", ids)])
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
    for row in table.to_pylist():
        yield Lost(row["source"], row["id"], row["reason"], row.get("detail"))
