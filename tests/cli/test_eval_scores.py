"""eval --scores: what a model gave elsewhere is measured as the model itself is."""

import orjson
import pytest
from suite_folders import WRITERS, write_lines


@pytest.fixture
def mine(tmp_path):
    """Two comparisons, of two and of three replies; the first is the best of each."""
    rows = [
        {"id": "a", "prompt": "q", "replies": ["x", "yy"], "better": [[0, 1]]},
        {"id": "b", "prompt": "p", "replies": ["x", "yy", "z"], "better": [[0, 1], [0, 2]]},
    ]
    return write_lines(tmp_path / "mine.jsonl", rows)


def scores_file(folder, *rows):
    return write_lines(folder / "given.jsonl", list(rows))


def test_a_suite_exported_scored_and_measured_is_the_model_measured(worldpm, model, tmp_path):
    """export, score and eval --scores give every figure that eval of the model gives."""
    data = WRITERS["llmbar"](tmp_path / "llmbar")
    rows, scored = tmp_path / "to-score.jsonl", tmp_path / "given.jsonl"
    assert worldpm("export", "llmbar", "--data", data, "-o", rows, "-q").code == 0
    assert worldpm("score", rows, "--model", model, "-o", scored, "-q").code == 0
    flags = ("eval", "llmbar", "--data", data, "--protocol", "official", "--json", "-q")
    theirs = worldpm(*flags, "--scores", scored).json
    ours = worldpm(*flags, "--model", model, "--no-cache").json
    assert theirs["models"] == ["given"]
    for report in (theirs, ours):
        for each in [*report["evaluations"], *report["figures"]]:
            del each["model"]
    assert theirs["evaluations"] == ours["evaluations"]
    assert theirs["figures"] == ours["figures"]


def test_scores_by_score_of_ids_that_are_numbers(worldpm, model, tmp_path):
    """What `score` wrote is read: an id as the number it was, and a conversation's only score."""
    rows = [
        {"id": 7, "prompt": "q", "chosen": "x", "rejected": "yy"},
        {"messages": [{"role": "assistant", "content": "x"}]},
    ]
    path, scored = write_lines(tmp_path / "mine.jsonl", rows), tmp_path / "given.jsonl"
    assert worldpm("score", path, "--model", model, "-o", scored, "-q").code == 0
    assert [row["id"] for row in map(orjson.loads, scored.open())] == [7, "2"]
    flags = ("eval", path, "--json", "-q", "-o")
    theirs = worldpm(*flags, tmp_path / "theirs", "--scores", scored).json
    ours = worldpm(*flags, tmp_path / "ours", "--model", model, "--no-cache").json
    assert theirs["evaluations"][0]["lines"] == ours["evaluations"][0]["lines"]
    kept = [(tmp_path / name / "mine.scores.jsonl").read_bytes() for name in ("theirs", "ours")]
    assert kept[0] == kept[1]


def test_scores_are_found_by_id_and_beside_a_model(worldpm, mine, model, tmp_path):
    """The rows' order does not matter, unused ones are counted; a model may stand beside."""
    given = scores_file(
        tmp_path,
        {"id": "b", "scores": [3, 2, 4]},
        {"id": "other", "scores": [1, 2]},
        {"id": "a", "scores": [0.5, -1e-3]},
    )
    result = worldpm("eval", mine, "--scores", given, "--json")
    assert "given.jsonl: 1 rows are of none of these sets" in result.err
    assert result.json["evaluations"][0]["lines"][0]["outcome"]["accuracy"] == 0.75
    both = worldpm("eval", mine, "--scores", given, "-m", model, "--no-cache", "--json", "-q").json
    assert both["models"][1] == "given"
    assert len(both["evaluations"]) == 2


def test_rows_of_one_id_go_by_their_order(worldpm, tmp_path):
    """Two comparisons of one id in one set: the first row is the first one's."""
    rows = [
        {"id": "1", "prompt": f"q{n}", "chosen": chosen, "rejected": "no"}
        for n, chosen in enumerate(("yes", "aye"))
    ]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    given = scores_file(tmp_path, {"id": "1", "scores": [1, 0]}, {"id": "1", "scores": [0, 1]})
    found = worldpm("eval", path, "--scores", given, "--json", "-q").json
    (mistake,) = found["mistakes"]
    assert mistake["better"] == "aye"


def test_more_rows_of_an_id_than_comparisons(worldpm, tmp_path):
    """A repeated row is one; rows of another set, in which the id is another's, are an error."""
    rows = [{"id": "1", "prompt": f"q{n}", "chosen": "yes", "rejected": "no"} for n in (0, 0, 1)]
    path = write_lines(tmp_path / "mine.jsonl", rows)  # the second comparison repeats the first
    right, wrong = {"id": "1", "scores": [1, 0]}, {"id": "1", "scores": [0, 1]}
    given = scores_file(tmp_path, right, right, wrong)
    (mistake,) = worldpm("eval", path, "--scores", given, "--json", "-q").json["mistakes"]
    assert mistake["prompt"] == "q1"
    given = scores_file(tmp_path, right, right, right)
    assert worldpm("eval", path, "--scores", given, "--json", "-q").json["mistakes"] == []
    given = scores_file(tmp_path, right, wrong, {"id": "1", "scores": [2, 1]})
    result = worldpm("eval", path, "--scores", given)
    assert result.code == 1
    assert "'1' has 3 rows of scores, 3 of them different, and mine has 2 of that id" in result.err


