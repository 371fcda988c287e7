"""Parts of several files: in order, complete, and readable by anyone."""

from dataclasses import replace

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldpm.errors import DataError
from worldpm.records import Comparison, Message, Post, Thread
from worldpm.schema import READERS, SCHEMAS, comparison_row, to_table
from worldpm.store import (
    ArtifactWriter,
    part_files,
    part_path,
    read_artifact,
    read_parquet,
    write_records,
)

ONE = Comparison(
    "1", "s", None, (Message("user", "a"),), ((Message("assistant", "b"),),), (), {"k": 1}
)


def test_a_part_may_be_several_files(tmp_path):
    """Numbered files are read in order, beside parts whose names begin alike."""
    records = [replace(ONE, id=str(number)) for number in range(7)]
    with ArtifactWriter(tmp_path / "out", Comparison, kind="k", settings={}) as out:
        for part in ("a", "a-00000-of-1", "ab"):
            out.add(part, records[0])
    folder = tmp_path / "out"
    (folder / "a.parquet").unlink()
    for number, chunk in enumerate((records[:3], [], records[3:])):
        assert write_records(part_path(folder, "a", number, 3), Comparison, chunk) == len(chunk)
    assert [path.name for path in part_files(folder, "a")] == [
        "a-00000-of-00003.parquet", "a-00001-of-00003.parquet", "a-00002-of-00003.parquet",
    ]  # fmt: skip
    assert list(read_artifact(folder, Comparison, "a")) == records
    assert len(list(read_artifact(folder, Comparison))) == 9
    part_path(folder, "a", 1, 3).unlink()
    with pytest.raises(DataError, match=r"a-00001-of-00003\.parquet: is missing"):
        part_files(folder, "a")


def test_numbered_parts_open_everywhere(tmp_path):
    """DuckDB's globs and `datasets` take numbered files, an empty one among them, as one table."""
    duckdb, datasets = pytest.importorskip("duckdb"), pytest.importorskip("datasets")
    for number, chunk in enumerate(([ONE, ONE], [], [ONE])):
        write_records(part_path(tmp_path / "out", "train", number, 3), Comparison, chunk)
    files = f"{tmp_path}/out/train-*.parquet"
    ((count,),) = duckdb.sql(f"select count(*) from '{files}'").limit(1).fetchall()
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=tmp_path / "cache")
    assert count == len(found["train"]) == 3


def test_a_failed_write_of_a_file_leaves_nothing(tmp_path):
    """An error of the records' own, in the middle, leaves no file and no temporary one."""

    def records():
        yield ONE
        raise DataError("broken dump")

    with pytest.raises(DataError, match="broken dump"):
        write_records(tmp_path / "a.parquet", Comparison, records())
    assert list(tmp_path.iterdir()) == []


def test_threads_read_by_columns_are_those_read_by_rows(tmp_path):
    """Whole batches or row by row, the same records; a damaged batch still names its row."""
    post = Post("1", None, "me", "2016", "text", -3, True, "http://u", 1, 4)
    threads = [
        Thread(str(n), "s", "t", ("a",) * (n % 3), (post,) * (1 + n % 4), None, "CC", 1)
        for n in range(2500)
    ]
    path = part_path(tmp_path, "a")
    write_records(path, Thread, threads)
    assert list(read_parquet(path, Thread)) == threads
    rows = pq.read_table(path).to_pylist()
    assert [READERS[Thread](row) for row in rows] == threads
    rows[1200]["num_prompt_posts"] = 9
    pq.write_table(pa.Table.from_pylist(rows, SCHEMAS[Thread]), path)
    with pytest.raises(DataError, match=r"a\.parquet:1201: .*num_prompt_posts is 9 of 1"):
        list(read_parquet(path, Thread))


@pytest.mark.parametrize("records", [[], [ONE], [replace(ONE, replies=(), prompt=()), ONE]])
def test_columns_of_comparisons_are_those_of_rows(records):
    """Built column by column, the table is the one that mappings give."""
    rows = [comparison_row(each) for each in records]
    rows = [row | {"meta": orjson.dumps(row["meta"]).decode()} for row in rows]
    expected = pa.Table.from_pylist(rows, SCHEMAS[Comparison])
    assert to_table(Comparison, records).equals(expected)
