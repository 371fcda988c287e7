"""Question and answer rows, as exports of Quora come -> threads.

    {"question": "Why is the sky blue?", "answer": "Rayleigh scattering.", "upvotes": 12}

In: JSON lines (compressed or not) or CSV with a head line, one row an answer, in any order:

    question      text, needed
    answer        text, needed
    upvotes       integer, needed
    question_id   text or integer; without it, equal questions (case and blanks ignored) are one
    answer_id     text or integer; without it, equal answers are one
    details, url, author, created, answer_url: texts, optional

Out: threads in the order of (shard, id), answers by time and id. Quora has no public dump; this
form is what scrapes and exports are brought to. Rows are grouped on disk, so memory is bounded.
"""

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from worldpm.errors import DataError
from worldpm.forum.lines import MAX_LINE_BYTES, json_rows, text_lines
from worldpm.forum.markup import markdown_of
from worldpm.forum.reading import Bucket, Count, ForumSettings, Reading, id_of, text_of, votes_of
from worldpm.forum.shards import Shards
from worldpm.records import Post, Thread

NEEDED = ("question", "answer", "upvotes")
COLUMNS = (
    *NEEDED, "question_id", "answer_id", "details", "url", "author", "created", "answer_url",
)  # fmt: skip


class QuoraSettings(ForumSettings):
    """How question and answer rows are read."""

    format: Literal["markdown", "html"] = "markdown"
    """What the texts are written in; plain text is Markdown too."""


def scatter(path: Path, settings: QuoraSettings, reading: Reading, shards: Shards) -> None:
    """Put each row of a file with those of its question, or drop it by its reason.

    Raises DataError for files that cannot be read, and for a CSV without the needed columns or with
    one of its columns twice.
    """
    csv_file = ".csv" in map(str.lower, path.suffixes[-2:])
    for row in _csv_rows(path, reading.drop) if csv_file else json_rows(path, reading.drop):
        _scatter(row, settings, reading, shards)


def _csv_rows(path: Path, drop: Count) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.DictReader(text_lines(path), strict=True)
    try:
        names = list(reader.fieldnames or ())
        if doubled := [name for name in COLUMNS if names.count(name) > 1]:
            raise DataError(
                f"{path}: its head line has the column {doubled[0]} more than once; keep the one "
                "that counts"
            )
        if missing := set(NEEDED) - set(names):
            raise DataError(
                f"{path}: its head line lacks the columns {', '.join(sorted(missing))}; known are "
                f"{', '.join(COLUMNS)}"
            )
        for row in reader:
            # More cells than the head line has: a comma or a quote that was not escaped.
            if None in row or None in row.values():
                drop("malformed_row")
            else:
                yield row
    except csv.Error as error:
        raise DataError(f"{path}:{reader.reader.line_num}: not valid CSV: {error}") from None


def _scatter(
    row: dict[str, Any], settings: QuoraSettings, reading: Reading, shards: Shards
) -> None:
    def markdown(key: str) -> str:
        return markdown_of(
            row.get(key), settings.format, lambda: reading.note("bodies_as_plain_text")
        )

    votes = votes_of(row.get("upvotes"))
    wrong = [key for key in ("question", "answer") if not isinstance(row.get(key), str | None)]
    question, answer = " ".join(markdown("question").split()), markdown("answer")
    reason = None
    if wrong:
        reason = f"malformed_{wrong[0]}"
    elif not question:
        reason = "no_question"
    elif isinstance(votes, str):
        reason = votes
    elif votes < 0:
        reason = "malformed_score"
    elif not answer:
        reason = "empty_body"
    ids = {}
    for key, text in (("question_id", question), ("answer_id", answer)):
        given = row.get(key)
        ids[key] = _digest(text) if given is None or given == "" else id_of(given)
        if ids[key] is None:
            reason = reason or "malformed_id"
    if reason is not None:
        reading.drop(reason)
        return
    key = str(ids["question_id"])
    more = [text_of(row.get(name)) for name in ("created", "author", "url", "answer_url")]
    shards.add(key, [key, ids["answer_id"], votes, question, markdown("details"), answer, *more])


def _digest(text: str) -> str:
    """A name for what has none: equal texts, case and blanks ignored, have the same."""
    return hashlib.blake2b(" ".join(text.split()).casefold().encode(), digest_size=8).hexdigest()


def join(bucket: Bucket, settings: QuoraSettings, reading: Reading) -> Iterator[Thread]:
    """Yield the threads of one shard's rows."""
    shard = bucket.rows
    # The whole row orders those of one question and answer, whatever came first.
    shard.sort(key=lambda row: (row[0], row[6] or "", row[1], repr(row)))
    questions: dict[str, dict[str, list[Any]]] = {}
    for row in shard:
        answers = questions.setdefault(row[0], {})
        if row[1] in answers:
            reading.drop("repeated_id")
        else:
            answers[row[1]] = row
    for question_id, answers in questions.items():
        first = next(iter(answers.values()))
        url = first[8]
        question = Post(question_id, None, None, None, first[4], 0, url=url)
        posts = (
            Post(
                id=f"{question_id}/{answer_id}",
                parent=question_id,
                author=row[7],
                created=row[6],
                text=row[5],
                votes=row[2],
                url=row[9],
                up=row[2],
            )
            for answer_id, row in answers.items()
        )
        yield Thread(question_id, "quora", first[3], (), (question, *posts), url, None)
