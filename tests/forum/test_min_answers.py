"""Threads with fewer answers than asked for: each of their own posts one drop, named once."""

from collections import Counter

import pytest
from dumps import answer, comment, document, question, submission, write_7z, write_lines

from worldpm.forum import stackexchange
from worldpm.forum.build import build_threads
from worldpm.forum.forums import FORUMS, read_threads
from worldpm.forum.reading import ForumSettings, Reading
from worldpm.ledger import LEDGER, Lost, read_ledger
from worldpm.records import Thread
from worldpm.store import read_artifact

SITE = document(
    question(1),
    question(2),
    answer(21, 2, 1),
    question(3),
    answer(31, 3, 1),
    answer(32, 3, 2),
    question(4),
    *(answer(40 + n, 4, n) for n in range(3)),
)
OTHER_SITE = document(question(1), *(answer(10 + n, 1, n) for n in range(3)))
NO_ANSWER, ONE_ANSWER, TWO_ANSWERS = {"1"}, {"2", "21"}, {"3", "31", "32"}


@pytest.fixture
def dumps(tmp_path):
    """A site with threads of none, one, two and three answers, and one with a thread of three."""
    return [
        write_7z(tmp_path / "a.com.7z", Posts=SITE),
        write_7z(tmp_path / "b.com.7z", Posts=OTHER_SITE),
    ]


def ledger(folder):
    """The rows of the threads' ledger, whatever its files."""
    return [row for _, row in read_ledger(folder)]


def own_posts(folder):
    """Each post of the threads as often as it counts: not where it is in a chain above others."""
    return Counter(
        post.id
        for thread in read_artifact(folder, Thread)
        for post in (thread.answers if thread.num_prompt_posts > 1 else thread.posts)
    )


@pytest.mark.parametrize(
    ("settings", "lost"),
    [
        ({"min_answers": 1}, NO_ANSWER),
        ({}, NO_ANSWER | ONE_ANSWER),
        ({"min_answers": 3}, NO_ANSWER | ONE_ANSWER | TWO_ANSWERS),
    ],
)
def test_threads_of_too_few_answers_are_in_the_ledger(tmp_path, dumps, settings, lost):
    """Exactly their posts, in a file named as the threads'; a site that lost none has no file."""
    out = tmp_path / "threads"
    manifest = build_threads(dumps, out, settings=ForumSettings(**settings), quiet=True)
    assert [path.name for path in (out / LEDGER).iterdir()] == ["a.com.parquet"]
    rows = ledger(out)
    assert sorted(rows) == [Lost("a.com", own, "too_few_answers") for own in sorted(lost)]
    assert manifest["dropped"] == {"too_few_answers": len(rows)}
    assert own_posts(out).total() + len(rows) == (SITE + OTHER_SITE).count(b"<row ")
    assert not lost & {p.id for t in read_artifact(out, Thread, "a.com") for p in t.posts}


def test_without_a_least_number_nothing_is_lost(tmp_path, dumps):
    """All threads stay, and there is no ledger."""
    out = tmp_path / "threads"
    manifest = build_threads(dumps, out, settings=ForumSettings(min_answers=0), quiet=True)
    assert (manifest["counts"], manifest["dropped"]) == ({"a.com": 4, "b.com": 1}, {})
    assert not (out / LEDGER).exists()


def test_shards_lose_the_same_posts(tmp_path, dumps):
    """Each file of the ledger has the name of one of threads."""
    build_threads(dumps, tmp_path / "whole", quiet=True)
    out = tmp_path / "shards"
    build_threads(dumps, out, settings=ForumSettings(shard_bytes=400), quiet=True)
    names = {path.name for path in (out / LEDGER).iterdir()}
    assert len(names) > 1
    assert names < {path.name for path in out.glob("*.parquet")}
    assert sorted(ledger(out)) == sorted(ledger(tmp_path / "whole"))


REPLIES = [  # each with what it replies to; the threads below c1 and d1 have two and three answers
    *(("s1", own, None) for own in ("c1", "c2", "c3")),
    *(("s1", own, "c1") for own in ("n1", "n2")),
    *(("s2", own, None) for own in ("d1", "d2")),
    *(("s2", own, "d1") for own in ("m1", "m2", "m3")),
]


