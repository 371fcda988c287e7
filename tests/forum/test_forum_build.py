"""Folders of threads: whole or not at all, every row accounted for."""

from pathlib import Path

import pytest
from dumps import (
    REDDIT,
    REDDIT_DROPPED,
    SITE,
    SITE_DROPPED,
    document,
    question,
    submission,
    write_7z,
    write_lines,
)

from worldpm.errors import ConfigError, DataError, OutputExistsError, UnreadError
from worldpm.forum import lines
from worldpm.forum.build import build_threads
from worldpm.forum.plain import PlainSettings
from worldpm.forum.reading import ForumSettings
from worldpm.forum.reddit import RedditSettings
from worldpm.making import partial_path
from worldpm.records import Thread
from worldpm.store import read_artifact

ALL_THREADS = ForumSettings(min_answers=0)


@pytest.fixture
def dumps(tmp_path):
    return [
        write_7z(tmp_path / "a.stackexchange.com.7z", Posts=SITE),
        write_7z(tmp_path / "b.stackexchange.com.7z", Posts=document(question(1), question(2))),
    ]


@pytest.mark.parametrize(
    ("settings", "counts", "too_few"),
    [(ALL_THREADS, (2, 2), {}), (ForumSettings(), (1, 0), {"too_few_answers": 4})],
)
def test_rows_read_are_posts_plus_dropped(tmp_path, dumps, settings, counts, too_few):
    """The manifest's numbers add up to the rows of the dumps, in all and for each site."""
    manifest = build_threads(dumps, tmp_path / "threads", settings=settings, quiet=True)
    assert manifest["kind"] == "threads"
    sites = ("a.stackexchange.com", "b.stackexchange.com")
    assert manifest["counts"] == dict(zip(sites, counts, strict=True))
    assert manifest["dropped"] == SITE_DROPPED | too_few
    numbers = manifest["numbers"]
    assert numbers["posts"] + numbers["dropped"] == SITE.count(b"<row ") + 2
    rows = dict(zip(sites, (SITE.count(b"<row "), 2), strict=True))
    for site, found in manifest["sources"].items():
        assert found.get("posts", 0) + found["dropped"] == rows[site]
    assert (numbers["with_two_answers"], numbers["with_differing_votes"]) == (1, 1)
    assert [entry["path"] for entry in manifest["inputs"]] == [path.name for path in dumps]


def test_threads_come_back_as_they_were_read(tmp_path, dumps):
    """One part a site; reading the folder yields the threads."""
    build_threads(dumps, tmp_path / "threads", settings=ALL_THREADS, quiet=True)
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
    with pytest.raises(DataError, match="is given twice"):
        build_threads([dumps[0], again], tmp_path / "threads", quiet=True)


def test_progress_goes_to_stderr_and_quiet_is_quiet(tmp_path, dumps, capfd):
    """Nothing on stdout ever; nothing on stderr when quiet."""
    build_threads(dumps, tmp_path / "one", quiet=True)
    assert capfd.readouterr() == ("", "")
    build_threads(dumps, tmp_path / "two")
    out, err = capfd.readouterr()
    assert out == ""
    assert "b.stackexchange.com" in err
    assert "2 of 2" in err


def test_an_unknown_forum_lists_the_known(tmp_path):
    """The message names what can be read."""
    with pytest.raises(ConfigError, match="stackexchange"):
        build_threads([], tmp_path / "threads", forum="usenet")


REDDIT_FILES = ("RS_2021-06.zst", "RC_2021-06.zst")


@pytest.fixture
def reddit(tmp_path):
    kinds = (
        [row for row in REDDIT if "link_id" not in row],
        [row for row in REDDIT if "link_id" in row],
    )
    return [
        write_lines(tmp_path / name, *rows) for name, rows in zip(REDDIT_FILES, kinds, strict=True)
    ]


@pytest.mark.parametrize("depth", [1, 3])
def test_dumps_that_belong_together_are_one_part(tmp_path, reddit, depth):
    """Reddit's rows = posts + dropped, posts of chains counted once; scratch files are gone."""
    settings = RedditSettings(depth=depth, min_answers=0)
    out = tmp_path / "threads"
    manifest = build_threads(reddit, out, forum="reddit", settings=settings, quiet=True)
    assert manifest["dropped"] == REDDIT_DROPPED[depth]
    assert manifest["settings"]["forum"] == "reddit"
    assert manifest["settings"]["depth"] == depth
    numbers = manifest["numbers"]
    assert numbers["posts"] + numbers["dropped"] == len(REDDIT)
    assert manifest["counts"] == {"reddit": numbers["threads"]}
    assert numbers.get("threads_below_an_answer", 0) == (0 if depth == 1 else 2)
    assert [entry["path"] for entry in manifest["inputs"]] == sorted(REDDIT_FILES)
    assert sorted(tmp_path.iterdir()) == sorted([*reddit, out])


