"""Ledgers: written whole, read back, and open to anybody's reader."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldpm.errors import DataError, UnwrittenError
from worldpm.ledger import Lost, ledger_path, read_ledger, write_ledger

ROWS = [
    Lost("ai.stackexchange.com", "7", "only_one_answer"),
    Lost("reddit", "t3_x", "near_duplicate", "reddit:t3_y"),
]


def read(folder, ids=None):
    """All rows of a folder's ledger, in order of its files."""
    return [row for _, row in read_ledger(folder, ids)]


def test_rows_come_back_in_order_of_files(tmp_path):
    """Two files, one of them empty; a folder without a ledger lost nothing."""
    assert read(tmp_path) == []
    write_ledger(ledger_path(tmp_path, 0, 3), ROWS)
    write_ledger(ledger_path(tmp_path, 1, 3), [])
    write_ledger(ledger_path(tmp_path, 2, 3), ROWS[::-1])
    assert read(tmp_path) == ROWS + ROWS[::-1]
    assert read(tmp_path, ["7", "8"]) == ROWS[:1] * 2
    assert sorted(path.name for path in (tmp_path / "ledger").iterdir()) == [
        f"dropped-0000{n}-of-00003.parquet" for n in range(3)
    ]


def test_columns_are_texts_whatever_the_rows(tmp_path):
    """Also of no rows and of no details, so that files of one ledger can be read together."""
    for number, rows in enumerate([[], ROWS[:1], ROWS]):
        path = ledger_path(tmp_path, number, 3)
        write_ledger(path, rows)
        schema = pq.read_schema(path)
        assert schema.names == ["source", "id", "reason", "detail"]
        assert set(schema.types) == {pa.string()}


def test_another_table_is_no_ledger(tmp_path):
    """A file with other columns is named, and one that is no table."""
    path = ledger_path(tmp_path)
    path.parent.mkdir()
    pq.write_table(pa.table({"source": ["a"], "id": ["b"]}), path)
    with pytest.raises(DataError, match=r"dropped\.parquet: lacks reason"):
        read(tmp_path)
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"dropped\.parquet: cannot be read"):
        read(tmp_path)


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    """A folder where the file should be."""
    path = ledger_path(tmp_path)
    path.mkdir(parents=True)
    with pytest.raises(UnwrittenError, match="could not be written"):
        write_ledger(path, ROWS)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
