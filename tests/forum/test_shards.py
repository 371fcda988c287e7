"""Rows grouped on disk: nothing lost, a key in one shard, whole or not there."""

import random

import pytest

from worldpm.errors import UnwrittenError
from worldpm.forum import shards as module
from worldpm.forum.shards import Held, Shards, read_shard


def put(folder, rows, count, **more):
    with Shards(folder, count, **more) as shards:
        for key, row in rows:
            shards.add(key, row)
    return shards


def test_all_rows_of_a_key_come_back_together_and_in_order(tmp_path):
    """Whatever the buffer and the number of shards, with every row exactly once."""
    chance = random.Random(0)
    rows = [(f"k{chance.randrange(50)}", number) for number in range(2000)]
    for count, buffer in ((1, 10**6), (7, 1), (64, 5000)):
        lists = [(key, [key, number, "\u00e9\n"]) for key, number in rows]
        assert put(tmp_path / "s", lists, count, buffer_bytes=buffer).num_rows == len(rows)
        place, got = {}, []
        for index in range(count):
            for key, number, text in read_shard([tmp_path / "s"], index):
                assert place.setdefault(key, index) == index
                assert text == "\u00e9\n"
                got.append((key, number))
        assert (count == 1) == (len(set(place.values())) == 1)
        for key in place:
            assert [n for k, n in got if k == key] == [n for k, n in rows if k == key]
        assert len(got) == len(rows)


def test_shards_of_several_dumps_meet(tmp_path):
    """A shard is read folder by folder; one without its rows has no file."""
    put(tmp_path / "a", [("x", 1), ("y", 2)], 8)
    put(tmp_path / "b", [("x", 3)], 8)
    found = [read_shard([tmp_path / "a", tmp_path / "b"], number) for number in range(8)]
    assert [1, 3] in found
    assert sum(map(len, found)) == 3


def test_rows_leave_memory_for_the_disk(tmp_path):
    """The buffers of all shards together hold no more than they are given."""
    with Shards(tmp_path / "s", 4, buffer_bytes=10_000) as shards:
        for number in range(1000):
            shards.add(str(number), ["x" * 100])
            assert sum(map(len, shards._buffers)) <= 10_200
        assert sum(path.stat().st_size for path in shards.folder.iterdir()) > 0


def test_shards_are_there_whole_or_not_at_all(tmp_path):
    """After an error nothing is left; what a killed run left is not added to."""
    with pytest.raises(ZeroDivisionError):
        put(tmp_path / "s", ((str(n), 1 // (9 - n)) for n in range(20)), 2, buffer_bytes=1)
    assert list(tmp_path.iterdir()) == []
    killed = Shards(tmp_path / "s", 1, buffer_bytes=1)
    killed.__enter__()
    killed.add("x", 1)
    put(tmp_path / "s", [("x", 2)], 1)
    assert read_shard([tmp_path / "s"], 0) == [2]
    put(tmp_path / "s", [("x", 3)], 1)
    assert read_shard([tmp_path / "s"], 0) == [3]


def test_rows_of_others_that_nest_too_deep_are_dropped(tmp_path):
    """What can be read but not written again is counted, not a crash."""
    row = []
    for _ in range(300):
        row = [row]
    dropped = []
    with Shards(tmp_path / "s", 1) as shards:
        shards.add("x", row, dropped.append)
        shards.add("x", 1, dropped.append)
    assert dropped == ["nested_too_deep"]
    assert (shards.num_rows, read_shard([tmp_path / "s"], 0)) == (1, [1])


def test_rows_in_memory_are_those_of_one_shard(tmp_path):
    """The same rows in the same order, and the same dropped; the folder is there whole."""
    deep = []
    for _ in range(300):
        deep = [deep]
    found = []
    for number, shards in enumerate((Shards(tmp_path / "0", 1), Held(tmp_path / "1"))):
        dropped = []
        with shards:
            for key, row in (("x", ["x", 1, None]), ("y", deep), ("x", {"a": "\u00e9"})):
                shards.add(key, row, dropped.append)
            (shards.folder / "beside").touch()
        rows = shards.rows if isinstance(shards, Held) else read_shard([tmp_path / "0"], 0)
        found.append((rows, shards.num_rows, dropped))
        assert (tmp_path / str(number) / "beside").exists()
    assert found[0] == found[1]
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["beside"]


def test_a_full_disk_is_no_damage_of_the_dump(tmp_path, monkeypatch):
    """It is said to be of the output, as an error that keeps what was done."""

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.zstd, "compress", full)
    with pytest.raises(UnwrittenError, match="No space left"):
        put(tmp_path / "s", [("x", 1)], 1)


def test_where_a_key_goes_does_not_depend_on_the_run(tmp_path):
    """A key's shard is the same with any hash seed: these were written down."""
    put(tmp_path / "s", [(key, key) for key in ("62bgi8", "65qmqo", "a", "b")], 8)
    found = [read_shard([tmp_path / "s"], number) for number in range(8)]
    assert [rows for rows in found if rows] == [["62bgi8"], ["65qmqo", "b"], ["a"]]
