"""A Stack Exchange dump -> threads.

    scatter(Path("ai.stackexchange.com.7z"), settings, reading, shards)     rows by their question
    join(Bucket("ai.stackexchange.com", rows, folders), settings, reading)  ->  Thread, Thread, ...

In: an official `SITE.7z` (streamed, never unpacked to disk), a `Posts.xml`, or a folder that holds
one; `Votes.xml` and `Tags.xml` beside it are read where present, and the largest site's archives of
one table each (`SITE-Posts.7z`, `SITE-Votes.7z`) belong together. Out: threads in the order of
their questions; a thread's answers in file order, bodies as Markdown. Every row that does not
become a post is reported to `drop` under a named reason.

Answers may stand before their question, so rows are first put with those of their question on disk
(`shards`), as HTML. Memory while a dump is read: a bit for each post and 8 bytes for each with
votes (`numbered`).
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from worldpm.errors import DataError, unread
from worldpm.forum.archive import feed_members
from worldpm.forum.markup import to_markdown
from worldpm.forum.numbered import Seen, Votes
from worldpm.forum.reading import Bucket, ForumSettings, Reading
from worldpm.forum.rowxml import CHUNK_BYTES, Parser, Row, RowParser
from worldpm.forum.shards import Shards
from worldpm.forum.voterows import VoteParser
from worldpm.jsonfiles import valid_text
from worldpm.records import Post, Thread
from worldpm.work import pulse

QUESTION, ANSWER = "1", "2"
OTHER_POST_TYPES = {
    "3": "wiki_post",
    "4": "tag_wiki_excerpt",
    "5": "tag_wiki",
    "6": "moderator_nomination",
    "7": "wiki_placeholder",
    "8": "privilege_wiki",
}
TAGS = "tags.json"
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_ID = re.compile(r"[0-9]{1,18}")
_TAG = re.compile(r"[^<>|\s]+")
_TABLE = re.compile(r"-(Posts|Votes|Tags)(?=(\.7z)?$)", re.IGNORECASE)
# Rows in shards are lists: kind, id, question or accepted answer, score, body, and for questions
# title and tags; author, time of writing, licence.
ASKED, ANSWERED, LOST = 0, 1, 2


def scatter(path: Path, settings: ForumSettings, reading: Reading, shards: Shards) -> None:
    """Put the rows of one dump with those of their questions, its votes and tags beside them.

    Raises DataError naming the archive and member for what cannot be read: damage, broken XML,
    entities, decompression bombs, names that escape, no Posts.xml.
    """
    site = _Site(reading, shards)
    parser_of: dict[str, Callable[[str], Parser]] = {
        "Posts.xml": lambda where: RowParser(where, site.post),
        "Votes.xml": lambda where: VoteParser(where, site.votes.add_many),
        "Tags.xml": lambda where: RowParser(where, site.tag),
    }
    if path.suffix.lower() == ".7z":
        parsers = {name: make(f"{path}: {name}") for name, make in parser_of.items()}
        found = feed_members(
            path, {name: _counted(parser.feed, site) for name, parser in parsers.items()}
        )
        for name in sorted(found):
            parsers[name].close()
        if "Posts.xml" not in found and holds_posts(path):
            raise DataError(f"{path}: holds no Posts.xml; give a site's own archive")
    else:
        folder = path if path.is_dir() else path.parent
        posts = path / "Posts.xml" if path.is_dir() else path
        _parse_file(posts, parser_of["Posts.xml"], site)
        for name in ("Votes.xml", "Tags.xml"):
            if (folder / name).is_file():
                _parse_file(folder / name, parser_of[name], site)
    site.save(shards.folder)


def site_name(path: Path) -> str:
    """The site that an archive, folder or Posts.xml is of, by its name."""
    whole = Path(os.path.abspath(path))  # "." has no name of its own
    name = whole.parent.name if path.suffix.lower() == ".xml" else whole.name
    # The largest site comes in an archive for each table: stackoverflow.com-Posts.7z.
    name = re.sub(r"\.7z$", "", _TABLE.sub("", name), count=1, flags=re.IGNORECASE)
    return valid_text(name)


def holds_posts(path: Path) -> bool:
    """Whether a dump should hold posts: all do but the archives of another table."""
    table = _TABLE.search(path.name) if path.suffix.lower() == ".7z" else None
    return table is None or table[1].lower() == "posts"


class _Site:
    """What has been read of one dump so far."""

    def __init__(self, reading: Reading, shards: Shards) -> None:
        self._drop, self._shards = reading.drop, shards
        self._tags: set[str] = set()
        self.votes = Votes()
        self._seen = Seen()
        self.num_bytes = self.num_rows = 0

    def tag(self, row: Row) -> None:
        if name := row.get("TagName"):
            self._tags.add(name)

    def save(self, folder: Path) -> None:
        if self._tags:
            (folder / TAGS).write_bytes(orjson.dumps(sorted(self._tags)))
        self.votes.save(folder)

    def post(self, row: Row) -> None:
        self.num_rows += 1
        kind, post_id, body = row.get("PostTypeId"), row.get("Id"), row.get("Body")
        reason = self._fault(row, kind, post_id, body)
        if reason is not None:
            if kind == QUESTION and post_id and reason != "repeated_id":
                self._shards.add(post_id, [LOST, post_id])
            self._drop(reason)
            return
        assert post_id is not None
        more = (_author(row), row.get("CreationDate"), row.get("ContentLicense"))
        if kind == QUESTION:
            accepted, title, tags = (row.get(k) for k in ("AcceptedAnswerId", "Title", "Tags"))
            self._shards.add(
                post_id, [ASKED, post_id, accepted, int(row["Score"]), body, title, tags, *more]
            )
        else:
            parent = row["ParentId"]
            self._shards.add(parent, [ANSWERED, post_id, parent, int(row["Score"]), body, *more])

    def _fault(
        self, row: Row, kind: str | None, post_id: str | None, body: str | None
    ) -> str | None:
        """Why a row can be no post, or None; then its number has been seen."""
        score = row.get("Score")
        if kind not in (QUESTION, ANSWER):
            return OTHER_POST_TYPES.get(kind or "", "unknown_post_type")
        if not post_id or not _ID.fullmatch(post_id):
            return "malformed_id"
        number = int(post_id)
        if number in self._seen:
            return "repeated_id"
        if score is None:
            return "no_score"
        if not _NUMBER.fullmatch(score):
            return "malformed_score"
        if not body or body.isspace():
            return "empty_body"
        if kind == ANSWER and not row.get("ParentId"):
            return "answer_without_parent"
        self._seen.add(number)
        return None


def _author(row: Row) -> str | None:
    """The user's number with a mark before it, or the name of one who is gone."""
    if user := row.get("OwnerUserId"):
        return f"#{user}"
    name = row.get("OwnerDisplayName")
    return f"={name}" if name else None


