"""Counts and distributions of comparisons: known answers, samples, and bounded reading."""

import itertools
from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.errors import DataError
from worldpm.records import Comparison, Edge, Message, Post, Thread
from worldpm.report.corpus import (
    Corpus,
    biases,
    octave,
    octaves,
    of_each_reply,
    quantiles,
    sampled,
    share_of,
    summarise,
    summarise_threads,
)
from worldpm.store import ArtifactWriter


def comparison(name="1", texts=("aaaa", "b"), edges=((0, 1),), source="s", **meta):
    """A comparison of replies with these texts."""
    return Comparison(
        id=name,
        source=source,
        subset=None,
        prompt=(Message("user", "?"),),
        replies=tuple((Message("assistant", text),) for text in texts),
        better=tuple(Edge(*edge) for edge in edges),
        meta=meta,
    )


def write(folder, parts):
    """An artefact of comparisons by part."""
    with ArtifactWriter(folder, Comparison, kind="comparisons", settings={}) as out:
        for part, records in parts.items():
            for record in records:
                out.add(part, record)
    return folder


def test_what_is_counted():
    """Sources, lengths, margins, places and years of a small set counted by hand."""
    corpus = summarise(
        [
            comparison(edges=((0, 1, 3.0),), created="2020-05-01T00:00:00", license="CC BY-SA 4.0"),
            comparison("2", ("a", "bb", "bb"), ((1, 0, 1.0), (2, 0, 1.0)), source="t"),
            comparison("3", ("x" * 10, "y"), ((1, 0),)),
        ]
    )
    assert corpus.sources == {
        "s": {"comparisons": 2, "replies": 4, "edges": 2},
        "t": {"comparisons": 1, "replies": 3, "edges": 2},
    }
    assert [corpus.num(what) for what in ("comparisons", "replies", "edges")] == [3, 7, 4]
    assert corpus.lengths == {1: 3, 2: 2, 4: 1, 10: 1}
    assert corpus.margins == {3.0: 1, 1.0: 2}
    assert corpus.replies_each == {2: 2, 3: 1}
    assert corpus.first_wins == {True: 1, False: 3}
    assert corpus.years == {"2020": 1}
    assert corpus.licenses == {"CC BY-SA 4.0": 1}
    assert corpus.longer_wins[3.0] == {True: 1}  # 4 characters against 1
    assert corpus.longer_wins[2.0] == {True: 2}
    assert corpus.longer_wins[5.0] == {False: 1}
    assert biases(corpus) == {"longer_reply_wins": 0.75, "first_place_wins": 0.25}


def test_votes_and_times_of_each_reply():
    """A forum's posts and a published set's replies both tell; equal or unknown times count not."""
    posts = [{"votes": 5, "created": "2020-01-02"}, {"votes": 1, "created": "2020-01-01"}]
    seconds = [{"votes": 9, "created": 100}, {"votes": 2, "created": 1_600_000_000}]
    seconds_again = [{"created": 7}, {"created": 8}]
    mixed = [{"created": "2020-01-01"}, {"created": 100}]
    corpus = summarise(
        [
            comparison(posts=posts),
            comparison("2", replies=seconds),
            comparison("3", replies=mixed),
            comparison("4", posts=[{"created": "2020-01-01"}] * 2),
            comparison("5", posts=posts[:1]),  # of another number of replies: not of these
            comparison("6", posts=[None, 3]),
            comparison("7", replies=seconds_again),
        ]
    )
    assert corpus.earlier_wins == {False: 1, True: 2}
    assert corpus.votes == {5: 1, 1: 1, 9: 1, 2: 1}
    assert corpus.votes_by_length == {3: {5: 1, 9: 1}, 1: {1: 1, 2: 1}}
    assert corpus.years == {"2020": 3, "1970": 2}
    assert of_each_reply(comparison(posts=[None, 3])) == [{}, {}]


@pytest.mark.parametrize("odd", [None, 3, "x", [], {}, [{}], {"a": 1}, True, -5, 1e300])
def test_meta_of_any_kind(odd):
    """What others put into meta is counted where it can be, and never stops the counting."""
    each = {"votes": odd, "created": odd}
    corpus = summarise(
        [
            comparison(posts=[each, {**each, "created": {}}], created=odd, license=odd, url=odd),
            comparison("2", replies=odd, posts=odd),
            comparison("3", posts=[{"created": odd}, {"created": [odd]}]),
            comparison("4", edges=((0, 1, float("nan")), (0, 1, float("inf")))),
        ]
    )
    assert corpus.num("edges") == 5
    assert corpus.margins == {}
    assert quantiles(corpus.lengths) == [1, 1, 1, 4, 4]


