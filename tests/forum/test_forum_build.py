"""Folders of threads: whole or not at all, every row accounted for."""

import pytest
from dumps import SITE, SITE_DROPPED, document, question, write_7z

from worldpm.errors import ConfigError, DataError, OutputExistsError
from worldpm.forum.build import build_threads
from worldpm.records import Thread
from worldpm.store import read_artifact


@pytest.fixture
def dumps(tmp_path):
    return [
        write_7z(tmp_path / "a.stackexchange.com.7z", Posts=SITE),
        write_7z(tmp_path / "b.stackexchange.com.7z", Posts=document(question(1), question(2))),
    ]


def test_rows_read_are_posts_plus_dropped(tmp_path, dumps):
    """The manifest's numbers add up to the rows of the dumps, in all and for each site."""
    manifest = build_threads(dumps, tmp_path / "threads", quiet=True)
    assert manifest["kind"] == "threads"
    assert manifest["counts"] == {"a.stackexchange.com": 2, "b.stackexchange.com": 2}
    assert manifest["dropped"] == SITE_DROPPED
    numbers = manifest["numbers"]
    assert numbers["posts"] + numbers["dropped"] == SITE.count(b"<row ") + 2
    assert manifest["sources"]["a.stackexchange.com"]["dropped"] == sum(SITE_DROPPED.values())
    assert (numbers["with_two_answers"], numbers["with_differing_votes"]) == (1, 1)
    assert [entry["path"] for entry in manifest["inputs"]] == [path.name for path in dumps]


def test_threads_come_back_as_they_were_read(tmp_path, dumps):
    """One part a site; reading the folder yields the threads."""
    build_threads(dumps, tmp_path / "threads", quiet=True)
    threads = list(read_artifact(tmp_path / "threads", Thread, "a.stackexchange.com"))
    assert [thread.id for thread in threads] == ["1", "2"]
    assert threads[0].answers[1].accepted


def test_a_bad_dump_leaves_nothing_behind(tmp_path, dumps):
    """When the second of two dumps is truncated, no folder appears, finished or partial."""
    dumps[1].write_bytes(dumps[1].read_bytes()[:-10])
    with pytest.raises(DataError, match=r"b\.stackexchange\.com\.7z"):
        build_threads(dumps, tmp_path / "threads", quiet=True)
    assert sorted(tmp_path.iterdir()) == sorted(dumps)


def test_outputs_are_overwritten_only_with_force(tmp_path, dumps):
    """The same command again is an error, with force it replaces the folder."""
    build_threads(dumps, tmp_path / "threads", quiet=True)
    with pytest.raises(OutputExistsError, match="--force"):
        build_threads(dumps[1:], tmp_path / "threads", quiet=True)
    manifest = build_threads(dumps[1:], tmp_path / "threads", force=True, quiet=True)
    assert list(manifest["counts"]) == ["b.stackexchange.com"]
    assert not (tmp_path / "threads" / "a.stackexchange.com.parquet").exists()


def test_a_site_given_twice_is_an_error(tmp_path, dumps):
    """Two dumps of one site would give every thread twice."""
    folder = tmp_path / "more"
    folder.mkdir()
    again = write_7z(folder / dumps[0].name, Posts=SITE)
    with pytest.raises(DataError, match="was read already"):
        build_threads([dumps[0], again], tmp_path / "threads", quiet=True)


def test_progress_goes_to_stderr_and_quiet_is_quiet(tmp_path, dumps, capfd):
    """Nothing on stdout ever; nothing on stderr when quiet."""
    build_threads(dumps, tmp_path / "one", quiet=True)
    assert capfd.readouterr() == ("", "")
    build_threads(dumps, tmp_path / "two")
    out, err = capfd.readouterr()
    assert out == ""
    assert "b.stackexchange.com.7z" in err


def test_an_unknown_forum_lists_the_known(tmp_path):
    """The message names what can be read."""
    with pytest.raises(ConfigError, match="stackexchange"):
        build_threads([], tmp_path / "threads", forum="usenet")
