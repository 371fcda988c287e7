"""Comparisons between two tasks: all of them, in order, whole or not at all."""

import pytest

from worldpm.errors import DataError, UnwrittenError
from worldpm.pairs import compared as module
from worldpm.pairs.compared import compared_path, in_batches, read_compared, write_compared
from worldpm.records import Comparison, Edge, Message
from worldpm.schema import READERS


def comparison(number):
    return Comparison(
        str(number),
        "s",
        None,
        (Message("user", f"Q {number}\u00e9"),),
        ((Message("assistant", "a"),), (Message("assistant", "b"),)),
        (Edge(0, 1, margin=float(number), weight=0.5),),
        {"url": None, "tags": ["x"]},
    )


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 2500])
def test_what_was_written_is_read_a_thousand_at_a_time(tmp_path, count):
    """All rows, and the number of the first of each table."""
    path = compared_path(tmp_path, 3)
    expected = [comparison(number) for number in range(count)]
    write_compared(path, iter(expected))
    tables = list(read_compared(path))
    assert [start for start, _ in tables] == list(range(0, count, 1000))
    rows = [row for _, table in tables for row in table.to_pylist()]
    assert [READERS[Comparison](row) for row in rows] == expected
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_left_of_what_was_not_finished(tmp_path):
    """An error while comparisons are made leaves neither the file nor a part of it."""
    path = compared_path(tmp_path, 0)
    with pytest.raises(ZeroDivisionError):
        write_compared(path, (comparison(1 // (3 - n)) for n in range(5)))
    assert list(path.parent.iterdir()) == []


def test_damage_and_a_full_disk_are_said(tmp_path, monkeypatch):
    """A file that is cut or gone is named with what to do, and so is one that cannot be written."""
    path = compared_path(tmp_path, 0)
    write_compared(path, map(comparison, range(2000)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for _ in range(2):
        with pytest.raises(DataError, match=r"00000\.arrow: cannot be read.*--force"):
            list(read_compared(path))
        path.unlink(missing_ok=True)

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.pa.ipc, "new_file", full)
    with pytest.raises(UnwrittenError, match="No space left"):
        write_compared(path, [comparison(1)])


def test_batches_are_full_but_for_the_last():
    """Of any values, none lost; of none, none."""
    assert list(in_batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_batches(iter([]), 3)) == []
