"""Votes.xml -> the numbers of the posts that were voted up and down.

    parser = VoteParser("ai.7z: Votes.xml", count=votes.add_many)
    parser.feed(b"..."); parser.close()     count([7, 7, 9], up=True); count([8], up=False)

Rows are short and there are three for each post, so one pattern takes many of them at once. It
takes them in the very form that dumps have; from the first byte that has another, and for all that
is wrong, `RowParser` reads on. That halves the time of a vote.
"""

import re
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Protocol

from worldpm.forum.rowxml import CHUNK_BYTES, Row, RowParser

UP, DOWN = "2", "3"  # types of votes
_ID = re.compile(r"[0-9]{1,18}")
_HEAD = re.compile(
    rb'(?:\xef\xbb\xbf)?<\?xml version="1\.0" encoding="utf-8"\?>[ \r\n\t]*<votes>', re.IGNORECASE
)
_HEAD_BYTES = 100
_USER, _DATE = rb' UserId="-?[0-9]+"', rb' CreationDate="[0-9T:.-]+"'
_BLANKS = b" \r\n\t"
_ROW = re.compile(
    rb'<row Id="[0-9]+" PostId="([0-9]{1,18})" VoteTypeId="([0-9]+)"'
    rb"(?:%b(?:%b)?|%b%b)" % (_DATE, _USER, _USER, _DATE) + rb'(?: BountyAmount="[0-9]+")? ?/>'
)


class CountVotes(Protocol):
    """Whom the numbers of posts are told, of votes up or of votes down."""

    def __call__(self, numbers: Sequence[int], *, up: bool) -> None:
        """Count a vote for each number."""


class VoteParser:
    """Takes the bytes of a Votes.xml as they come; raises what `RowParser` does."""

    def __init__(self, where: str, count: CountVotes) -> None:
        self._count = count
        self._parser = RowParser(where, self._row)
        self._take: Callable[[bytes], bytes] = self._begin
        self._rest = b""
        self._found: dict[str, list[int]] = {UP: [], DOWN: []}

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for start in range(0, len(data), CHUNK_BYTES):
            self._rest = self._take(self._rest + data[start : start + CHUNK_BYTES])
            self._tell()

    def close(self) -> None:
        """End of file: what is still open is an error."""
        self._parser.feed(self._rest)
        self._parser.close()
        self._tell()

    def _tell(self) -> None:
        for kind, numbers in self._found.items():
            if numbers:
                self._count(numbers, up=kind == UP)
        self._found = {UP: [], DOWN: []}

    def _begin(self, data: bytes) -> bytes:
        """The head goes to the parser, and is followed by rows if it is the usual one."""
        if len(data) < _HEAD_BYTES:
            return data
        head = _HEAD.match(data)
        if head is None:
            return self._any_form(data)
        self._parser.feed(head[0])
        self._take = self._usual_form
        return self._take(data[head.end() :])

    def _usual_form(self, data: bytes) -> bytes:
        end = data.rfind(b"/>") + 2
        if end == 1:
            return data if len(data) < CHUNK_BYTES else self._any_form(data)
        pieces = _ROW.split(data[:end])  # what is between, post, type, between, ..., between
        if b"".join(pieces[::3]).strip(_BLANKS):
            return self._any_form(data)
        for kind, numbers in self._found.items():
            wanted = map(kind.encode().__eq__, pieces[2::3])
            numbers += map(int, compress(pieces[1::3], wanted))
        return data[end:]

    def _any_form(self, data: bytes) -> bytes:
        self._take = self._any_form
        self._parser.feed(data)
        return b""

    def _row(self, row: Row) -> None:
        kind, post = row.get("VoteTypeId"), row.get("PostId")
        if kind in (UP, DOWN) and post and _ID.fullmatch(post):
            self._found[kind].append(int(post))
