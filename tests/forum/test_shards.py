"""Rows grouped on disk: nothing lost, a key in one shard, files gone."""

import random

from worldpm.forum.shards import Shards


def test_all_rows_of_a_key_come_back_together_and_in_order(tmp_path):
    """Whatever the buffer and the number of shards, with every row exactly once."""
    chance = random.Random(0)
    rows = [(f"k{chance.randrange(50)}", number) for number in range(2000)]
    for count, buffer in ((1, 10**6), (7, 1), (64, 5000)):
        shards = Shards(tmp_path / "s", count, buffer)
        for key, number in rows:
            shards.add(key, [key, number, "\u00e9\n"])
        place = {}
        got = []
        for index, shard in enumerate(shards):
            for key, number, text in shard:
                assert place.setdefault(key, index) == index
                assert text == "\u00e9\n"
                got.append((key, number))
        assert len(set(place.values())) == min(count, len(set(place.values())))
        assert (count == 1) == (len(set(place.values())) == 1)
        for key in place:
            assert [n for k, n in got if k == key] == [n for k, n in rows if k == key]
        assert len(got) == len(rows)
        assert not list((tmp_path / "s").iterdir())


def test_rows_leave_memory_for_the_disk(tmp_path):
    """The buffers of all shards together hold no more than they are given."""
    shards = Shards(tmp_path, 4, buffer_bytes=10_000)
    for number in range(1000):
        shards.add(str(number), ["x" * 100])
        assert sum(map(len, shards._buffers)) <= 10_200
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 0


def test_where_a_key_goes_does_not_depend_on_the_run(tmp_path):
    """A key's shard is the same with any hash seed: these were written down."""
    shards = Shards(tmp_path, 8)
    for key in ("62bgi8", "65qmqo", "a", "b"):
        shards.add(key, key)
    assert list(shards) == [["62bgi8"], ["65qmqo", "b"], ["a"]]
