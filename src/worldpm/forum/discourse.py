"""Topics of a Discourse forum -> threads: the first post and those that follow, with their likes.

    scatter(Path("urho3d.tar.gz"), DiscourseSettings(), reading, shards)
    join(Bucket("urho3d", topics), DiscourseSettings(), reading)  ->  Thread, Thread, ...

In: the JSON that a forum serves of a topic (`/t/ID.json`), as members of a tar archive (packed or
not, streamed, never unpacked), as files of a folder, or as JSON lines. Out: threads in the order
of the dump, bodies as Markdown. Topics of one id meet on disk (`shards`), so memory is bounded.

`votes` are likes (`actions_summary` with id 2); nobody can vote a post down.
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, cast

import orjson
from pydantic import Field

from worldpm.errors import DataError
from worldpm.forum.lines import MAX_LINE_BYTES, chunks, json_rows
from worldpm.forum.markup import to_markdown
from worldpm.forum.reading import Bucket, Count, ForumSettings, Reading, votes_of
from worldpm.forum.shards import Shards
from worldpm.forum.tree import grow
from worldpm.records import Post, Thread
from worldpm.work import pulse

LIKE = 2
REGULAR = 1
POST_TYPES = {2: "moderator_action", 3: "small_action", 4: "whisper"}
_SITE = r"[A-Za-z0-9.-]+(:[0-9]+)?(/[\w./-]*)?"
_SLUG = re.compile(r"[\w%-]{1,300}")
_IMAGE = re.compile(r"<img\b[^<>]*>")
_ALT = re.compile(r'\balt="([^"<>]*)"')


class DiscourseSettings(ForumSettings):
    """What of Discourse becomes a thread."""

    depth: int | None = Field(default=None, ge=1, le=10)
    """Not given: a topic is a flat list, all its later posts answer the first. 1: only posts that
    reply to no other. 2 or more: replies to a post are compared too, with the chain as prompt."""
    site: str | None = Field(default=None, pattern=f"^{_SITE}$")
    """Where the forum is, as `forum.example.org`: the source's name, and what links begin with."""


def scatter(path: Path, settings: DiscourseSettings, reading: Reading, shards: Shards) -> None:
    """Put each topic of a dump with those of the same id, or drop it by its reason.

    Raises DataError for what cannot be read: damage, bombs, no topic at all.
    """
    for topic in _topics(path, reading.drop):
        stream, topic_id = topic.get("post_stream"), topic.get("id")
        rows = stream.get("posts") if isinstance(stream, dict) else None
        if isinstance(rows, list) and rows and type(topic_id) is int:
            shards.add(str(topic_id), topic, reading.drop)
        else:
            reading.drop("malformed_topic")
    if not shards.num_rows:
        raise DataError(f"{path}: holds no topic; give topic JSON, with post_stream.posts")


def join(bucket: Bucket, settings: DiscourseSettings, reading: Reading) -> Iterator[Thread]:
    """Yield the threads of topics; every post that is left out is dropped by its reason."""
    seen: set[int] = set()
    for topic in bucket.rows:
        yield from _threads(topic, settings.site or bucket.part, seen, settings, reading)


def _topics(path: Path, drop: Count) -> Iterator[dict[str, Any]]:
    """The JSON objects of an archive, a folder, a file of one topic, or JSON lines."""
    name = path.name.lower()
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            if file.stat().st_size > MAX_LINE_BYTES:
                drop("topic_too_large")
            else:
                yield from _topic(b"".join(chunks(file)), drop)
    elif re.search(r"\.(tar|tgz|tar\.\w+)$", name):
        yield from _members(path, drop)
    elif name.endswith(".json"):
        yield from _topic(b"".join(chunks(path)), drop)
    else:
        yield from json_rows(path, drop)


class _Stream(RawIOBase):
    """The decompressed bytes of a file, as tarfile wants to read them."""

    def __init__(self, path: Path) -> None:
        self._chunks, self._rest = chunks(path, lambda position: pulse(position, 0)), b""
        self._last, self._end = b"", 0

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        # A header may begin in one record and end in the next.
        self._last, self._end = (
            (self._last + data)[-2 * tarfile.RECORDSIZE :],
            self._end + len(data),
        )
        return data

    def block(self, offset: int) -> bytes:
        """The 512 bytes of a tar archive at an offset among those read last."""
        start = offset - (self._end - len(self._last))
        return self._last[start : start + tarfile.BLOCKSIZE]


def _members(path: Path, drop: Count) -> Iterator[dict[str, Any]]:
    stream = _Stream(path)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive:
            for member in archive:
                if not member.isreg() or not member.name.endswith(".json"):
                    continue
                if member.size > MAX_LINE_BYTES:
                    drop("topic_too_large")
                    continue
                file = archive.extractfile(member)
                assert file is not None
                yield from _topic(file.read(), drop)
            # At a header that is cut short or damaged tarfile stops as it does at the end.
            if stream.block(archive.offset) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"no header and no end at byte {archive.offset:,}")
    except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
        raise DataError(
            f"{path}: not a complete tar archive ({error}); download it again"
        ) from None


def _topic(data: bytes, drop: Count) -> Iterator[dict[str, Any]]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        drop("malformed_json")
        return
    if isinstance(value, dict):
        yield value
    else:
        drop("not_an_object")