def _counted(feed: Callable[[bytes], None], site: _Site) -> Callable[[bytes], None]:
    def counted(data: bytes) -> None:
        feed(data)
        site.num_bytes += len(data)
        pulse(site.num_bytes, site.num_rows)

    return counted


def _parse_file(path: Path, make: Callable[[str], Parser], site: _Site) -> None:
    parser = make(str(path))
    feed = _counted(parser.feed, site)
    try:
        with path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                feed(data)
    except OSError as error:
        problem = DataError(f"{path}: cannot be read: {error.strerror}")
        raise unread(path, error) or problem from None
    parser.close()


def join(bucket: Bucket, settings: ForumSettings, reading: Reading) -> Iterator[Thread]:
    """Yield the threads of a shard; `reading` is told once of each row left out.

    `reading.note` is called with "bodies_as_plain_text" for each post kept without its markup, and
    with "tags_not_listed" for each tag left out because Tags.xml does not have it.
    """
    questions: dict[str, list[Any]] = {}
    answers: dict[str, list[list[Any]]] = {}
    lost: set[str] = set()
    for row in bucket.rows:
        if row[0] == ASKED:
            questions[row[1]] = row
        elif row[0] == ANSWERED:
            answers.setdefault(row[2], []).append(row)
        else:
            lost.add(row[1])
    votes: dict[int, tuple[int, int]] = {}
    numbers = [int(row[1]) for row in bucket.rows if row[0] != LOST]
    for folder in bucket.folders:
        votes |= Votes.counts(folder, numbers)
    known = _known_tags(bucket.folders)

    def post(row: list[Any], parent: str | None, link: str, accepted: bool) -> Post | None:
        text = to_markdown(row[4], lambda: reading.note("bodies_as_plain_text"))
        if not text:
            reading.drop("empty_body")
            return None
        author, created, _ = row[-3:]
        up, down = votes.get(int(row[1]), (None, None))
        return Post(
            id=row[1],
            parent=parent,
            author=_profile(author, bucket.part),
            created=created,
            text=text,
            votes=row[3],
            accepted=accepted,
            url=f"https://{bucket.part}/{link}/{row[1]}",
            up=up,
            down=down,
        )

    for question in questions.values():
        own, accepted = question[1:3]
        replies = answers.pop(own, ())
        if len(replies) < settings.min_answers:  # before the Markdown, which takes most of the time
            reading.too_few_answers(bucket.part, (own, *(row[1] for row in replies)))
            continue
        opening = post(question, None, "q", accepted=False)
        if opening is None:
            for _ in replies:
                reading.drop("answer_of_dropped_question")
            continue
        posts = [post(row, own, "a", accepted=row[1] == accepted) for row in replies]
        title, tags = question[5] or "", _TAG.findall(question[6] or "")
        yield Thread(
            id=own,
            source=bucket.part,
            title=" ".join(title.split()),
            tags=_listed(tags, known, reading),
            posts=(opening, *(each for each in posts if each is not None)),
            url=opening.url,
            license=question[-1] or "CC BY-SA",
        )
    for parent, orphans in answers.items():
        of_dropped = parent in lost
        for _ in orphans:
            reading.drop("answer_of_dropped_question" if of_dropped else "answer_question_missing")


def _profile(author: str | None, site: str) -> str | None:
    if author is None:
        return None
    return f"https://{site}/users/{author[1:]}" if author[0] == "#" else author[1:]


def _known_tags(folders: Sequence[Path]) -> set[str]:
    files = (folder / TAGS for folder in folders)
    return {tag for file in files if file.exists() for tag in orjson.loads(file.read_bytes())}


def _listed(tags: list[str], known: set[str], reading: Reading) -> tuple[str, ...]:
    """The tags that Tags.xml lists; all of them where there is no Tags.xml."""
    if not known:
        return tuple(tags)
    listed = tuple(tag for tag in tags if tag in known)
    for _ in range(len(tags) - len(listed)):
        reading.note("tags_not_listed")
    return listed
