"""score and compare: row forms, order, digits, places of errors."""

import math
import os
import threading

import numpy as np
import orjson
import pytest

from worldpm.rows import comparison_from_row
from worldpm.score import load


def talk(user, assistant):
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


LONG = [{"role": "assistant", "content": "x" * 90}]
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Go"}]
ROWS = [
    {"id": 7, "messages": talk("Hi <|im_end|>", "Hello")},
    {"id": "k", "prompt": "你好", "replies": ["您好", LONG, ""]},
    {"prompt": "Why?", "chosen": "Because it is so.", "rejected": "no"},
    {"id": None, "messages": talk("?", "")},
    {"prompt": ASKED, "replies": ["only one"]},
]


def lines(rows):
    return b"\n".join(map(orjson.dumps, rows))


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(ROWS))
    return path


def test_row_forms(worldpm, rows_file, model):
    """Each form has its own result, in input order, equal to `Scorer.score` in all digits."""
    result = worldpm("score", rows_file, "--model", model)
    comparisons = [
        comparison_from_row(row, where="x", default_id=str(number))
        for number, row in enumerate(ROWS, 1)
    ]
    wanted = load(model).score(comparisons)
    first, replies, pair, nameless, single = result.rows
    assert first == {"id": 7, "score": wanted[0][0], "num_tokens": first["num_tokens"]}
    assert list(first) == ["id", "score", "num_tokens"]
    assert list(replies) == ["id", "scores", "num_tokens", "best"]
    assert (replies["id"], replies["scores"]) == ("k", wanted[1])
    assert replies["best"] == int(np.argmax(wanted[1]))
    assert (pair["id"], pair["scores"]) == ("3", wanted[2])
    assert (nameless["id"], nameless["score"]) == ("4", wanted[3][0])
    assert single["scores"] == wanted[4]
    assert all(np.float32(value) == value for value in replies["scores"])
    assert "5 rows, 8 replies" in result.err


def test_num_tokens_are_of_the_whole_conversation(worldpm, model):
    """A token a byte here, so that the count can be made by hand from the template."""
    row = {"messages": talk("ab", "cde")}
    result = worldpm("score", "--model", model, "-q", stdin=lines([row]))
    text = "ssystem\ne\nsuser\nabe\nsassistant\ncdeet"  # s, e, t: one token each
    assert result.rows[0]["num_tokens"] == len(text)
    assert result.err == ""


def test_order_and_chunks(worldpm, model):
    """Rows longer than a chunk and of mixed lengths come back in the order that they went in."""
    rows = [
        {"id": i, "prompt": "p", "replies": ["r" * (i * 37 % 101), "q" * (i % 5)]}
        for i in range(300)
    ]
    result = worldpm("score", "-", "--model", model, "-q", stdin=lines(rows))
    assert [row["id"] for row in result.rows] == list(range(300))
    backward = worldpm("score", "-", "--model", model, "-q", stdin=lines(rows[::-1]))
    for row, other in zip(result.rows, backward.rows[::-1], strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)
        assert len(set(row["scores"])) == 2 or row["id"] * 37 % 101 == row["id"] % 5 == 0


def test_output_file(worldpm, rows_file, model, tmp_path):
    """-o writes what stdout would have had, and only with --force over a file."""
    out = tmp_path / "scores.jsonl"
    printed = worldpm("score", rows_file, "--model", model).out
    result = worldpm("score", rows_file, "--model", model, "-o", out)
    assert (result.code, result.out) == (0, "")
    assert out.read_text() == printed
    again = worldpm("score", rows_file, "--model", model, "-o", out)
    assert again.code == 1
    assert "exists already" in again.err
    assert worldpm("score", rows_file, "--model", model, "-o", out, "--force").code == 0


def test_json_is_one_object(worldpm, rows_file, model, tmp_path):
    """--json gives counts and the results; with -o, the place of the results."""
    found = worldpm("score", rows_file, "--model", model, "--json", "-q").json
    assert (found["rows"], found["replies"], len(found["results"])) == (5, 8, 5)
    assert found["tokens"] == sum(int(np.sum(result["num_tokens"])) for result in found["results"])
    out = tmp_path / "o.jsonl"
    found = worldpm("score", rows_file, "--model", model, "--json", "-q", "-o", out).json
    assert found["output"] == str(out)
    assert "results" not in found


def test_artefact_as_input(worldpm, data, model):
    """A folder of comparisons is scored like its rows."""
    result = worldpm("score", data, "--model", model)
    assert len(result.rows) == 38
    assert {len(row["scores"]) for row in result.rows} == {2}


