"""What the forum benchmark counts, on a small archive."""

import pytest
from bigdump import write_big_7z

from worldpm.forum.build import build_threads
from worldpm.pairs.build import build_pairs


@pytest.fixture
def archive(tmp_path):
    pytest.importorskip("markdownify")
    return write_big_7z(tmp_path / "s.stackexchange.com.7z", 100_000)


def test_the_obvious_pipeline_does_the_same_work(archive, tmp_path):
    """As many pairs as we have threads with differing votes: nobody is given less to do."""
    import forum

    build_threads([archive], tmp_path / "threads", quiet=True)
    made = build_pairs([tmp_path / "threads"], tmp_path / "data", forum.AS_THEY_ARE, quiet=True)
    assert forum.obvious([archive], tmp_path / "o.parquet") == sum(made["counts"].values()) > 10


def test_every_row_is_measured(archive, tmp_path, capsys):
    """The parts, ours and the obvious pipeline all have a rate, in the table and in the file."""
    import forum

    out = tmp_path / "out.json"
    assert forum.main([str(archive), "--rounds", "1", "-o", str(out)]) == 0
    found = forum.orjson.loads(out.read_bytes())
    assert {forum.MARKDOWN, forum.OURS, forum.DEDUPED, forum.OBVIOUS} <= found["rows"].keys()
    assert all(row["seconds"] > 0 for row in found["rows"].values())
    assert "MB of XML a second" in capsys.readouterr().out


def test_goals_that_were_missed_are_said():
    """Each by its name and figure; none where all were reached."""
    import forum

    good = {"seconds": 1.0, "mb_per_second": 9.0, "ours_against_it": 6.0}
    rows = dict.fromkeys((forum.MARKDOWN, forum.OBVIOUS, forum.OURS), good)
    assert forum.missed(rows) == []
    rows[forum.OBVIOUS] = good | {"ours_against_it": 3.9}
    assert forum.missed(rows) == [f"{forum.OBVIOUS}: 3.90 times its rate, not 5.0"]
    rows[forum.OURS] = good | {"mb_per_second": 7.0}
    assert len(forum.missed(rows)) == 2
