"""The plain form for any other forum: one thread a line, wrong lines counted."""

from collections import Counter

import pytest
from dumps import write_lines

from worldpm.forum.forums import read_threads
from worldpm.forum.plain import PlainSettings
from worldpm.forum.reading import Reading

LINE = {
    "id": 7,
    "title": "Knots",
    "text": "Which knot for a swing?",
    "votes": 3,
    "author": "asker",
    "created": 1490849322,
    "url": "https://f/7",
    "license": "CC0-1.0",
    "tags": ["rope"],
    "answers": [
        {"id": "8", "text": "A bowline.", "votes": 12, "accepted": True, "created": "2017"},
        {"id": "9", "text": "A granny knot.", "up": 1, "down": 4, "author": "jo", "url": "u"},
    ],
}


def read(tmp_path, *rows, **settings):
    settings = {"min_answers": 0, **settings}
    path = write_lines(tmp_path / "boards.jsonl.gz", *rows)
    dropped = Counter()
    reading = Reading(lambda r: dropped.update([r]), lambda n: None)
    return list(read_threads("plain", [path], PlainSettings(**settings), reading)), dropped


def test_a_line_is_a_thread(tmp_path):
    """Every documented key arrives where it belongs."""
    (thread,), dropped = read(tmp_path, LINE)
    assert not dropped
    assert (thread.id, thread.source, thread.title) == ("7", "boards", "Knots")
    assert (thread.url, thread.license, thread.tags) == ("https://f/7", "CC0-1.0", ("rope",))
    question, bowline, granny = thread.posts
    assert (question.votes, question.author) == (3, "asker")
    assert question.created == "2017-03-30T04:48:42"
    assert (bowline.votes, bowline.accepted, bowline.created) == (12, True, "2017")
    assert (granny.votes, granny.up, granny.down, granny.author) == (-3, 1, 4, "jo")


def test_what_may_be_absent_may_be_null(tmp_path):
    """As tables with gaps are written: the same threads, nothing dropped."""
    line = {"id": 7, "title": "Knots", "text": "Which?"}
    answers = [{"text": "A bowline.", "votes": 2}, {"text": "A granny knot.", "up": 1, "down": 4}]
    keys = ("id", "parent", "votes", "up", "down", "accepted", "author", "created", "url")
    optional = ("votes", "author", "created", "url", "license", "tags", "source")
    gaps = {
        **dict.fromkeys(optional),
        **line,
        "answers": [{**dict.fromkeys(keys), **each} for each in answers],
    }
    threads, dropped = read(tmp_path, gaps)
    assert not dropped
    assert threads == read(tmp_path, line | {"answers": answers})[0]
    assert [post.id for post in threads[0].posts] == ["7", "7.1", "7.2"]


def test_sources_and_licences_come_from_the_line_or_the_settings(tmp_path):
    """The line goes first, then the setting, then the name of the file."""
    bare = {"id": 1, "text": "q", "answers": []}
    (thread,), _ = read(tmp_path, bare, source="s", license="L")
    assert (thread.source, thread.license) == ("s", "L")
    (thread,), _ = read(tmp_path, bare | {"source": "x", "license": "M"}, source="s", license="L")
    assert (thread.source, thread.license) == ("x", "M")


def test_parents_make_chains(tmp_path):
    """Answers to an answer are compared below it, at the depth that is asked for."""
    pairs = [("a", 7), ("b", "7"), ("c", "a"), ("d", "a")]
    answers = [{"id": own, "text": own, "votes": 1, "parent": above} for own, above in pairs]
    threads, dropped = read(tmp_path, LINE | {"answers": answers}, depth=2)
    assert [[p.id for p in t.posts] for t in threads] == [["7", "a", "b"], ["7", "a", "c", "d"]]
    assert not dropped
    assert read(tmp_path, LINE | {"answers": answers})[1] == {"reply_below_depth": 2}


LINES = {
    "malformed_id": {"id": None},
    "malformed_answers": {"answers": {}},
    "malformed_score": {"votes": "many"},
    "empty_body": {"title": " ", "text": None},
    "repeated_id": {"id": "1"},
}
ANSWERS = {
    "malformed_id": {"id": [], "text": "a", "votes": 1},
    "no_score": {"text": "a", "up": 3},
    "malformed_score": {"text": "a", "up": -1, "down": 2},
    "empty_body": {"text": " ", "votes": 1},
    "malformed_body": {"text": 3, "votes": 1},
    "repeated_id": {"id": "8", "text": "a", "votes": 1},
    "not_an_object": "a",
}


@pytest.mark.parametrize("reason", LINES)
def test_a_wrong_line_is_dropped_with_its_answers(tmp_path, reason):
    """The line under its reason, its answers as those of a dropped question."""
    threads, dropped = read(tmp_path, LINE | {"id": 1}, LINE | LINES[reason])
    assert [thread.id for thread in threads] == ["1"]
    lost = 0 if reason == "malformed_answers" else 2
    assert dropped == Counter({reason: 1}) + Counter({"answer_of_dropped_question": lost})


@pytest.mark.parametrize("reason", ANSWERS)
def test_a_wrong_answer_is_dropped_alone(tmp_path, reason):
    """The others of its thread stay."""
    (thread,), dropped = read(tmp_path, LINE | {"answers": [*LINE["answers"], ANSWERS[reason]]})
    assert len(thread.answers) == 2
    assert dropped == {reason: 1}


WRONG = [None, True, 3, -1, 2.5, "x", "", [], {}, [[3]], {"id": {}}, 10**18, 1e300]


def test_any_field_may_be_of_any_type(tmp_path):
    """Lines and answers with one wrong field: never an exception, every post counted."""
    rows = [LINE | {key: value} for key in LINE for value in WRONG]
    first, second = LINE["answers"]
    for key in {**first, **second, "parent": 1}:
        rows += [LINE | {"answers": [first, second | {key: value}]} for value in WRONG]
    for row in rows:
        threads, dropped = read(tmp_path, row, depth=3)
        answers = row["answers"] if isinstance(row["answers"], list) else []
        assert sum(len(t.posts) for t in threads) + dropped.total() == 1 + len(answers)
