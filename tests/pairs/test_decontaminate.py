"""Benchmarks' texts in comparisons: found in seven disguises, and not where they are not."""

import random
from pathlib import Path

import pytest
from leaks import KINDS, comparisons, leak, with_texts

from worldpm.pairs.decontaminate import DecontaminateSettings, Hit, Index, write_index
from worldpm.records import Comparison, Message

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="module")
def benchmark():
    return [("quiz", each) for each in comparisons(300, seed=1, source="quiz")]


@pytest.fixture(scope="module")
def index(benchmark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    assert write_index(benchmark, DecontaminateSettings(), folder) == {"quiz": 300}
    return Index(folder)


def test_two_hundred_leaks_of_seven_kinds_are_found(benchmark, index):
    """Each planted text is found under its own row's name, and nothing in what is clean."""
    chance = random.Random(3)
    clean = list(comparisons(200, seed=2))
    missed = []
    for number, thread in enumerate(clean):
        kind = KINDS[number % len(KINDS)]
        row = chance.choice(benchmark)[1]
        text = row.prompt[0].content if number % 2 else row.replies[number % 3 % 2][0].content
        hits = index.search(leak(kind, text, thread, chance))
        if row.id not in {hit.row for hit in hits}:
            missed.append((kind, row.id))
    assert missed == []
    assert [each.id for each in clean if index.search(each)] == []


def test_a_hit_says_what_is_where(benchmark, index):
    """The benchmark's row and place, the thread's place, the kind, and how much of it."""
    row = benchmark[7][1]
    thread = next(comparisons(1, seed=9))
    text = row.replies[1][0].content
    replies = [thread.replies[0][0].content, f"I found this: {text}"]
    (hit,) = index.search(with_texts(thread, thread.prompt[0].content, replies))
    assert hit == Hit("forum", "0", "reply 1", "quiz", "7", "reply 1", "ngram", 1.0)
    half = " ".join(text.split()[: len(text.split()) // 2 + 6])
    (hit,) = index.search(with_texts(thread, half, ["a", "b"]))
    assert (hit.where, hit.kind) == ("prompt", "ngram")
    assert 0 < hit.overlap < 1


def row(name, prompt, *replies):
    return Comparison(
        name,
        "b",
        None,
        (Message("user", prompt),),
        tuple((Message("assistant", reply),) for reply in replies),
    )


SHORT = "How do bees find their way home?"


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        (SHORT.lower(), "prompt"),
        (f"Title: {SHORT}\n\nThey fly far.", "title"),
        (f"Title: Bees\n\n**{SHORT}**", "body"),
        (f"I wonder. {SHORT} They fly far.", None),
    ],
)
def test_short_texts_are_found_whole(tmp_path, prompt, found):
    """A text of fewer than 13 words is a hit as a whole post or title, not inside one."""
    write_index([("b", row("1", SHORT, "Yes."))], DecontaminateSettings(), tmp_path)
    hits = Index(tmp_path).search(row("t", prompt, "By the sun.", "No idea."))
    assert [(hit.where, hit.kind) for hit in hits] == ([(found, "whole")] if found else [])


def test_short_phrases_are_nobodys(tmp_path):
    """`Yes.` is a benchmark's reply, and everybody's."""
    write_index([("b", row("1", SHORT, "Yes, of course."))], DecontaminateSettings(), tmp_path)
    assert Index(tmp_path).search(row("t", "Is it?", "Yes, of course.", "No.")) == []


WRAPPER = "Please read the following question carefully and then give the best answer you can:"


def test_what_many_prompts_have_is_nobodys(tmp_path):
    """A wrapper around ten prompts is no leak, around three it is; the prompts always are."""
    rows = [
        ("b", row(each.id, f"{WRAPPER} {each.prompt[0].content}", "x"))
        for each in comparisons(10, seed=4)
    ]
    wrapped = row("t", f"{WRAPPER} is it blue?", "a", "b")
    write_index(rows, DecontaminateSettings(), tmp_path / "ten")
    assert Index(tmp_path / "ten").search(wrapped) == []
    assert Index(tmp_path / "ten").search(rows[3][1])
    write_index(rows[:3], DecontaminateSettings(), tmp_path / "three")
    assert Index(tmp_path / "three").search(wrapped)


def test_replies_to_one_prompt_are_one_prompts(tmp_path):
    """What all twelve replies to a prompt begin with is still that prompt's."""
    opening = "First of all let me thank you for this truly rather wonderful question about bees"
    rows = [("b", row(str(n), SHORT, f"{opening} number {n} of many")) for n in range(12)]
    write_index(rows, DecontaminateSettings(), tmp_path)
    assert Index(tmp_path).search(row("t", "Hm", f"{opening} and flowers", "b"))


@pytest.mark.parametrize(
    "text",
    [
        " ".join(map(str, range(1, 30))),
        "0 1 0 0 1 1 0 1 0 0 0 1 1 0 1 0 1 0",
        "x_train, x_test, y_train, y_test = train_test_split(x, y, 1)",
    ],
)
def test_matrices_and_counting_are_nobodys(tmp_path, text):
    """Runs that are hardly of words are in texts that have nothing in common."""
    asked = "What follows after this line, and how would you explain it to somebody new to it all?"
    rows = [("b", row("1", f"{asked} {text}", "x"))]
    write_index(rows, DecontaminateSettings(), tmp_path)
    assert Index(tmp_path).search(row("t", f"My output is {text} every time", "a", "b")) == []


def test_the_same_index_in_any_order(benchmark, tmp_path):
    """Arrays of runs are sorted; only the first name of a text that two rows have differs."""
    for name, rows in {"a": benchmark, "b": benchmark[::-1]}.items():
        write_index(rows, DecontaminateSettings(), tmp_path / name)
    for kind in ("ngram", "whole", "near"):
        files = [tmp_path / name / f"{kind}.runs.npy" for name in "ab"]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_no_benchmark_rows_at_all(tmp_path):
    """An index of nothing finds nothing."""
    write_index([], DecontaminateSettings(), tmp_path)
    assert Index(tmp_path).search(row("t", SHORT, "a", "b")) == []


def test_near_can_ask_for_all(benchmark, tmp_path):
    """Then typos and splits go by; runs of 13 words do not."""
    write_index(benchmark, DecontaminateSettings(near=1), tmp_path)
    index, chance = Index(tmp_path), random.Random(1)
    thread = next(comparisons(1, seed=9))
    text = " ".join(benchmark[0][1].prompt[0].content.split()[:22])
    assert index.search(leak("split", text, thread, chance)) == []
    assert index.search(leak("verbatim", text, thread, chance))


@pytest.mark.skipif(not (SHARED / "evals" / "llmbar").is_dir(), reason="llmbar is not here")
def test_real_rows_planted_are_found():
    """200 real rows of LLMBar and RewardBench of 32 or more words, in seven disguises."""
    from tempfile import TemporaryDirectory

    from worldpm.evals.suites import read_suite

    rows = [
        (name, each)
        for name in ("llmbar", "rewardbench")
        for each in read_suite(name, SHARED / "evals" / name)
    ]
    chance = random.Random(5)
    texts = sorted(
        {
            message.content
            for _, each in rows
            for message in (each.prompt[-1], each.replies[0][0])
            if len(message.content.split()) >= 32 and message.content.isascii()
        }
    )
    with TemporaryDirectory() as folder:
        write_index(rows, DecontaminateSettings(), Path(folder))
        index = Index(Path(folder))
        missed = []
        for number, thread in enumerate(comparisons(200, seed=6)):
            kind = KINDS[number % len(KINDS)]
            if not index.search(leak(kind, chance.choice(texts), thread, chance)):
                missed.append(kind)
    assert missed == []
