"""What a run will take, from sizes alone; workers that fit into the memory given."""

import pytest
from bigdump import posts_xml, write_big_7z
from dumps import SITE, write_7z

from worldpm.errors import ConfigError, DataError
from worldpm.forum.forums import group_dumps
from worldpm.forum.planning import plan_threads
from worldpm.forum.reading import ForumSettings


def plan(paths, **more):
    settings = ForumSettings(shard_bytes=more.pop("shard_bytes", 64_000_000))
    return plan_threads("stackexchange", paths, settings, **({"workers": 1} | more))


def test_a_plan_grows_with_the_dumps(tmp_path):
    """More text, more time and disk; more workers, less time and more memory, never more shards."""
    small = plan([write_big_7z(tmp_path / "s.7z", 200_000)])
    dump = tmp_path / "big"
    dump.mkdir()
    with (dump / "Posts.xml").open("wb") as file:
        file.writelines(posts_xml(3_000_000))
        file.truncate(2_000_000_000)  # a sparse file: only its size is looked at
    one, four = plan([dump]), plan([dump], workers=4)
    assert one.text_bytes == 2_000_000_000
    assert one.seconds > 50 * small.seconds
    assert one.disk_bytes > 1000 * small.disk_bytes
    assert one.num_shards == four.num_shards == 32
    assert (one.workers, four.workers) == (1, 4)
    assert four.seconds < one.seconds
    assert four.memory_bytes == 4 * one.memory_bytes


def test_memory_bounds_the_workers_and_not_the_result(tmp_path):
    """As many as fit; where not one fits, it says what to do."""
    dump = tmp_path / "big"
    dump.mkdir()
    with (dump / "Posts.xml").open("wb") as file:
        file.truncate(10_000_000_000)
    bounded = plan([dump], workers=64, memory_bytes=2_000_000_000)
    free = plan([dump], workers=64)
    assert 2 <= bounded.workers < free.workers == 64
    assert bounded.memory_bytes <= 2_000_000_000
    assert bounded.num_shards == free.num_shards
    with pytest.raises(ConfigError, match=r"--memory 300 MB.*shard_bytes"):
        plan([dump], memory_bytes=300_000_000)


def test_little_work_starts_no_processes(tmp_path):
    """A small dump is done before another process has started."""
    assert plan([write_7z(tmp_path / "s.7z", Posts=SITE)], workers=16).workers == 1


def test_archives_of_one_table_belong_together(tmp_path):
    """The largest site's Posts, Votes and Tags are one part; two dumps of a site are an error."""
    paths = [
        write_7z(tmp_path / f"big.com-{table}.7z", **{table: SITE})
        for table in ("Votes", "Posts", "Tags")
    ]
    (group,) = group_dumps("stackexchange", paths, ForumSettings())
    assert group.part == "big.com"
    assert set(group.paths) == set(paths)
    whole = write_7z(tmp_path / "big.com.7z", Posts=SITE)
    with pytest.raises(DataError, match=r"big\.com is given twice"):
        group_dumps("stackexchange", [*paths, whole], ForumSettings())