def test_what_a_killed_run_left_does_not_matter(tmp_path, reddit):
    """Half-written shards are removed first: the same threads, and nothing left over."""
    build_threads(reddit, tmp_path / "one", forum="reddit", quiet=True)
    stale = tmp_path / ".two.partial" / "rows" / ".rows.reddit.0.unfinished"
    stale.mkdir(parents=True)
    write_lines(stale / "00000.jsonl.zst", {"stale": 1})
    build_threads(reddit, tmp_path / "two", forum="reddit", quiet=True)
    one, two = (list(read_artifact(tmp_path / name, Thread)) for name in ("one", "two"))
    assert one == two
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*REDDIT_FILES, "one", "two"])


def test_a_damaged_dump_leaves_no_shards_behind(tmp_path, reddit):
    """An error in the second file removes what the first one wrote."""
    reddit[1].write_bytes(reddit[1].read_bytes()[:-20])
    with pytest.raises(DataError, match=r"RC_2021-06\.zst: cut short"):
        build_threads(reddit, tmp_path / "threads", forum="reddit", quiet=True)
    assert sorted(tmp_path.iterdir()) == sorted(reddit)


def test_a_failing_disk_costs_no_work(tmp_path, reddit, monkeypatch):
    """A dump that cannot be read now may be sound: the same call goes on with what was done."""
    done = []

    def unpacked(raw, suffix):
        done.append(Path(raw.name).name)
        if len(done) == 2:
            raise OSError(5, "Input/output error")
        return unpack(raw, suffix)

    unpack = lines._unpacked
    monkeypatch.setattr(lines, "_unpacked", unpacked)
    with pytest.raises(UnreadError, match="cannot be read now: Input/output error; the same"):
        build_threads(reddit, tmp_path / "threads", forum="reddit", quiet=True)
    assert partial_path(tmp_path / "threads").exists()
    build_threads(reddit, tmp_path / "threads", forum="reddit", quiet=True)
    assert (len(done), done[1]) == (3, done[2])  # the first is not read again


def test_communities_share_a_part(tmp_path, reddit):
    """With communities as sources there is one part; what is dropped is the forum's."""
    settings = RedditSettings(by_subreddit=True, min_answers=0)
    more = write_lines(tmp_path / "RS_more.zst", submission("s99", subreddit="Emory"))
    manifest = build_threads(
        [*reddit, more], tmp_path / "threads", forum="reddit", settings=settings, quiet=True
    )
    assert manifest["counts"] == {"reddit": 3}
    sources = manifest["sources"]
    assert {name: counts.get("threads", 0) for name, counts in sources.items()} == {
        "r/College": 2, "r/Emory": 1, "reddit": 0,
    }  # fmt: skip
    assert sources["reddit"]["dropped"] == manifest["numbers"]["dropped"]


PLAIN = {
    "id": "7",
    "title": "Mail jo@uni.edu",
    "text": "or call +1 212 555 0187",
    "author": "jo",
    "answers": [
        {"id": "a", "text": "bo@uni.edu", "votes": 1, "author": "bo"},
        {"id": "b", "text": "no", "votes": 2, "parent": "a", "author": "bo"},
        {"id": "c", "text": "di@uni.edu", "votes": 2, "parent": "a"},
    ],
}


def test_contacts_and_authors_go_on_request(tmp_path):
    """Every text of every forum is masked, each contact counted once; by default all stays."""
    dump = write_lines(tmp_path / "f.jsonl", PLAIN)

    def build(name, **more):
        settings = PlainSettings(depth=2, min_answers=0, **more)
        out = tmp_path / name
        manifest = build_threads([dump], out, forum="plain", settings=settings, quiet=True)
        return manifest["numbers"], list(read_artifact(out, Thread))

    numbers, (root, below) = build("masked", mask_contacts=True, authors="drop")
    assert (numbers["emails_masked"], numbers["phones_masked"]) == (3, 1)
    assert (root.title, root.question.text) == ("Mail [e-mail]", "or call [phone]")
    assert [post.text for post in below.posts] == ["or call [phone]", "[e-mail]", "no", "[e-mail]"]
    assert {post.author for post in (*root.posts, *below.posts)} == {None}
    numbers, (root, _) = build("kept")
    assert "emails_masked" not in numbers
    assert (root.title, root.answers[0].author) == ("Mail jo@uni.edu", "bo")
