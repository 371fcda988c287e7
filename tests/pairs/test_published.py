"""Published sets: each reader on a few rows in its authors' own form."""

import gzip
from collections import Counter

import orjson
import pytest

from worldpm.errors import DataError
from worldpm.pairs.published import PUBLISHED
from worldpm.records import Edge, Message


def write(path, rows):
    """JSON (a list), JSON lines, or gzipped JSON lines, by the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_bytes(orjson.dumps(rows))
    else:
        data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def read(name, path):
    dropped = Counter()
    found = list(PUBLISHED[name](path, lambda reason: dropped.update([reason])))
    return found, dict(dropped)


def texts(comparison):
    return ["|".join(message.content for message in reply) for reply in comparison.replies]


def edges(comparison):
    return [(edge.winner, edge.loser, edge.margin) for edge in comparison.better]


def user(content):
    return Message("user", content)


def assistant(content):
    return Message("assistant", content)


def test_hh_rlhf(tmp_path):
    """Dialogues are cut where they part; the folder is the subset; no choice is a drop."""
    start = "\n\nHuman: Hi\n\nAssistant: Yes?"
    rows = [
        {
            "chosen": f"{start}\n\nHuman: Go\n\nAssistant: a",
            "rejected": f"{start}\n\nHuman: Go\n\nAssistant: b",
        },
        {
            "chosen": f"{start}\n\nHuman: Go\n\nAssistant: a",
            "rejected": f"{start}\n\nHuman: No\n\nAssistant: b",
        },
        {"chosen": start, "rejected": start},
        {"chosen": f"{start}\n\nHuman: Go", "rejected": start},
    ]
    write(tmp_path / "helpful-base" / "test.jsonl.gz", rows)
    write(tmp_path / "harmless-base" / "train.jsonl.gz", rows[:1])
    found, dropped = read("hh-rlhf", tmp_path)
    assert [comparison.id for comparison in found] == [
        "harmless-base/train/1",
        "helpful-base/test/1",
        "helpful-base/test/2",
    ]
    assert {comparison.subset for comparison in found} == {"harmless-base", "helpful-base"}
    assert found[0].prompt == (user("Hi"), assistant("Yes?"), user("Go"))
    assert [texts(comparison) for comparison in found[1:]] == [["a", "b"], ["Go|a", "No|b"]]
    assert all(comparison.better == (Edge(0, 1),) for comparison in found)
    assert dropped == {"identical_replies": 1, "ends_with_the_user": 1}
    assert len(found) + sum(dropped.values()) == 5


def test_qa_feedback(tmp_path):
    """Four answers, an edge for each decided pair, passages under the question."""
    row = {
        "question": "Who?",
        "passages": [["Title", "Title\n\nOne. ", "Two."], ["Other", "Three."]],
        "preference": [1, 2, 0, 0, 0, 2],
        **{f"prediction {number}": f"p{number}" for number in range(1, 5)},
    }
    write(tmp_path / "dev_feedback.json", [row, row | {"preference": [0] * 6}])
    (comparison,), dropped = read("qa-feedback", tmp_path)
    assert edges(comparison) == [(0, 1, None), (2, 0, None), (3, 2, None)]
    assert texts(comparison) == ["p1", "p2", "p3", "p4"]
    (asked,) = comparison.prompt
    assert asked.content == (
        "Who?\n\nAnswer from these passages.\n\nTitle\n\nOne. Two.\n\nOther\n\nThree."
    )
    assert dropped == {"all_tied": 1}


def test_ukpconvarg(tmp_path):
    """One comparison a debate side: every argument once, every judged pair an edge."""
    lines = ["#id\tlabel\ta1\ta2", "x1_x2\ta1\tone\ttwo <br/> more", "x3_x1\ta2\tthree\tone"]
    (tmp_path / "is-tea-good-_yes-it-is-.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "empty_no.csv").write_text("#id\tlabel\ta1\ta2\n")
    (comparison,), dropped = read("ukpconvarg", tmp_path)
    assert comparison.prompt[0].content.startswith("Debate: Is tea good\nSide: Yes it is\n\n")
    assert texts(comparison) == ["one", "two\nmore", "three"]
    assert edges(comparison) == [(0, 1, None), (0, 2, None)]
    assert comparison.meta == {"arguments": ["x1", "x2", "x3"]}
    assert dropped == {"no_judged_pair": 1}


def test_oasst_zh(tmp_path):
    """Answers come best first: each beats all that follow; history is the turns before."""
    row = {
        "instruction": "\u8c22\u8c22",
        "input": "",
        "output": ["a", "b", "c"],
        "history": [["q", "r"]],
    }
    write(tmp_path / "rm.json", [row, row | {"output": ["a"]}])
    (comparison,), dropped = read("oasst-zh", tmp_path)
    assert comparison.prompt == (user("q"), assistant("r"), user("\u8c22\u8c22"))
    assert {pair[:2] for pair in edges(comparison)} == {(0, 1), (0, 2), (1, 2)}
    assert dropped == {"only_one_answer": 1}


def test_tldr(tmp_path):
    """The label, not the place, says which summary won."""
    row = {"id": "x", "prompt": "Long.", "response_a": " s", "response_b": " t", "label": "A"}
    rows = [row, row | {"id": "y", "label": "B"}, row | {"response_b": " s"}]
    write(tmp_path / "t.jsonl", rows)
    (first, second), dropped = read("tldr", tmp_path)
    assert first.prompt == (user("Long.\n\nTL;DR:"),)
    assert texts(first) == texts(second) == ["s", "t"]
    assert (edges(first), edges(second)) == ([(0, 1, None)], [(1, 0, None)])
    assert dropped == {"identical_replies": 1}


def test_ultrafeedback(tmp_path):
    """Completions with overall scores; the row's source is the subset; ties are counted."""
    row = {
        "source": "flan",
        "instruction": "Do",
        "completions": [
            {"model": "m1", "response": "a", "overall_score": 3.0},
            {"model": "m2", "response": "b", "overall_score": 7.5},
        ],
    }
    tie = [{**completion, "overall_score": 5.0} for completion in row["completions"]]
    rows = [row, row | {"completions": tie}, row | {"completions": tie[:1]}]
    write(tmp_path / "flan.jsonl", rows)
    (comparison,), dropped = read("ultrafeedback", tmp_path)
    assert (comparison.source, comparison.subset, comparison.id) == (
        "ultrafeedback",
        "flan",
        "flan/1",
    )
    assert edges(comparison) == [(1, 0, 4.5)]
    assert comparison.meta == {"models": ["m1", "m2"]}
    assert dropped == {"all_scores_equal": 1, "only_one_answer": 1}


