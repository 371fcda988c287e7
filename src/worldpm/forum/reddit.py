"""Monthly Reddit dumps -> threads: a submission and its comments.

    scatter(Path("RC_2021-06.zst"), RedditSettings(), reading, shards)  rows by their submission
    join(Bucket("reddit", rows), RedditSettings(), reading)              ->  Thread, Thread, ...

In: newline JSON of submissions and comments, under zstd or not, in any number of files and in any
order; folders of such files. What a row is, its keys say: a comment has a `link_id`. Out: threads
in the order of (shard, time, id), whatever the order of the files.

Comments name their submission, which may stand in any other file, so rows are first partitioned on
disk by the submission's id (`shards`), then joined shard by shard. Memory: a buffer of 64 MB and
the window of the dump (`--long=31`: up to 2 GB) while a file is read, then one shard.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from worldpm.errors import DataError
from worldpm.forum.lines import CHUNK_BYTES, json_rows
from worldpm.forum.markup import tidy_markdown
from worldpm.forum.reading import Bucket, ForumSettings, Reading, moment_of, votes_of
from worldpm.forum.shards import Shards
from worldpm.forum.tree import grow
from worldpm.records import Post, Thread

SITE = "https://www.reddit.com"
MAX_LINE_BYTES = CHUNK_BYTES  # bodies have at most 40,000 characters; whole rows seen reach 100 kB
_ID = re.compile(r"(?:t[13]_)?([0-9a-z]{1,13})")
_GONE = {
    "[deleted]": "deleted",
    "[removed]": "removed",
    "[ removed by reddit ]": "removed",
    "[removed by reddit]": "removed",
    "[deleted by user]": "deleted",
}
_BOT_NAME = re.compile(r"AutoModerator|.*(?:[a-z]Bot|[-_]bot|[-_]BOT)[0-9_-]*")
_BOT_WORDS = re.compile(
    r"(?<!\bif )\bI(?: a|['\u2019])m a bot\b|action was performed automatically", re.I
)
_PERMALINK = re.compile(r"/(?:r|user)/[\w/%.-]{1,300}")
_COMMUNITY = re.compile(r"[\w-]{1,40}")
_NO_NAME = {"[deleted]", "[removed]", "[redacted]", ""}
# Shards hold lists: kind, submission, id, then what the kind has.
SUBMISSION, COMMENT, LOST = 0, 1, 2


class RedditSettings(ForumSettings):
    """What of Reddit becomes a thread."""

    depth: int = Field(default=1, ge=1, le=10)
    """2 or more: replies to a comment are compared too, with the chain down to it as prompt."""
    link_only: bool = False
    """Keep submissions that are a title and a link, the link as their text."""
    nsfw: bool = False
    """Keep submissions marked over 18."""
    bots: bool = False
    """Keep posts by bots."""
    by_subreddit: bool = False
    """Make each community a source of its own, as `r/College`, to hold out or report by."""


def scatter(path: Path, settings: RedditSettings, reading: Reading, shards: Shards) -> None:
    """Put each row of a dump with those of its submission, or drop it by its reason.

    `reading.note` hears of each of the "submissions" and "comments". Raises DataError for files
    that cannot be read (see `lines`).
    """
    for file in dump_files(path):
        for row in json_rows(file, reading.drop, MAX_LINE_BYTES):
            if "link_id" in row:
                reading.note("comments")
                _scatter_comment(row, settings, reading, shards)
            elif "title" in row:
                reading.note("submissions")
                _scatter_submission(row, settings, reading, shards)
            else:
                reading.drop("neither_submission_nor_comment")


def check_dumps(paths: Sequence[Path], notes: Mapping[str, int]) -> None:
    """DataError where submissions or comments are missing in all dumps together."""
    for kind in ("submissions", "comments"):
        if not notes.get(kind):
            raise DataError(
                f"{paths[0]}: holds no {kind}, nor does any other dump given; give the RS "
                "(submissions) and RC (comments) files of the same months together"
            )


def dump_files(path: Path) -> list[Path]:
    """The file itself, or the RS and RC files of a folder."""
    if not path.is_dir():
        return [path]
    files = sorted(each for each in path.iterdir() if re.match(r"R[SC][_-]", each.name))
    if not files:
        raise DataError(f"{path}: holds no RS_* or RC_* file; give the dumps themselves")
    return files


def _scatter_comment(
    row: dict[str, Any], settings: RedditSettings, reading: Reading, shards: Shards
) -> None:
    ids = [_ID.fullmatch(value) if isinstance(value, str) else None
           for value in (row["link_id"], row.get("parent_id"), row.get("id"))]  # fmt: skip
    link, parent, own = ids
    if link is None or parent is None or own is None:
        reading.drop("malformed_id")
        return
    direct = parent[1] == link[1] and not row["parent_id"].startswith("t1_")
    body = row.get("body")
    votes = votes_of(row.get("score"))
    text = tidy_markdown(body) if isinstance(body, str) else ""
    reason = _fault(row, votes, text, settings)
    if body is not None and not isinstance(body, str):
        reason = "malformed_body"
    if reason is None and not direct and settings.depth == 1:
        reason = "reply_below_depth"
    if reason is not None:
        reading.drop(reason)
        if settings.depth > 1:
            shards.add(link[1], [LOST, link[1], f"t1_{own[1]}"])
        return
    above = f"t3_{link[1]}" if direct else f"t1_{parent[1]}"
    shards.add(
        link[1],
        [COMMENT, link[1], own[1], _seconds(row), votes, text, _name(row), above],
    )


def _scatter_submission(
    row: dict[str, Any], settings: RedditSettings, reading: Reading, shards: Shards
) -> None:
    own = _ID.fullmatch(row["id"]) if isinstance(row.get("id"), str) else None
    if own is None:
        reading.drop("malformed_id")
        return
    title, body = row["title"], row.get("selftext")
    title = " ".join(tidy_markdown(title).split()) if isinstance(title, str) else ""
    votes = votes_of(row.get("score"))
    text = tidy_markdown(body) if isinstance(body, str) else ""
    link = _outside_link(row)
    if not text and link and settings.link_only:
        text = link
    reason = _fault(row, votes, text or title, settings)
    if body is not None and not isinstance(body, str):
        reason = "malformed_body"
    if reason is None and row.get("removed_by_category"):
        reason = "removed"
    if reason is None and row.get("over_18") is True and not settings.nsfw:
        reason = "nsfw"
    if reason is None and link and not text:
        reason = "link_only"
    if reason is not None:
        reading.drop(reason)
        shards.add(own[1], [LOST, own[1], f"t3_{own[1]}"])
        return
    permalink = _matching(row, "permalink", _PERMALINK)
    url = f"{SITE}{permalink}" if permalink else f"{SITE}/comments/{own[1]}/"
    more = (title, _matching(row, "subreddit", _COMMUNITY), url, _flair(row))
    shards.add(own[1], [SUBMISSION, own[1], own[1], _seconds(row), votes, text, _name(row), *more])


def _fault(
    row: dict[str, Any], votes: int | str, text: str, settings: RedditSettings
) -> str | None:
    """Why a row can be no post, whichever kind it is."""
    if isinstance(votes, str):
        return votes
    if not text:
        return "empty_body"
    if len(text) < 24 and (gone := _GONE.get(text.casefold())):
        return gone
    if row.get("score_hidden") is True:
        return "score_hidden"
    if not settings.bots and (_BOT_NAME.fullmatch(_name(row) or "") or _BOT_WORDS.search(
        text.replace("^", "")
    )):  # fmt: skip
        return "bot"
    return None


def _outside_link(row: dict[str, Any]) -> str | None:
    """Where a submission links to, if it is a link and no text of its own."""
    url = row.get("url")
    if row.get("is_self") is True or not isinstance(url, str) or not url.startswith("http"):
        return None
    domain = row.get("domain")
    own = isinstance(domain, str) and domain.startswith("self.")
    return None if own or f"/comments/{row['id']}" in url else url


def _seconds(row: dict[str, Any]) -> int:
    """When a row was written, in seconds since 1970; 0 where it does not say."""
    value = row.get("created_utc")
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        value = int(value)
    good = isinstance(value, int | float) and 0 < value < 1e11
    return int(value) if good and value is not None else 0


def _matching(row: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str | None:
    value = row.get(key)
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _name(row: dict[str, Any]) -> str | None:
    value = row.get("author")
    return value if isinstance(value, str) and value not in _NO_NAME else None


def _flair(row: dict[str, Any]) -> str | None:
    value = row.get("link_flair_text")
    return " ".join(value.split())[:60] or None if isinstance(value, str) else None


def join(bucket: Bucket, settings: RedditSettings, reading: Reading) -> Iterator[Thread]:
    """Yield the threads of one shard's rows."""
    shard = bucket.rows
    shard.sort(key=lambda row: (row[0] == LOST, row[3:4], row[2]))
    submissions: dict[str, list[Any]] = {}
    comments: dict[str, list[list[Any]]] = {}
    seen: dict[str, list[Any]] = {}
    lost: set[str] = set()
    for row in shard:
        kind, link, own = row[:3]
        if kind == LOST:
            lost.add(own)
            continue
        known = seen if kind == COMMENT else submissions
        if own in known:
            reading.drop("repeated_id")
            # Of one time and id, the text decides which stays, not the order of the files.
            known[own][:] = min(known[own], row, key=repr)
            continue
        known[own] = row
        if kind == COMMENT:
            comments.setdefault(link, []).append(row)
    for own, submission in submissions.items():
        replies = [_comment(row) for row in comments.pop(own, [])]
        yield from grow(
            _opening(submission, settings),
            replies,
            depth=settings.depth,
            drop=reading.drop,
            lost=lost,
        )
    for link, orphans in comments.items():
        of_dropped = f"t3_{link}" in lost
        for _ in orphans:
            reading.drop("answer_of_dropped_question" if of_dropped else "answer_question_missing")


def _opening(row: list[Any], settings: RedditSettings) -> Thread:
    _, _, own, seconds, votes, text, name, title, community, url, flair = row
    tags = tuple(tag for tag in (community and f"r/{community}", flair) if tag)
    return Thread(
        id=f"t3_{own}",
        source=f"r/{community}" if settings.by_subreddit and community else "reddit",
        title=title,
        tags=tags,
        posts=(
            Post(f"t3_{own}", None, _profile(name), _moment(seconds), text, votes, url=url),
        ),
        url=url,
        license=None,
    )  # fmt: skip


def _comment(row: list[Any]) -> Post:
    _, link, own, seconds, votes, text, name, above = row
    url = f"{SITE}/comments/{link}/_/{own}/"
    return Post(f"t1_{own}", above, _profile(name), _moment(seconds), text, votes, url=url)


def _profile(name: str | None) -> str | None:
    return f"{SITE}/user/{name}" if name else None


def _moment(seconds: int) -> str | None:
    return moment_of(seconds) if seconds else None
