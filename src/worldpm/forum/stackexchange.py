"""A Stack Exchange dump -> threads.

    read_stackexchange(Path("ai.stackexchange.com.7z"), drop)  ->  Thread, Thread, ...

In: an official `SITE.7z` (streamed, never unpacked to disk), a `Posts.xml`, or a folder that holds
one; `Votes.xml` and `Tags.xml` beside it are read where present. Out: threads in the order of
their questions; a thread's answers in file order, bodies as Markdown. Every row that does not
become a post is reported to `drop` under a named reason.

Answers may stand before their question, so one site's rows are held in memory, as HTML; they
become records one thread at a time.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from worldpm.errors import DataError
from worldpm.forum.archive import feed_members
from worldpm.forum.markup import to_markdown
from worldpm.records import Post, Thread

Drop = Callable[[str], None]
CHUNK_BYTES = 1 << 20
QUESTION, ANSWER = "1", "2"
OTHER_POST_TYPES = {
    "3": "wiki_post",
    "4": "tag_wiki_excerpt",
    "5": "tag_wiki",
    "6": "moderator_nomination",
    "7": "wiki_placeholder",
    "8": "privilege_wiki",
}
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_TAG = re.compile(r"[^<>|\s]+")


@dataclass(slots=True)
class _Row:
    id: str
    parent: str | None
    accepted: str | None
    score: int
    body: str
    title: str
    tags: tuple[str, ...]
    author: str | None
    created: str | None
    license: str


@dataclass(slots=True)
class _Site:
    """What has been read of one site so far; `drop` hears of each row that is left out."""

    drop: Drop
    note: Drop
    name: str
    known_tags: set[str] = field(default_factory=set)
    votes: dict[str, list[int]] = field(default_factory=dict)  # post id -> [up, down]
    questions: dict[str, _Row] = field(default_factory=dict)
    answers: dict[str, list[_Row]] = field(default_factory=dict)  # by question id
    dropped_questions: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)


def read_stackexchange(path: Path, drop: Drop, note: Drop = lambda name: None) -> Iterator[Thread]:
    """Yield the threads of one site's dump; `drop(reason)` is called once for each row left out.

    `note` is called with "bodies_as_plain_text" for each post kept without its markup, and
    with "tags_not_listed" for each tag left out because Tags.xml does not have it.

    The site's name, and with it every link, comes from the name of the archive or folder.
    Raises DataError naming the archive and member for what cannot be read: damage, broken XML,
    entities, decompression bombs, names that escape, no Posts.xml.
    """
    site = _Site(drop, note, site_name(path))
    rows: dict[str, Callable[[etree._Element], None]] = {
        "Posts.xml": lambda element: _read_post(site, element),
        "Votes.xml": lambda element: _read_vote(site, element),
        "Tags.xml": lambda element: _read_tag(site, element),
    }
    if path.suffix.lower() == ".7z":
        parsers = {name: RowParser(f"{path}: {name}", row) for name, row in rows.items()}
        found = feed_members(path, {name: parser.feed for name, parser in parsers.items()})
        for name in sorted(found):
            parsers[name].close()
        if "Posts.xml" not in found:
            raise DataError(f"{path}: holds no Posts.xml; give a site's own archive")
    else:
        folder = path if path.is_dir() else path.parent
        posts = path / "Posts.xml" if path.is_dir() else path
        _parse_file(posts, rows["Posts.xml"])
        for name in ("Votes.xml", "Tags.xml"):
            if (folder / name).is_file():
                _parse_file(folder / name, rows[name])
    yield from _threads(site)


class RowParser:
    """Calls `row` with each `<row .../>` as bytes are fed, in bounded memory.

    Raises DataError, beginning with `where`, for broken XML and for any entity declaration.
    """

    def __init__(self, where: str, row: Callable[[etree._Element], None]) -> None:
        self._where, self._row = where, row
        self._parser = etree.XMLPullParser(
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
        )
        self._root: etree._Element | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        try:
            # Small bites: a parsed element is freed before the next bite is read.
            for start in range(0, len(data), CHUNK_BYTES):
                self._parser.feed(data[start : start + CHUNK_BYTES])
                self._drain()
        except etree.XMLSyntaxError as error:
            raise DataError(f"{self._where}: broken or hostile XML: {error}") from None

    def close(self) -> None:
        """End of file: what is still open is an error."""
        try:
            self._parser.close()
            self._drain()
        except etree.XMLSyntaxError as error:
            raise DataError(
                f"{self._where}: the XML ends too early or is broken: {error}"
            ) from None

    def _drain(self) -> None:
        for event, element in self._parser.read_events():
            if self._root is None:
                self._root = element
                self._refuse_entities(element)
            if event == "end" and element.getparent() is self._root:
                if element.tag == "row":
                    self._row(element)
                # The row itself stays until the next one: the parser may still add its tail.
                while element.getprevious() is not None:
                    del self._root[0]

    def _refuse_entities(self, root: etree._Element) -> None:
        dtd = root.getroottree().docinfo.internalDTD
        if dtd is not None and any(True for _ in dtd.entities()):
            raise DataError(f"{self._where}: declares XML entities, which no dump does; refused")


def _parse_file(path: Path, row: Callable[[etree._Element], None]) -> None:
    parser = RowParser(str(path), row)
    try:
        with path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                parser.feed(data)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    parser.close()


def site_name(path: Path) -> str:
    """The site that an archive, folder or Posts.xml is of, by its name."""
    whole = Path(os.path.abspath(path))  # "." has no name of its own
    name = whole.parent.name if path.suffix.lower() == ".xml" else whole.name
    # The largest site comes in an archive for each table: stackoverflow.com-Posts.7z.
    return re.sub(r"(-Posts)?(\.7z)?$", "", name, count=1, flags=re.IGNORECASE)


def _read_vote(site: _Site, row: etree._Element) -> None:
    kind = row.get("VoteTypeId")
    post = row.get("PostId")
    if post and kind in ("2", "3"):
        site.votes.setdefault(post, [0, 0])[int(kind) - 2] += 1


def _read_tag(site: _Site, row: etree._Element) -> None:
    if name := row.get("TagName"):
        site.known_tags.add(name)


def _read_post(site: _Site, row: etree._Element) -> None:
    kind = row.get("PostTypeId")
    post_id, score = row.get("Id"), row.get("Score")
    reason = None
    if kind not in (QUESTION, ANSWER):
        reason = OTHER_POST_TYPES.get(kind or "", "unknown_post_type")
    elif not post_id or not post_id.isdecimal():
        reason = "malformed_id"
    elif post_id in site.seen:
        reason = "repeated_id"
    elif score is None:
        reason = "no_score"
    elif not _NUMBER.fullmatch(score):
        reason = "malformed_score"
    elif not (row.get("Body") or "").strip():
        reason = "empty_body"
    elif kind == ANSWER and not row.get("ParentId"):
        reason = "answer_without_parent"
    if reason is not None:
        if kind == QUESTION and post_id and post_id not in site.seen:
            site.dropped_questions.add(post_id)
        site.drop(reason)
        return
    assert post_id is not None
    assert score is not None
    site.seen.add(post_id)
    record = _Row(
        id=post_id,
        parent=row.get("ParentId") if kind == ANSWER else None,
        accepted=row.get("AcceptedAnswerId"),
        score=int(score),
        body=row.get("Body", ""),
        title=row.get("Title", ""),
        tags=tuple(_TAG.findall(row.get("Tags", ""))),
        author=_author(site, row),
        created=row.get("CreationDate"),
        license=row.get("ContentLicense") or "CC BY-SA",
    )
    if record.parent is None:
        site.questions[post_id] = record
    else:
        site.answers.setdefault(record.parent, []).append(record)


def _author(site: _Site, row: etree._Element) -> str | None:
    if user := row.get("OwnerUserId"):
        return f"https://{site.name}/users/{user}"
    name: str | None = row.get("OwnerDisplayName")
    return name


def _threads(site: _Site) -> Iterator[Thread]:
    for question in site.questions.values():
        answers = site.answers.pop(question.id, [])
        opening = _post(site, question, "q", accepted=False)
        if opening is None:
            for _ in answers:
                site.drop("answer_of_dropped_question")
            continue
        posts = [opening]
        for answer in answers:
            post = _post(site, answer, "a", accepted=answer.id == question.accepted)
            if post is not None:
                posts.append(post)
        yield Thread(
            id=question.id,
            source=site.name,
            title=" ".join(question.title.split()),
            tags=_listed(site, question.tags),
            posts=tuple(posts),
            url=opening.url,
            license=question.license,
        )
    for parent, orphans in site.answers.items():
        of_dropped = parent in site.dropped_questions
        for _ in orphans:
            site.drop("answer_of_dropped_question" if of_dropped else "answer_question_missing")


def _listed(site: _Site, tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags that Tags.xml lists; all of them where there is no Tags.xml."""
    if not site.known_tags:
        return tags
    listed = tuple(tag for tag in tags if tag in site.known_tags)
    for _ in range(len(tags) - len(listed)):
        site.note("tags_not_listed")
    return listed


def _post(site: _Site, row: _Row, link: str, accepted: bool) -> Post | None:
    text = to_markdown(row.body, lambda: site.note("bodies_as_plain_text"))
    if not text:
        site.drop("empty_body")
        return None
    up, down = site.votes.get(row.id, (None, None))
    return Post(
        id=row.id,
        parent=row.parent,
        author=row.author,
        created=row.created,
        text=text,
        votes=row.score,
        accepted=accepted,
        url=f"https://{site.name}/{link}/{row.id}",
        up=up,
        down=down,
    )
