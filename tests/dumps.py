"""Small dumps of Stack Exchange and Reddit, written for the tests."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import orjson
import py7zr

from worldpm.forum.lines import zstd


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
"""17 rows: 5 can be posts, 2 of them of a thread with one answer; 12 are dropped always."""

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


def write_lines(path: Path, *rows: Mapping[str, object]) -> Path:
    """JSON lines, packed as the name says (.zst, .gz or not at all)."""
    data = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    pack = {".zst": zstd.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(data))
    return path


def submission(own: str, **more: object) -> dict[str, object]:
    """A row of Reddit's RS dumps."""
    row = {
        "id": own,
        "subreddit": "College",
        "title": f"Title {own}",
        "selftext": f"Body {own}",
        "score": 5,
        "created_utc": 1490000000,
        "permalink": f"/r/College/comments/{own}/why/",
        "author": "asker",
        "link_flair_text": "Advice",
    }
    return row | more


def comment(own: str, link: str, body: object, score: object, **more: object) -> dict[str, object]:
    """A row of Reddit's RC dumps; `parent_id` is the submission unless given."""
    row = {
        "id": own,
        "link_id": f"t3_{link}",
        "parent_id": f"t3_{link}",
        "subreddit": "College",
        "body": body,
        "score": score,
        "created_utc": 1490845596,
        "author": "someone",
    }
    return row | more


REDDIT = (
    comment("c9", "s2", "Of the other.", 2),  # before its submission
    submission("s1"),
    submission("s2"),
    submission("s3", selftext="[deleted]"),
    submission("s4", over_18=True),
    submission("s5", selftext="", title="  "),
    submission("s6", removed_by_category="moderator"),
    submission("s7", selftext="", url="https://example.org/x", is_self=False),
    submission("S 8"),
    comment("c1", "s1", "One.", 9),
    comment("c2", "s1", "Two.", "4"),
    comment("c3", "s1", "[removed]", 3),
    comment("c4", "s1", "[deleted]", 3),
    comment("c5", "s1", "&#x200B;", 3),
    comment("c6", "s1", "No score.", None),
    comment("c7", "s1", "Wrong score.", "many"),
    comment("c8", "s1", "Hidden.", 1, score_hidden=True),
    comment("ca", "s1", {"text": 1}, 1),
    comment("c1", "s1", "One again.", 9, created_utc=1500000000),
    comment("cb", "zz", "Of none.", 1),
    comment("cc", "s3", "Of a deleted one.", 1),
    comment("cd", "s1", "Of no parent.", 1, parent_id=None),
    comment("n1", "s1", "Below one.", 5, parent_id="t1_c1"),
    comment("n2", "s1", "Also below one.", 2, parent_id="t1_c1"),
    comment("n3", "s1", "Below two.", 2, parent_id="t1_c2"),
    comment("n4", "s1", "Below the removed.", 2, parent_id="t1_c3"),
    comment("n5", "s1", "Below what is not there.", 2, parent_id="t1_zz"),
    comment("n6", "s1", "A circle.", 2, parent_id="t1_n7"),
    comment("n7", "s1", "A circle.", 2, parent_id="t1_n6"),
    comment("m1", "s1", "Deep.", 2, parent_id="t1_n1"),
    comment("m2", "s1", "Deep too.", 3, parent_id="t1_n1"),
    comment("bo", "s1", "I am a bot, and this action was performed automatically.", 1),
)

_DROPPED = {
    "deleted": 2,
    "removed": 2,
    "nsfw": 1,
    "empty_body": 2,
    "link_only": 1,
    "malformed_id": 2,
    "no_score": 1,
    "malformed_score": 1,
    "score_hidden": 1,
    "malformed_body": 1,
    "repeated_id": 1,
    "answer_question_missing": 1,
    "answer_of_dropped_question": 1,
    "bot": 1,
}
_LOST = {"only_reply": 1, "reply_to_dropped_post": 1, "parent_missing": 1, "parent_cycle": 2}
REDDIT_DROPPED = {
    1: _DROPPED | {"reply_below_depth": 9},
    2: _DROPPED | _LOST | {"reply_below_depth": 2},
    3: _DROPPED | _LOST,
}
"""Why rows of REDDIT become no post, by depth; 2 others are of a thread with one answer."""
