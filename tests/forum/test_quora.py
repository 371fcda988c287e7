"""Question and answer rows: grouped whatever their order, ids or none, JSON lines or CSV."""

import csv
import gzip
import itertools
import random
from collections import Counter

import pytest
from dumps import write_lines

from worldpm.errors import DataError
from worldpm.forum.forums import read_threads
from worldpm.forum.quora import QuoraSettings
from worldpm.forum.reading import Reading


def row(question, answer, upvotes, **more):
    return {"question": question, "answer": answer, "upvotes": upvotes} | more


def read(tmp_path, *rows, path=None, **settings):
    settings = {"min_answers": 0, **settings}
    path = path or write_lines(tmp_path / "quora.jsonl", *rows)
    dropped = Counter()
    reading = Reading(lambda r: dropped.update([r]), lambda n: None)
    return list(read_threads("quora", [path], QuoraSettings(**settings), reading)), dropped


def test_rows_of_a_question_are_one_thread(tmp_path):
    """Question, details, answers in the order of their times, up-votes as votes and as ups."""
    (thread,), dropped = read(
        tmp_path,
        row("Why?", "Later.", 2, question_id=7, answer_id="b", created="2020", details="Really."),
        row("Why?", "First.", 12, question_id=7, answer_id=1, created="2019", author="jo",
            url="https://q/7", answer_url="https://q/7/1", details="Really."),
    )  # fmt: skip
    assert not dropped
    assert (thread.id, thread.source, thread.title) == ("7", "quora", "Why?")
    assert (thread.question.text, thread.url) == ("Really.", "https://q/7")
    first, second = thread.answers
    assert (first.text, first.votes, first.up, first.down) == ("First.", 12, 12, None)
    assert (first.id, first.author, first.url) == ("7/1", "jo", "https://q/7/1")
    assert second.text == "Later."


def test_without_ids_equal_questions_are_one(tmp_path):
    """Case and blanks do not make another question; equal answers are one answer."""
    threads, dropped = read(
        tmp_path,
        row("Why is  it?", "A", 1),
        row("why is it?", "B", 2),
        row("Why is it?", " a ", 5),
        row("Why was it?", "A", 1),
    )
    assert sorted(len(thread.answers) for thread in threads) == [1, 2]
    assert dropped == {"repeated_id": 1}


BAD = {
    "no_question": row(" ", "a", 1),
    "malformed_question": row(3, "a", 1),
    "empty_body": row("q", "\n&#x200B;", 1),
    "malformed_answer": row("q", ["a"], 1),
    "no_score": row("q", "a", None),
    "malformed_score": row("q", "a", "1.2k"),
    "malformed_id": row("q", "a", 1, question_id={}),
}


def test_each_row_left_out_has_its_reason(tmp_path):
    """A drop for each wrong row; down-votes and true are no up-votes."""
    for reason, bad in BAD.items():
        threads, dropped = read(tmp_path, row("q", "b", 2), bad)
        assert dropped == {reason: 1}
        assert len(threads[0].posts) == 2
    for wrong in (-1, True, 2.5, 1e300, "", [], float(10**18)):
        _, dropped = read(tmp_path, row("q", "b", 2), row("q", "a", wrong))
        assert dropped.total() == 1
    for right in (3, "3", 3.0, " 3 "):
        (thread,), _ = read(tmp_path, row("q", "a", right))
        assert thread.answers[0].votes == 3


def test_ids_from_tables_with_gaps(tmp_path):
    """12.0 is 12, as it is of votes; a float that stands for several integers is no id."""
    threads, dropped = read(
        tmp_path,
        row("q", "a", 1.0, question_id=12.0, answer_id=3.0),
        row("q", "b", 2, question_id=12, answer_id="4"),
        row("q", "c", 2, question_id=2.0**53),
        row("q", "d", 2, question_id=1.5),
    )
    assert [[post.id for post in thread.posts] for thread in threads] == [["12", "12/3", "12/4"]]
    assert dropped == {"malformed_id": 2}


def test_neither_order_nor_shards_matter(tmp_path):
    """Shuffled rows and any number of shards give the same threads."""
    rows = [row(f"q{n % 9}", f"a{n}", n % 5, question_id=n % 9) for n in range(60)]
    rows += [row("q1", "a10", 77, question_id=1), row("q1?", "a11", 1, question_id=1)]
    expected, dropped = read(tmp_path, *rows)
    for seed, shard_bytes in itertools.product(range(3), (64_000_000, 1000)):
        random.Random(seed).shuffle(rows)
        threads, again = read(tmp_path, *rows, shard_bytes=shard_bytes)
        assert sorted(threads, key=lambda t: t.id) == expected
        assert again == dropped


def test_csv_gives_the_same_as_json_lines(tmp_path):
    """Quoted commas, quotes and line ends; the marks that Windows writes."""
    rows = [row("Why, then?", 'He said "no".\n\nTwice.', 3), row("Why, then?", "Yes", 1)]
    path = tmp_path / "quora.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert read(tmp_path, path=path) == read(tmp_path, *rows)


def test_csv_is_told_by_its_ending_in_any_case(tmp_path):
    """As Windows names it, packed or not."""
    text = "question,answer,upvotes\na,b,1\n"
    (tmp_path / "Q.CSV").write_text(text)
    (tmp_path / "Q.Csv.GZ").write_bytes(gzip.compress(text.encode()))
    for name in ("Q.CSV", "Q.Csv.GZ"):
        assert read(tmp_path, path=tmp_path / name) == read(tmp_path, row("a", "b", 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,reply\na,b\n", r"q\.csv: its head line lacks the columns answer, upvotes"),
        ("question,answer,upvotes,url,url\na,b,1,x,y\n", r"q\.csv: .* column url more than once"),
        ("", r"q\.csv: its head line lacks"),
        ('question,answer,upvotes\na,"b"x,1\n', r"q\.csv:2: not valid CSV"),
        ('question,answer,upvotes\na,"b,1\n', r"q\.csv:2: not valid CSV"),
    ],
)
def test_a_csv_that_is_none_is_an_error(tmp_path, text, message):
    """The line and what is wrong with it."""
    (tmp_path / "q.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path, path=tmp_path / "q.csv")


def test_csv_rows_of_the_wrong_width_are_counted(tmp_path):
    """A comma that was not quoted moves every cell behind it."""
    (tmp_path / "q.csv").write_text("question,answer,upvotes\na,b,1\na,b,c,1\na,b\n")
    threads, dropped = read(tmp_path, path=tmp_path / "q.csv")
    assert len(threads) == 1
    assert dropped == {"malformed_row": 2}


def test_html_is_converted_on_request(tmp_path):
    """Exports that hold HTML."""
    (thread,), _ = read(tmp_path, row("<b>Why</b>?", "<p>So</p><p>it</p>", 1), format="html")
    assert (thread.title, thread.answers[0].text) == ("**Why**?", "So\n\nit")