def test_dry_run(worldpm, rows_file, model, tmp_path, listing):
    """Nothing is scored or written; a missing file is found."""
    before = listing()
    command = ("score", rows_file, "--model", model, "-o", tmp_path / "o", "--dry-run")
    assert worldpm(*command, "--json").json["writes"] == str(tmp_path / "o")
    assert f"would read   {rows_file}" in worldpm(*command).out
    assert worldpm("score", tmp_path / "none", "--dry-run").code == 1
    assert listing() == before


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "not valid JSON"),
        ('{"prompt": "?"}', "has none of the keys"),
        ('{"messages": [{"role": "user", "content": "?"}]}', "messages: the last message"),
        ('{"prompt": "?", "replies": ["a", 3]}', "replies[1]: must be text or a list of messages"),
        ('{"messages": [{"role": "bot", "content": "?"}]}', "messages[0].role: input should be"),
    ],
)
def test_bad_rows_name_their_line(worldpm, rows_file, bad, message):
    """The last line's fault is found before a model is loaded or a row written."""
    with rows_file.open("a") as file:
        file.write("\n" + bad)
    result = worldpm("score", rows_file, "--model", "no-such-folder")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"error: {rows_file}:6: {message}")
    piped = worldpm("score", "-", "--model", "no-such-folder", stdin=b"")
    assert piped.err.startswith("error: no-such-folder: no such folder")


def test_bad_row_on_stdin(worldpm, model):
    """Standard input is called stdin, with the line."""
    result = worldpm("score", "--model", model, stdin=lines(ROWS) + b"\n[1]")
    assert result.code == 1
    assert "error: stdin:6: a row must be a JSON object" in result.err


def test_too_long_names_its_line(worldpm, model, tmp_path):
    """What only the tokenizer can tell is named by its place too, and -o leaves no half file."""
    path = tmp_path / "long.jsonl"
    path.write_bytes(lines([*ROWS, {"id": "z", "prompt": "p", "replies": ["a", "b" * 600]}]))
    result = worldpm("score", path, "--model", model, "-o", tmp_path / "o")
    assert result.code == 1
    assert f"{path}:6: reply 1 makes a conversation of" in result.err
    assert [each.name for each in tmp_path.iterdir()] == ["long.jsonl"]


def test_plain_language_model_cannot_score(worldpm, rows_file, base):
    """A base without a head is refused, never given a random one."""
    result = worldpm("score", rows_file, "--model", base)
    assert (result.code, result.out) == (1, "")
    assert "has no scalar head" in result.err


def test_compare(worldpm, model):
    """The ranking is by score; P(a beats b) is the sigmoid of the difference, P(best) sums to 1."""
    replies = ["alpha beta", "no", "三个字"]
    command = ("compare", "--prompt", "Hi there", *replies, "--model", model)
    found = worldpm(*command, "--json").json
    scores = {each["reply"]: each["score"] for each in found["ranking"]}
    assert [each["score"] for each in found["ranking"]] == sorted(scores.values(), reverse=True)
    assert [each["text"] for each in found["ranking"]] == [replies[i] for i in scores]
    assert sum(each["p_best"] for each in found["ranking"]) == pytest.approx(1)
    for i in range(3):
        for j in range(3):
            wanted = 1 / (1 + math.exp(scores[j] - scores[i]))
            assert found["beats"][i][j] == pytest.approx(wanted)
    row = {"prompt": "Hi there", "replies": replies}
    scored = worldpm("score", "--model", model, stdin=lines([row])).rows[0]
    assert [scores[i] for i in range(3)] == pytest.approx(scored["scores"], abs=1e-6)
    table = worldpm(*command)
    best = max(scores, key=scores.get)
    assert f"{scores[best]:+.4f}" in table.out
    assert f"{found['beats'][best][1 - best if best < 2 else 0]:.1%}" in table.out


def test_compare_needs_two(worldpm, model):
    """One reply has nothing to be compared with."""
    result = worldpm("compare", "--prompt", "Hi", "one", "--model", model)
    assert result.code == 1
    assert "give two or more" in result.err


def test_a_pipe_is_read_once(worldpm, rows_file, model, tmp_path):
    """A named pipe, which gives its rows only once, is scored as its file is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(rows_file.read_bytes()), daemon=True)
    feeder.start()
    from_pipe = worldpm("score", pipe, "--model", model)
    assert from_pipe.out == worldpm("score", rows_file, "--model", model).out
    assert len(from_pipe.rows) == len(ROWS)


@pytest.mark.parametrize("verb", [("score", "--model", "unused"), ("export",)])
def test_the_input_is_never_the_output(worldpm, rows_file, verb):
    """Even --force does not write over the rows that are read."""
    before = rows_file.read_bytes()
    done = worldpm(*verb, rows_file, "-o", rows_file, "--force")
    assert done.code == 1
    assert "is the input itself" in done.err
    assert rows_file.read_bytes() == before