def test_helpsteer2_ratings(tmp_path):
    """Two neighbouring rows of one prompt are a pair; helpfulness decides; extra files are left."""
    many = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nGo"
    rows = [
        {"prompt": many, "response": "a", "helpfulness": 1},
        {"prompt": many, "response": "b", "helpfulness": 4},
        {"prompt": "p", "response": "a", "helpfulness": 2},
        {"prompt": "p", "response": "b", "helpfulness": 2},
        {"prompt": "alone", "response": "b", "helpfulness": 2},
        {"prompt": "last", "response": "b", "helpfulness": 2},
    ]
    write(tmp_path / "train.jsonl.gz", rows)
    write(tmp_path / "preference" / "preference.jsonl.gz", [{"prompt": "not read"}])
    (comparison,), dropped = read("helpsteer2", tmp_path)
    assert comparison.prompt == (user("Hi"), assistant("Hello"), user("Go"))
    assert (texts(comparison), edges(comparison)) == (["a", "b"], [(1, 0, 3.0)])
    assert dropped == {"all_scores_equal": 1, "only_one_answer": 2}


def test_helpsteer2_preferences(tmp_path):
    """Strength runs from -3, the first is better, to 3, the second is."""
    row = {"split": "train", "prompt": "p", "response_1": "a", "response_2": "b"}
    rows = [row | {"preference_strength": strength} for strength in (-2, 3, 0)]
    write(tmp_path / "preference.jsonl.gz", rows)
    found, dropped = read("helpsteer2", tmp_path / "preference.jsonl.gz")
    assert [edges(comparison) for comparison in found] == [[(0, 1, 2.0)], [(1, 0, 3.0)]]
    assert dropped == {"all_scores_equal": 1}


def test_pairs(tmp_path):
    """Any row shape with a preference; rows without one are counted."""
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "replies": ["a"]}]
    write(tmp_path / "mine.jsonl", rows)
    (comparison,), dropped = read("pairs", tmp_path / "mine.jsonl")
    assert (comparison.source, edges(comparison)) == ("mine", [(0, 1, None)])
    assert dropped == {"no_preference": 1}


BAD = {
    "hh-rlhf": ("a.jsonl", [{"chosen": "plain", "rejected": "b"}], "a.jsonl:1: does not begin"),
    "qa-feedback": ("a.json", [{"preference": [1]}], "a.json: row 1: preference must be a list"),
    "oasst-zh": ("a.json", [{"output": "x"}], "output must be a list of texts"),
    "tldr": ("a.jsonl", [{"label": "C"}], "a.jsonl:1: label must be A or B, not 'C'"),
    "helpsteer2": (
        "train.jsonl",
        [{"prompt": "p", "response": "a"}],
        "helpfulness must be a number",
    ),
    "ultrafeedback": ("a.jsonl", [{"completions": [{}, {}]}], r"a.jsonl:1: completions\[0\]"),
    "pairs": ("a.jsonl", [{"prompt": "p"}], "a.jsonl:1: has none of the keys"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_of_another_kind_are_errors(tmp_path, name):
    """A file of something else is named with its row, never half read."""
    file, rows, message = BAD[name]
    write(tmp_path / file, rows)
    with pytest.raises(DataError, match=message):
        read(name, tmp_path / file)


def test_bad_debates_are_errors(tmp_path):
    """Cells and labels are checked line by line."""
    path = tmp_path / "a_b.csv"
    for line in ("x_y\ta3\tone\ttwo", "x_y\ta1\tone", "x\ta1\tone\ttwo"):
        path.write_text(f"#id\n{line}\n")
        with pytest.raises(DataError, match=r"a_b\.csv:2: not a row"):
            read("ukpconvarg", path)


@pytest.mark.parametrize(
    ("name", "file", "row", "message"),
    [
        ("oasst-zh", "a.json", {"history": [["x"]]}, "history must hold pairs"),
        ("oasst-zh", "a.json", {"history": [7]}, "history must hold pairs"),
        ("oasst-zh", "a.json", {"input": 3}, "input must be text"),
        ("ultrafeedback", "a.jsonl", {"completions": ["b", "c"]}, "completions must be a list"),
        ("ultrafeedback", "a.jsonl", {"completions": 4}, "completions must be a list"),
        ("ultrafeedback", "a.jsonl", {"source": 4}, "source"),
    ],
)
def test_fields_of_another_kind_are_errors(tmp_path, name, file, row, message):
    """A field that is not what its authors publish is an error with the row, not a traceback."""
    completions = [{"response": str(i), "overall_score": i} for i in range(2)]
    whole = {"instruction": "?", "output": ["a", "b"], "completions": completions, **row}
    write(tmp_path / file, [whole])
    with pytest.raises(DataError, match=message):
        read(name, tmp_path / file)
