"""Any other forum: one thread a line of JSON -> threads.

    {"id": "7", "title": "Knots", "text": "Which knot for a swing?", "answers": [
        {"id": "8", "text": "A bowline.", "votes": 12, "accepted": true},
        {"id": "9", "text": "A granny knot.", "votes": -3, "author": "jo"}]}

Of the line: `id` (text or integer), `title` or `text`, and `answers` are needed; `votes`, `author`,
`created`, `url`, `license`, `tags` and `source` may be there. Of an answer: `text`, and `votes` or
both `up` and `down`, are needed; `id`, `parent` (the id of the answer that it replies to),
`accepted`, `author`, `created`, `url` may be there. `created` is seconds since 1970 or text.
A key that is null is as good as absent, keys beyond these are not read. Lines of one id meet on
disk (`shards`), so memory is bounded.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from worldpm.forum.lines import dump_name, json_rows
from worldpm.forum.markup import markdown_of
from worldpm.forum.reading import (
    Bucket,
    ForumSettings,
    Reading,
    id_of,
    moment_of,
    text_of,
    votes_of,
)
from worldpm.forum.shards import Shards
from worldpm.forum.tree import grow
from worldpm.records import Post, Thread


class PlainSettings(ForumSettings):
    """How lines of the plain form are read."""

    format: Literal["markdown", "html"] = "markdown"
    """What the texts are written in; plain text is Markdown too."""
    depth: int = Field(default=1, ge=1, le=10)
    """2 or more: answers to an answer are compared too, with the chain down to it as prompt."""
    source: str | None = Field(default=None, min_length=1, max_length=200)
    """The source of lines that name none; the name of the file if not given."""
    license: str | None = None
    """The licence of lines that name none."""


def scatter(path: Path, settings: PlainSettings, reading: Reading, shards: Shards) -> None:
    """Put each line of a file with those of the same id.

    Raises DataError for files that cannot be read or hold no JSON object.
    """
    name = settings.source or dump_name(path)
    for row in json_rows(path, reading.drop):
        row_id = id_of(row.get("id")) or ""
        shards.add(row_id, [text_of(row.get("source")) or name, row], reading.drop)


def join(bucket: Bucket, settings: PlainSettings, reading: Reading) -> Iterator[Thread]:
    """Yield threads in the order of their lines; posts left out are dropped by their reasons."""
    seen: set[tuple[str, str]] = set()
    for source, row in bucket.rows:
        yield from _threads(row, source, seen, settings, reading)


def _threads(
    row: dict[str, Any],
    source: str,
    seen: set[tuple[str, str]],
    settings: PlainSettings,
    reading: Reading,
) -> Iterator[Thread]:
    thread_id, answers = id_of(row.get("id")), row.get("answers")
    title = " ".join((text_of(row.get("title")) or "").split())
    text = _markdown(row.get("text"), settings, reading)
    votes = 0 if row.get("votes") is None else votes_of(row["votes"])
    reason = None
    if thread_id is None:
        reason = "malformed_id"
    elif (source, thread_id) in seen:
        reason = "repeated_id"
    elif not isinstance(answers, list):
        reason = "malformed_answers"
    elif isinstance(votes, str):
        reason = votes
    elif not title and not text:
        reason = "empty_body"
    if reason is not None:
        reading.drop(reason)
        for _ in answers if isinstance(answers, list) else ():
            reading.drop("answer_of_dropped_question")
        return
    assert thread_id is not None
    assert isinstance(answers, list)
    assert isinstance(votes, int)
    seen.add((source, thread_id))
    url, tags = text_of(row.get("url")), row.get("tags")
    question = Post(
        id=thread_id,
        parent=None,
        author=text_of(row.get("author")),
        created=_created(row.get("created")),
        text=text,
        votes=votes,
        url=url,
    )
    posts: dict[str, Post] = {}
    lost: set[str] = set()
    for number, answer in enumerate(answers, 1):
        post = _answer(answer, number, thread_id, settings, reading)
        if isinstance(post, Post) and (post.id in posts or post.id == thread_id):
            post = "repeated_id"
        if isinstance(post, str):
            reading.drop(post)
            if isinstance(answer, dict) and (own := id_of(answer.get("id"))):
                lost.add(own)
        else:
            posts[post.id] = post
    opening = Thread(
        id=thread_id,
        source=source,
        title=title,
        tags=tuple(t for t in tags if isinstance(t, str)) if isinstance(tags, list) else (),
        posts=(question,),
        url=url,
        license=text_of(row.get("license")) or settings.license,
    )
    replies = list(posts.values())
    yield from grow(
        opening, replies, depth=settings.depth, drop=reading.drop, lost=lost - posts.keys()
    )


def _answer(
    row: Any, number: int, thread_id: str, settings: PlainSettings, reading: Reading
) -> Post | str:
    """The answer, or the reason why it is none."""
    if not isinstance(row, dict):
        return "not_an_object"
    own, above = row.get("id"), row.get("parent")
    post_id = f"{thread_id}.{number}" if own is None else id_of(own)
    parent = thread_id if above is None else id_of(above)
    if post_id is None or parent is None:
        return "malformed_id"
    up, down = (None if row.get(key) is None else votes_of(row[key]) for key in ("up", "down"))
    for count in (up, down):
        if isinstance(count, str) or (count is not None and count < 0):
            return "malformed_score"
    assert not isinstance(up, str)
    assert not isinstance(down, str)
    votes = votes_of(row.get("votes"))
    if votes == "no_score" and up is not None and down is not None:
        votes = up - down
    if isinstance(votes, str):
        return votes
    if not isinstance(row.get("text"), str | None):
        return "malformed_body"
    text = _markdown(row.get("text"), settings, reading)
    if not text:
        return "empty_body"
    return Post(
        id=post_id,
        parent=parent,
        author=text_of(row.get("author")),
        created=_created(row.get("created")),
        text=text,
        votes=votes,
        accepted=row.get("accepted") is True,
        url=text_of(row.get("url")),
        up=up,
        down=down,
    )


def _markdown(value: Any, settings: PlainSettings, reading: Reading) -> str:
    return markdown_of(value, settings.format, lambda: reading.note("bodies_as_plain_text"))


def _created(value: Any) -> str | None:
    return text_of(value) if isinstance(value, str) else moment_of(value)