def _threads(
    topic: dict[str, Any],
    source: str,
    seen: set[int],
    settings: DiscourseSettings,
    reading: Reading,
) -> Iterator[Thread]:
    stream, topic_id = topic["post_stream"], topic["id"]
    rows = stream["posts"]
    reason = "repeated_topic" if topic_id in seen else None
    if topic.get("archetype") == "private_message":
        reason = "private_message"
    seen.add(topic_id)
    whole = stream.get("stream")  # the ids of all posts, of which a page holds the first
    if isinstance(whole, list) and len(whole) > len(rows):
        reading.note("topics_without_all_posts")
    if reason is not None:
        for _ in rows:
            reading.drop(reason)
        return
    slug = topic.get("slug")
    slug = slug if isinstance(slug, str) and _SLUG.fullmatch(slug) else "-"
    base = f"https://{settings.site}" if settings.site else None
    link = f"{base}/t/{slug}/{topic_id}" if base else None
    accepted = topic.get("accepted_answer")
    accepted = accepted.get("post_number") if isinstance(accepted, dict) else None
    posts: dict[int, Post] = {}  # by their number in the topic
    answered: dict[int, int] = {}
    lost: set[str] = set()
    ids: set[str] = set()
    for row in sorted(rows, key=_number):
        post = _post(row, base, link, accepted, reading)
        if isinstance(post, Post) and (post.id in ids or _number(row) in posts):
            post = "repeated_id"
        if isinstance(post, str):
            reading.drop(post)
            lost.add(str(_number(row)))
            continue
        ids.add(post.id)
        posts[_number(row)] = post
        above = row.get("reply_to_post_number")
        answered[_number(row)] = above if type(above) is int and above > 0 else 1
    question = posts.pop(1, None)
    if question is None:
        for _ in posts:
            reading.drop("answer_of_dropped_question")
        return
    replies = []
    for number, post in posts.items():
        above = 1 if settings.depth is None else answered[number]
        parent = question.id if above == 1 else posts[above].id if above in posts else f"#{above}"
        replies.append(replace(post, parent=parent))
    title = topic.get("title")
    opening = Thread(
        id=str(topic_id),
        source=source,
        title=" ".join(title.split()) if isinstance(title, str) else "",
        tags=_tags(topic.get("tags")),
        posts=(question,),
        url=link,
        license=None,
    )
    yield from grow(
        opening,
        replies,
        depth=settings.depth or 1,
        drop=reading.drop,
        lost={f"#{number}" for number in lost},
    )


def _number(row: Any) -> int:
    """A post's place in its topic, from 1; 0 for a row without one."""
    number = row.get("post_number") if isinstance(row, dict) else None
    return number if type(number) is int and 0 < number < 10**9 else 0


def _post(
    row: Any, base: str | None, link: str | None, accepted: Any, reading: Reading
) -> Post | str:
    """The post, without parent, or the reason why it is none."""
    if not isinstance(row, dict):
        return "not_an_object"
    number, post_id, kind, body = (
        _number(row), row.get("id"), row.get("post_type", REGULAR), row.get("cooked"),
    )  # fmt: skip
    if not number or type(post_id) is not int:
        return "malformed_id"
    if kind != REGULAR:
        return POST_TYPES.get(kind, "unknown_post_type") if type(kind) is int else "malformed_type"
    if row.get("deleted_at") or row.get("user_deleted") is True:
        return "deleted"
    if row.get("hidden") is True:
        return "hidden"
    name, user = row.get("username"), row.get("user_id")
    if type(user) is int and user < 0:  # system and discobot
        return "bot"
    votes = _likes(row)
    if isinstance(votes, str):
        return votes
    if not isinstance(body, str):
        return "empty_body" if body is None else "malformed_body"
    text = to_markdown(_plain_furniture(body), lambda: reading.note("bodies_as_plain_text"))
    if not text:
        return "empty_body"
    created = row.get("created_at")
    author = name if isinstance(name, str) and re.fullmatch(r"[\w.-]{1,100}", name) else None
    return Post(
        id=str(post_id),
        parent=None,
        author=f"{base}/u/{author}" if author and base else author,
        created=created.removesuffix("Z") if isinstance(created, str) else None,
        text=text,
        votes=votes,
        accepted=row.get("accepted_answer") is True or accepted == number,
        url=f"{link}/{number}" if link else None,
    )


def _likes(row: dict[str, Any]) -> int | str:
    """Likes, which a post without any does not list; or the reason why they are not known."""
    actions = row.get("actions_summary")
    if actions is None:
        return votes_of(row.get("like_count"))
    if not isinstance(actions, list):
        return "malformed_score"
    for action in actions:
        if isinstance(action, dict) and action.get("id") == LIKE:
            return votes_of(action.get("count", 0))
    return 0


def _tags(value: Any) -> tuple[str, ...]:
    """Names of tags, which newer versions give as objects."""
    if not isinstance(value, list):
        return ()
    names = (tag.get("name") if isinstance(tag, dict) else tag for tag in value)
    return tuple(name for name in names if isinstance(name, str))


def _plain_furniture(body: str) -> str:
    """The HTML without what the forum's page adds: emoji become text, portraits and captions go."""

    def image(match: re.Match[str]) -> str:
        if 'class="avatar"' in match[0]:
            return ""
        if 'class="emoji' in match[0] and (alt := _ALT.search(match[0])):
            return alt[1]
        return match[0]

    body = _IMAGE.sub(image, body)
    first, *others = body.split('<div class="meta">')  # file name and size below a picture
    return first + "".join(_after_meta(other) for other in others)


def _after_meta(text: str) -> str:
    return text.partition("</div>")[2] or text