def test_nothing_is_nothing():
    """An empty set has no shares, no quantiles and no bias; it divides by nothing."""
    corpus = summarise([])
    assert (corpus.num("comparisons"), quantiles(corpus.lengths), biases(corpus)) == (0, [], {})
    assert share_of(Counter()) is None
    assert octaves({}) == {}
    assert corpus == Corpus(longer_wins=corpus.longer_wins)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60))
def test_quantiles_are_those_of_the_sorted_values(values):
    """Each is the least value that has at least its share at or below it."""
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    expected = [
        next(v for v in sorted(values) if sum(w <= v for w in values) >= share * len(values))
        for share in shares
    ]
    assert quantiles(Counter(values), shares) == expected


def test_octaves_are_powers_of_two():
    """Values fall between their powers of two; whatever lies below 1 is one group, in order."""
    counts = octaves({0.5: 2, -3: 1, 1: 4, 2: 1, 3: 1, 1023: 1, 1024: 5, 40_000: 1})
    assert counts == {"< 1": 3, "1": 4, "2-3": 2, "512-1023": 1, "1k-2k": 5, "32k-64k": 1}
    assert list(counts) == ["< 1", "1", "2-3", "512-1023", "1k-2k", "32k-64k"]
    assert [octave(bits) for bits in (0, 1, 3, 10)] == ["< 1", "1", "4-7", "512-1023"]


def test_threads():
    """Answers of a thread, their characters and their scores, acceptance included."""
    posts = (
        Post("q", None, None, None, "?", 9),
        Post("a", "q", None, None, "abc", 2, accepted=True),
        Post("b", "q", None, None, "x", 5),
        Post("c", "b", None, None, "a reply to an answer", 7),
    )
    found = summarise_threads([Thread("q", "s", "", (), posts, None, None)])
    assert found == {"length": {3: 1, 1: 1}, "score": {3: 1, 5: 1}, "answers": {2: 1}}


def test_small_sets_are_read_whole(tmp_path):
    """All parts in name order, every record once."""
    parts = {"train": [comparison(str(n)) for n in range(30)], "test": [comparison("x")]}
    folder = write(tmp_path / "data", parts)
    assert [c.id for c in sampled(folder, Comparison)] == ["x", *map(str, range(30))]


def test_large_sets_are_read_at_even_distances(tmp_path):
    """A sample is about as large as asked, from all over the set, and always the same."""
    folder = write(tmp_path / "data", {"train": [comparison(str(n)) for n in range(20_500)]})
    found = [int(c.id) for c in sampled(folder, Comparison, most=4000)]
    assert 3000 <= len(found) <= 5000
    assert found == sorted(set(found))
    assert found[0] == 0
    assert max(b - a for a, b in itertools.pairwise(found)) < 7000
    assert found == [int(c.id) for c in sampled(folder, Comparison, most=4000)]


def test_parts_of_several_files(tmp_path):
    """A part may be numbered files, which follow each other; other parts' files are not its own."""
    folder = write(tmp_path / "data", {"train": [comparison(str(n)) for n in range(4)]})
    table = pq.read_table(folder / "train.parquet")
    for number in range(2):
        rows = table.slice(2 * number, 2)
        pq.write_table(rows, folder / f"train-0000{number}-of-00002.parquet")
    (folder / "train.parquet").unlink()
    (folder / "dropped.parquet").write_bytes(b"")
    assert [c.id for c in sampled(folder, Comparison)] == ["0", "1", "2", "3"]


def test_damaged_files_are_named(tmp_path):
    """A cut file, or rows of another kind, is an error with its path."""
    folder = write(tmp_path / "data", {"train": [comparison()]})
    path = folder / "train.parquet"
    whole = path.read_bytes()
    pq.write_table(pq.read_table(path).drop_columns(["replies"]), path)
    with pytest.raises(DataError, match=r"train\.parquet: row group 0 cannot be read"):
        list(sampled(folder, Comparison))
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"train\.parquet: cannot be read as Parquet"):
        list(sampled(folder, Comparison))
