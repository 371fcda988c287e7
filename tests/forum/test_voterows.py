"""Votes by one pattern and by the XML parser: the same counts, the same errors."""

import random
import time
from collections import Counter

import pytest
from dumps import document, row

from worldpm.errors import DataError
from worldpm.forum import voterows
from worldpm.forum.rowxml import RowParser
from worldpm.forum.voterows import VoteParser

DATE = "2014-01-21T00:00:00.000"


def vote(number, post, kind, **more):
    return row(Id=number, PostId=post, VoteTypeId=kind, **({"CreationDate": DATE} | more))


def usual(count=200, seed=0):
    """Rows in the forms that dumps have: the voter is named for favourites and bounties only."""
    chance = random.Random(seed)
    rows = [vote(n, chance.randrange(1, 50), chance.choice((1, 2, 2, 2, 3))) for n in range(count)]
    rows.append(vote(count, 7, 5, UserId=12))
    rows.append(row(Id=1, PostId=7, VoteTypeId=8, UserId=-1, CreationDate=DATE, BountyAmount=50))
    return rows


def read(data, size=1 << 20):
    """Votes by post and way, and whether the XML parser saw more than head and end."""
    found, seen = Counter(), []

    def count(numbers, *, up):
        found.update((number, up) for number in numbers)

    parser = VoteParser("x.7z: Votes.xml", count)
    feed = parser._parser.feed
    parser._parser.feed = lambda data: seen.append(len(data)) or feed(data)
    for start in range(0, len(data), size):
        parser.feed(data[start : start + size])
    parser.close()
    return found, sum(seen) > 65


def expected(data):
    """What the rows say, by the XML parser alone."""
    found = Counter()

    def count(row):
        post, kind = row.get("PostId") or "", row.get("VoteTypeId")
        if kind in ("2", "3") and post.isdecimal() and len(post) <= 18:
            found[int(post), kind == "2"] += 1

    parser = RowParser("x", count)
    parser.feed(data)
    parser.close()
    return found


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_rows_of_the_usual_form_are_counted_without_the_parser(size, end):
    """However the bytes are cut, with the line ends of both systems."""
    data = document(*usual(), root="votes").replace(b"\n", end)
    found, parsed = read(data, size)
    assert found == expected(data)
    assert not parsed


OTHERS = [
    vote(1, 5, 2, Comment="other"),
    vote(1, 5, 2).replace('"', "'"),
    vote(1, 5, 2).replace(' PostId="5" VoteTypeId="2"', ' VoteTypeId="2" PostId="5"'),
    vote(1, "&#53;", 2),
    vote(1, "", 2),
    vote(1, "9" * 30, 2),
    vote(1, None, 2),
    "  <!-- a comment --> " + vote(1, 5, 3),
    '  <x><row Id="1" PostId="5" VoteTypeId="2" /></x>',
    vote(1, 5, 2).replace("/>", "></row>"),
]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("size", [50, 1 << 20])
def test_any_other_form_is_read_by_the_parser(other, size):
    """Alone, between usual rows, and last: counted as an XML parser counts it."""
    for rows in ([other], [*usual(), other, *usual(seed=1)], [*usual(), other]):
        data = document(*rows, root="votes")
        assert read(data, size) == (expected(data), True)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-12],
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"</votes>", b"</other>"),
        lambda data: data.replace(b'Id="7"', b'Id="7" Id="7"'),
        lambda data: data.replace(b'UserId="12"', b'UserId="12" UserId="12"'),
        lambda data: data.replace(b'PostId="7"', b'PostId="7'),
        lambda data: data.replace(b"  <row", b"\x0c <row", 1),
        lambda data: data.replace(b'"12"', b'"<"'),
        lambda data: data.replace(b'"12"', b'"\xff"'),
        lambda data: data.replace(b"<votes>", b'<!DOCTYPE v [<!ENTITY x "y">]><votes>'),
        lambda data: data + b"<row/>",
        lambda data: b"no XML" + b" " * 200,
        lambda data: b"",
    ],
)
def test_what_is_broken_is_an_error_as_ever(change):
    """Cut short, not well-formed, entities: the parser's error, which names the member."""
    data = change(document(*usual(), root="votes"))
    with pytest.raises(DataError, match=r"x\.7z: Votes\.xml: "):
        read(data)


def test_another_encoding_is_read_by_the_parser():
    """The pattern is sure of UTF-8 only."""
    data = document(*usual(), root="votes").decode().removeprefix("\ufeff")
    data = data.replace("utf-8", "utf-16").encode("utf-16")
    assert read(data) == (expected(data), True)


def test_little_is_kept_of_a_row_without_end(monkeypatch):
    """Bytes without the end of a row go to the parser, which bounds what it holds."""
    monkeypatch.setattr(voterows, "CHUNK_BYTES", 1000)
    parser = VoteParser("x", lambda numbers, *, up: None)
    parser.feed(document(root="votes").removesuffix(b"</votes>"))
    for _ in range(100):
        parser.feed(b' <row Id="' + b"1" * 300)
        assert len(parser._rest) < 1300
        if parser._rest == b"":
            return
    pytest.fail("all was kept")


def test_blanks_without_rows_are_read_in_linear_time():
    """A megabyte of blanks is gone through once, not again from each of them."""
    data = document(*usual(), root="votes").replace(
        b"</votes>", b" " * 1_000_000 + b"<x /></votes>"
    )
    start = time.process_time()
    assert read(data) == (expected(data), True)
    assert time.process_time() - start < 2
