"""A Stack Exchange dump of any size, generated as it is written: the same bytes for a seed.

    write_big_7z(Path("big.stackexchange.com.7z"), 10_000_000_000)

Bodies are put together from some thousand paragraphs with code, links, lists and formulas, in the
proportions of real ones (about 900 bytes a row); answers may stand before their question.
"""

import io
import random
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import py7zr

WORDS = [
    "the",
    "a",
    "of",
    "to",
    "and",
    "in",
    "is",
    "that",
    "it",
    "for",
    "you",
    "with",
    "this",
    "on",
    "can",
    "be",
    "not",
    "are",
    "have",
    "from",
    "your",
    "use",
    "will",
    "model",
    "value",
    "function",
    "data",
    "set",
    "list",
    "error",
    "time",
    "line",
    "file",
    "code",
    "write",
    "test",
    "string",
    "number",
    "loop",
    "question",
    "answer",
    "because",
    "should",
    "which",
    "when",
    "there",
    "other",
    "first",
    "example",
    "result",
    "memory",
    "network",
]
HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n<posts>\n'
TAIL = b"</posts>\n"


def paragraphs(chance: random.Random, count: int = 3000) -> list[str]:
    """HTML paragraphs, escaped as they stand in an attribute."""
    found = []
    for _ in range(count):
        text = " ".join(chance.choices(WORDS, k=chance.randrange(15, 60)))
        shape = chance.random()
        if shape < 0.15:
            code = "\n".join(" ".join(chance.choices(WORDS, k=5)) for _ in range(6))
            html = f"<pre><code>{code} &lt;= 3 &amp;&amp; x\n</code></pre>"
        elif shape < 0.25:
            items = "".join(f"<li>{w} <em>{w}</em></li>" for w in chance.choices(WORDS, k=4))
            html = f"<ul>{items}</ul>"
        elif shape < 0.4:
            html = f'<p>{text} <a href="https://example.org/{chance.random()}">see</a>.</p>'
        else:
            html = f"<p>{text}, <code>{chance.choice(WORDS)}_1</code> $x^2$.</p>"
        found.append(escape(html + "\n", {chr(34): "&quot;", "\n": "&#xA;"}))
    return found


def rows(seed: int = 0) -> Iterator[bytes]:
    """Rows without end: a question, and up to five answers near it."""
    chance = random.Random(seed)
    pieces = paragraphs(chance)
    number = 0
    while True:
        question = number + chance.randrange(1, 3)
        count = chance.randrange(6)
        for post in range(number + 1, number + 2 + count):
            body = "".join(chance.choices(pieces, k=2)) + f"{chance.getrandbits(96):x}"
            more = (
                f'PostTypeId="1" Title="Question {post}" Tags="&lt;a&gt;&lt;b&gt;"'
                if post == question
                else f'PostTypeId="2" ParentId="{question}"'
            )
            yield (
                f'  <row Id="{post}" {more} Score="{chance.randrange(-2, 40)}" Body="{body}" '
                f'CreationDate="2016-08-02T15:39:14.947" OwnerUserId="{chance.randrange(1, 9000)}" '
                'ContentLicense="CC BY-SA 3.0" />\n'
            ).encode()
        number += 1 + count


def posts_xml(num_bytes: int, seed: int = 0) -> Iterator[bytes]:
    """The pieces of a Posts.xml of about that size."""
    yield HEAD
    size = 0
    for row in rows(seed):
        yield row
        size += len(row)
        if size >= num_bytes:
            break
    yield TAIL


class Stream(io.BufferedIOBase):
    """Pieces of bytes as a file to read once. It says that it has some size, as py7zr asks."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, bytearray()
        self._end = False

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._end = whence == io.SEEK_END
        return self.tell()

    def tell(self) -> int:
        return int(self._end)

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        size = len(self._rest) if size < 0 else size
        data = bytes(self._rest[:size])
        del self._rest[:size]
        return data


def write_big_7z(path: Path, num_bytes: int, seed: int = 0) -> Path:
    """An archive with such a Posts.xml, in constant memory."""
    filters = [{"id": py7zr.FILTER_ZSTD, "level": 1}]
    with py7zr.SevenZipFile(path, "w", filters=filters) as archive:
        archive.writef(Stream(posts_xml(num_bytes, seed)), "Posts.xml")
    return path