def test_an_evaluations_own_scores_are_read(worldpm, mine, tmp_path):
    """OUT/mine.scores.jsonl gives the same figures, under the name of its set."""
    given = scores_file(tmp_path, {"id": "a", "scores": [1, 2]}, {"id": "b", "scores": [3, 2, 1]})
    first = worldpm("eval", mine, "--scores", given, "-o", tmp_path / "out", "--json", "-q").json
    again = worldpm(
        "eval", mine, "--scores", tmp_path / "out" / "mine.scores.jsonl", "--json", "-q"
    )
    assert again.json["models"] == ["mine"]
    assert again.json["evaluations"][0]["lines"] == first["evaluations"][0]["lines"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [{"id": "a", "scores": [1, 2]}],
            "1 of 2 comparisons of mine have no scores, the first is 'b'",
        ),
        (
            [{"id": "a", "scores": [1, 2]}, {"id": "b", "scores": [1, 2]}],
            "'b' has 2 scores, but 3 replies in mine",
        ),
        ([{"id": "a", "scores": [1, None]}], "given.jsonl:1: 'a' has no list of finite numbers"),
        ([{"id": "a", "scores": [1, True]}], "given.jsonl:1: 'a' has no list of finite numbers"),
        ([{"id": "a", "scores": 1}], "given.jsonl:1: 'a' has no list of finite numbers"),
        ([{"id": "a", "scores": []}], "given.jsonl:1: 'a' has no list of finite numbers"),
        (
            [{"id": "a", "scores": [1, -1e308]}],  # whose difference from 1e308 is infinite
            "given.jsonl:1: 'a' has the score -1e+308, and 1e+100 is the most in size",
        ),
        ([{"id": "a", "scores": [1, 2]}, {"scores": [1]}], "given.jsonl:2: a row is"),
        ([{"id": True, "scores": [1]}], "given.jsonl:1: a row is"),
        (["a"], "given.jsonl:1: a row is"),
        ([], "given.jsonl: holds no row"),
    ],
)
def test_what_cannot_be_meant_is_an_error(worldpm, mine, tmp_path, rows, words):
    """A missing row, too few scores, what is not a number: the file, the line and what it is."""
    result = worldpm("eval", mine, "--scores", scores_file(tmp_path, *rows))
    assert result.code == 1
    assert words in result.err


def test_an_infinite_score_is_an_error(worldpm, mine, tmp_path):
    """1e999 is JSON, and no score."""
    path = tmp_path / "given.jsonl"
    path.write_text('{"id": "a", "scores": [1, 1e999]}\n')
    assert "given.jsonl:1" in worldpm("eval", mine, "--scores", path).err


def test_an_id_of_two_sets_is_an_error(worldpm, mine, tmp_path):
    """Which of the two a row means cannot be told."""
    other = write_lines(
        tmp_path / "other.jsonl", [{"id": "a", "prompt": "z", "chosen": "x", "rejected": "y"}]
    )
    given = scores_file(tmp_path, {"id": "a", "scores": [1, 2]}, {"id": "b", "scores": [1, 2, 3]})
    result = worldpm("eval", mine, other, "--scores", given)
    assert result.code == 1
    assert "'a' is in mine and in other; evaluate one of them by itself" in result.err


def test_probes_need_a_model(worldpm, mine, tmp_path):
    """Edited replies have no scores in any file."""
    given = scores_file(tmp_path, {"id": "a", "scores": [1, 2]})
    result = worldpm("eval", "probes", mine, "--scores", given)
    assert result.code == 1
    assert "edited replies must be scored anew" in result.err


def test_export_of_a_suite_counts_what_its_rows_drop(worldpm, tmp_path):
    """Dropped rows are told with their reason, in the JSON and on stderr."""
    same = "\n\nHuman: q\n\nAssistant: a"
    rows = [{"chosen": same, "rejected": same}, {"chosen": same, "rejected": same + "b"}]
    write_lines(tmp_path / "hh" / "helpful-base" / "test.jsonl", rows)
    out = tmp_path / "rows.jsonl"
    flags = ("export", "hh-rlhf", "--data", tmp_path / "hh", "-o", out)
    result = worldpm(*flags)
    assert result.code == 0
    assert "left out: 1 rows: equal replies" in result.err
    found = worldpm(*flags, "--force", "--json").json
    assert (found["rows"], found["dropped"]) == ({"hh-rlhf": 1}, {"equal replies": 1})
    assert len(out.read_bytes().splitlines()) == 1
    assert orjson.loads(out.read_bytes())["source"] == "hh-rlhf"
