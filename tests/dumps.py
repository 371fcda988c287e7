"""Small Stack Exchange dumps, written for the tests."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import py7zr


def row(**attributes: object) -> str:
    """One `<row .../>` of Posts.xml; a value of None leaves the attribute out."""
    pairs = (
        f"{name}={quoteattr(str(value))}" for name, value in attributes.items() if value is not None
    )
    return f"  <row {' '.join(pairs)} />"


def question(post_id: int, **more: object) -> str:
    """A question's row."""
    defaults = {
        "Score": 5,
        "Body": f"<p>Question {post_id}?</p>",
        "Title": f"Title {post_id}",
        "Tags": "<a><b-c>",
        "OwnerUserId": 7,
        "CreationDate": "2016-08-02T15:39:14.947",
        "ContentLicense": "CC BY-SA 3.0",
    }
    return row(Id=post_id, PostTypeId=1, **(defaults | more))


def answer(post_id: int, parent: int | None, score: object, **more: object) -> str:
    """An answer's row."""
    defaults = {"Body": f"<p>Answer {post_id}.</p>", "OwnerDisplayName": "someone"}
    return row(Id=post_id, PostTypeId=2, ParentId=parent, Score=score, **(defaults | more))


def document(*rows: str, root: str = "posts", head: str = "") -> bytes:
    """An XML file of rows as the dumps have it, byte-order mark included."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', head, f"<{root}>", *rows, f"</{root}>"]
    return ("\ufeff" + "\n".join(filter(None, lines))).encode()


def write_7z(path: Path, **members: bytes) -> Path:
    """An archive whose members are given as `Posts=bytes`, each named `Posts.xml`."""
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(data, f"{name}.xml")
    return path


SITE = document(
    answer(3, 2, 1),  # before its question
    question(1, AcceptedAnswerId=5),
    question(2, Score=-1),
    answer(4, 1, 4),
    answer(5, 1, 3),
    answer(6, 99, 1),
    answer(7, 1, None),
    answer(8, 1, "many"),
    answer(9, 1, 1, Body="  "),
    answer(10, 1, 1, Body="<p></p>"),
    answer(11, None, 1),
    answer(5, 1, 8),
    question(12, Score=None),
    answer(13, 12, 2),
    row(Id=14, PostTypeId=5, Score=0, Body="<p>wiki</p>"),
    row(Id=15, PostTypeId=77, Score=0, Body="<p>?</p>"),
    row(Id="x", PostTypeId=1, Score=0, Body="<p>?</p>"),
)
"""17 rows: 5 become posts, 12 are dropped."""

SITE_DROPPED = {
    "answer_question_missing": 1,
    "no_score": 2,
    "malformed_score": 1,
    "empty_body": 2,
    "answer_without_parent": 1,
    "repeated_id": 1,
    "answer_of_dropped_question": 1,
    "tag_wiki": 1,
    "unknown_post_type": 1,
    "malformed_id": 1,
}
