"""The files that published sets come as: rows, numbers, and errors that name both."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldpm.errors import DataError
from worldpm.pairs import files


def test_rows_of_every_kind_in_name_order(tmp_path):
    """JSON, JSON lines, gzip and Parquet, found below a folder, rows counted from 1."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.json").write_text('[{"n": 1}, {"n": 2}]')
    (tmp_path / "a.jsonl").write_text('{"n": 3}\n')
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"n": 4}\n'))
    pq.write_table(pa.table({"n": [5]}), tmp_path / "d.parquet")
    found = files.rows(tmp_path, "json", "jsonl", "jsonl.gz", "parquet")
    assert [(file.name, number, row["n"]) for file, number, row in found] == [
        ("a.jsonl", 1, 3),
        ("c.jsonl.gz", 1, 4),
        ("d.parquet", 1, 5),
        ("b.json", 1, 1),
        ("b.json", 2, 2),
    ]
    assert files.find(tmp_path / "a.jsonl", "json") == [tmp_path / "a.jsonl"]


def test_what_cannot_be_read_is_named(tmp_path):
    """Nothing there, no list, no object, no JSON, no UTF-8."""
    with pytest.raises(DataError, match=r"holds \*\.json or \*\.jsonl"):
        files.find(tmp_path, "json", "jsonl")
    path = tmp_path / "a.json"
    for text, message in (("1", "JSON list"), ("[1]", "a.json:1: a row must"), ("[", "not valid")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            list(files.rows(path))
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match="UTF-8"):
        list(files.tab_separated(path))


def test_json_lines_by_the_name_of_json(tmp_path):
    """A .json file of rows is a list or one a line, after a byte-order mark too."""
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf {"n": 1}\n{"n": 2}\n')
    assert [(number, row["n"]) for _, number, row in files.rows(path)] == [(1, 1), (2, 2)]
    path.write_bytes(b'\xef\xbb\xbf[{"n": 1}, {"n": 2}]')
    assert [(number, row["n"]) for _, number, row in files.rows(path)] == [(1, 1), (2, 2)]
    path.write_text('{\n "n": 1\n}\n')
    with pytest.raises(DataError, match=r"a\.json:1: not valid JSON"):
        list(files.rows(path))


@pytest.mark.parametrize("other", ["train.jsonl.gz", "train.parquet"])
def test_the_same_rows_in_two_forms_are_refused(tmp_path, other):
    """A file beside its packed or converted self would count twice; in two folders they may be."""
    endings = ("jsonl", "jsonl.gz", "parquet")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in ("a/train.jsonl", f"b/{other}", "a/test.jsonl"):
        (tmp_path / name).write_bytes(b"")
    assert len(files.find(tmp_path, *endings)) == 3
    (tmp_path / "a" / other).write_bytes(b"")
    with pytest.raises(DataError, match=rf"a/{other}: stands beside train\.jsonl, .* count twice"):
        files.find(tmp_path, *endings)
    assert files.find(tmp_path, "jsonl") == [
        tmp_path / "a" / n for n in ("test.jsonl", "train.jsonl")
    ]
    assert files.find(tmp_path / "a" / other, *endings) == [tmp_path / "a" / other]


def test_tab_separated_lines_are_split_and_nothing_else(tmp_path):
    """Quotes and carriage returns inside a cell are text; line ends go."""
    path = tmp_path / "a.csv"
    path.write_bytes(b'a\t"b\r\nc\td "e"\n')
    assert list(files.tab_separated(path)) == [["a", '"b'], ["c", 'd "e"']]


def test_fields_are_checked():
    """Text must be text, numbers numbers (True is none)."""
    row = {"t": "x", "n": 2, "b": True, "nan": float("nan"), "inf": float("inf")}
    assert files.text(row, "t", "W") == "x"
    assert files.number(row, "n", "W") == 2.0
    for call, key in (
        (files.text, "n"),
        (files.text, "none"),
        (files.number, "b"),
        *((files.number, key) for key in ("nan", "inf")),
    ):
        with pytest.raises(DataError, match=f"^W: {key} must be"):
            call(row, key, "W")
    lists = {"l": [1], "none": None, "n": 3}
    assert [files.optional_list(lists, key, "W") for key in ("l", "none", "absent")] == [
        [1],
        [],
        [],
    ]
    assert files.optional_text({"t": "x", "none": None}, "none", "W") is None
    with pytest.raises(DataError, match=r"^W: n must be a list, not int"):
        files.optional_list(lists, "n", "W")