def reddit_rows():
    comments = (
        comment(own, link, f"Text {own}.", 1, parent_id=f"t1_{above}" if above else f"t3_{link}")
        for link, own, above in REPLIES
    )
    return [submission("s1"), submission("s2"), *comments]


def plain_rows():
    return [
        {
            "id": link,
            "title": f"Title {link}",
            "answers": [
                {"id": own, "text": f"Text {own}.", "votes": 1, "parent": above}
                for of, own, above in REPLIES
                if of == link
            ],
        }
        for link in ("s1", "s2")
    ]


@pytest.mark.parametrize(("forum", "rows"), [("reddit", reddit_rows()), ("plain", plain_rows())])
def test_each_post_of_a_tree_counts_once(tmp_path, forum, rows):
    """A question goes with its answers, a nested thread by its answers alone, whichever is lost."""
    dump = write_lines(tmp_path / "RC_1.jsonl", *rows)
    settings = FORUMS[forum].settings(depth=2, min_answers=3)
    out = tmp_path / "threads"
    manifest = build_threads([dump], out, forum=forum, settings=settings, quiet=True)
    kept, lost = own_posts(out), Counter(row.id for row in ledger(out))

    def named(posts):
        return sorted(own.removeprefix("t1_").removeprefix("t3_") for own in posts.elements())

    assert named(kept) == ["c1", "c2", "c3", "m1", "m2", "m3", "s1"]
    assert named(lost) == ["d1", "d2", "n1", "n2", "s2"]
    assert manifest["dropped"] == {"too_few_answers": 5}
    assert manifest["numbers"]["posts"] == 7


def test_answers_that_are_empty_as_markdown_do_not_count(tmp_path):
    """A thread that falls below the least number in conversion is lost, the empty one by itself."""
    empty = {"Body": "<p></p>"}
    site = document(
        question(1), answer(2, 1, 1), answer(3, 1, 2, **empty),
        question(4), answer(5, 4, 1), answer(6, 4, 2), answer(7, 4, 3, **empty),
    )  # fmt: skip
    out = tmp_path / "threads"
    manifest = build_threads([write_7z(tmp_path / "a.com.7z", Posts=site)], out, quiet=True)
    assert manifest["dropped"] == {"empty_body": 1 + 1, "too_few_answers": 2}
    assert {row.id for row in ledger(out)} == {"1", "2"}
    assert set(own_posts(out)) == {"4", "5", "6"}


def test_what_is_lost_is_not_converted(tmp_path, dumps, monkeypatch):
    """Bodies of threads with too few answers stay as they are; `lose` is told, `drop` is not."""
    converted, dropped, lost = [], [], []
    monkeypatch.setattr(
        stackexchange, "to_markdown", lambda body, fallback: converted.append(body) or body
    )
    reading = Reading(dropped.append, lose=lost.append)
    threads = list(read_threads("stackexchange", dumps[:1], reading=reading))
    assert [thread.id for thread in threads] == ["3", "4"]
    assert len(converted) == 3 + 4
    assert ({row.id for row in lost}, dropped) == (NO_ANSWER | ONE_ANSWER, [])


def test_drops_are_of_the_community_whose_threads_are_lost(tmp_path):
    """Also where it has no thread left, so that only another community has any."""
    dumps = [
        write_lines(tmp_path / "RS_1.zst", submission("s1"), submission("s9", subreddit="Emory")),
        write_lines(
            tmp_path / "RC_1.zst", comment("c1", "s1", "a", 1), comment("c2", "s1", "b", 2)
        ),
    ]
    settings = FORUMS["reddit"].settings(by_subreddit=True)
    manifest = build_threads(dumps, tmp_path / "t", forum="reddit", settings=settings, quiet=True)
    assert manifest["sources"]["r/Emory"] == {"dropped": 1}
    assert {name: counts.get("dropped", 0) for name, counts in manifest["sources"].items()} == {
        "r/College": 0, "r/Emory": 1, "reddit": 0,
    }  # fmt: skip
    assert Counter(row.source for row in ledger(tmp_path / "t")) == {"r/Emory": 1}
