"""score: going on after a failure, traces, long conversations, many replies."""

import orjson
import pytest
from tiny import small_model

from worldpm.score import load
from worldpm.tokens.tree import split_sequences

BAD = {"id": "bad", "prompt": "x" * 5000, "replies": ["y"]}


def rows(count):
    return [
        {"id": i, "prompt": f"p{i % 7}", "replies": ["r" * (i % 11), "q"]} for i in range(count)
    ]


def assert_same(text, wanted):
    """The same rows; with torch the scores within what its batches do to them."""
    found, expected = ([orjson.loads(line) for line in t.splitlines()] for t in (text, wanted))
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)


def write(path, items):
    path.write_bytes(b"\n".join(map(orjson.dumps, items)))
    return path


@pytest.fixture
def good(worldpm, tmp_path, model):
    """600 rows and what scoring them in one go prints."""
    source = write(tmp_path / "good.jsonl", rows(600))
    return source, worldpm("score", source, "--model", model, "-q").out


def test_a_failure_keeps_what_was_scored(worldpm, tmp_path, model, good):
    """Rows before the chunk of a bad one stay, and --resume with the mended input adds the rest."""
    source, wanted = good
    broken = write(tmp_path / "broken.jsonl", [*rows(550), BAD, *rows(600)[551:]])
    out = tmp_path / "out.jsonl"
    failed = worldpm("score", broken, "--model", model, "-o", out)
    assert (failed.code, out.exists()) == (1, False)
    assert "broken.jsonl:551" in failed.err
    assert "--resume" in failed.err
    kept = (tmp_path / ".out.jsonl.unfinished").read_text()
    assert kept.count("\n") == 512
    assert_same(kept, "".join(wanted.splitlines(keepends=True)[:512]))
    again = worldpm("score", source, "--model", model, "-o", out)
    assert again.code == 1
    assert "--resume" in again.err
    resumed = worldpm("score", source, "--model", model, "-o", out, "--resume", "--json", "-q").json
    assert (resumed["kept_rows"], resumed["rows"]) == (512, 88)
    assert_same(out.read_text(), wanted)
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_a_line_cut_by_a_kill_is_scored_again(worldpm, tmp_path, model, good):
    """An unfinished file that ends within a line loses that line only."""
    source, wanted = good
    out = tmp_path / "out.jsonl"
    broken = write(tmp_path / "broken.jsonl", [*rows(300), BAD])
    worldpm("score", broken, "--model", model, "-o", out, "-q")
    unfinished = tmp_path / ".out.jsonl.unfinished"
    unfinished.write_bytes(unfinished.read_bytes()[:-5])
    found = worldpm("score", source, "--model", model, "-o", out, "--resume", "--json", "-q").json
    assert found["kept_rows"] == 255
    assert_same(out.read_text(), wanted)


def test_resume_refuses_what_is_not_the_same(worldpm, tmp_path, model, good):
    """Another input, another precision, or no -o: an error that says so, the kept rows unharmed."""
    source, _ = good
    out = tmp_path / "out.jsonl"
    worldpm("score", write(tmp_path / "b.jsonl", [*rows(300), BAD]), "--model", model, "-o", out)
    kept = (tmp_path / ".out.jsonl.unfinished").read_bytes()
    other = write(tmp_path / "other.jsonl", rows(600)[1:])
    command = ("--model", model, "--resume")
    assert "not for row 1" in worldpm("score", other, *command, "-o", out).err
    found = worldpm(
        "score", source, *command, "-o", out, "--dtype", "bfloat16", "--engine", "torch"
    )
    assert "begun with another model" in found.err
    assert worldpm("score", source, *command).code == 1
    assert (tmp_path / ".out.jsonl.unfinished").read_bytes() == kept
    assert worldpm("score", source, "--model", model, "-o", out, "--force", "-q").code == 0


def test_resume_knows_rows_without_an_id_by_their_text(worldpm, tmp_path, model):
    """An input whose first row was edited is another, though its rows are called by their lines;
    what comes after the kept rows may change."""
    items = [{name: row[name] for name in ("prompt", "replies")} for row in rows(600)]
    out = tmp_path / "out.jsonl"
    broken = write(tmp_path / "broken.jsonl", [*items[:300], BAD])
    assert worldpm("score", broken, "--model", model, "-o", out, "-q").code == 1
    assert sorted(path.name for path in tmp_path.glob(".out*")) == [
        ".out.jsonl.unfinished", ".out.jsonl.unfinished.json", ".out.jsonl.unfinished.rows",
    ]  # fmt: skip
    command = ("--model", model, "-o", out, "--resume", "-q")
    for number, edited in ((1, {"replies": ["other", "q"]}), (256, {"prompt": "other"})):
        other = [*items]
        other[number - 1] = other[number - 1] | edited
        for _ in range(2):  # a refusal forgets nothing
            found = worldpm("score", write(tmp_path / "other.jsonl", other), *command)
            assert (found.code, f"not for row {number} of" in found.err) == (1, True)
    found = worldpm("score", write(tmp_path / "mended.jsonl", items[:310]), *command, "--json").json
    assert (found["kept_rows"], found["rows"]) == (256, 54)
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_rows_that_an_older_version_kept(worldpm, tmp_path, model):
    """They have no digests, and are gone on with by their ids; from then on they have."""
    out, noted = tmp_path / "out.jsonl", tmp_path / ".out.jsonl.unfinished.rows"
    broken = write(tmp_path / "broken.jsonl", [*rows(300), BAD])
    worldpm("score", broken, "--model", model, "-o", out, "-q")
    noted.unlink()
    assert worldpm("score", broken, "--model", model, "-o", out, "-q", "--resume").code == 1
    edited = [{**rows(1)[0], "prompt": "other"}, *rows(300)[1:]]
    edited = write(tmp_path / "edited.jsonl", edited)
    found = worldpm("score", edited, "--model", model, "-o", out, "--resume")
    assert "not for row 1 of" in found.err


def test_a_failure_before_the_first_row_leaves_nothing(worldpm, tmp_path, model):
    """No rows, no notes of them."""
    broken = write(tmp_path / "broken.jsonl", [BAD])
    assert worldpm("score", broken, "--model", model, "-o", tmp_path / "out.jsonl", "-q").code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken.jsonl"]


def test_resume_tells_the_models_of_two_runs_apart(worldpm, tmp_path, good):
    """Every run calls its model the same: what one has scored, another's does not go on with."""
    one, other = (small_model(tmp_path / run / "model", seed=i) for i, run in enumerate("xy"))
    out = tmp_path / "out.jsonl"
    broken = write(tmp_path / "broken.jsonl", [*rows(550), BAD])
    assert worldpm("score", broken, "--model", one, "-o", out, "-q").code == 1
    found = worldpm("score", good[0], "--model", other, "-o", out, "--resume")
    assert (found.code, out.exists()) == (1, False)
    assert "begun with another model" in found.err
    assert worldpm("score", good[0], "--model", one, "-o", out, "--resume", "-q").code == 0


def test_an_unfinished_file_of_unknown_origin(worldpm, tmp_path, model):
    """Without the note of what it was begun with, kept rows are not added to."""
    source, out = write(tmp_path / "rows.jsonl", rows(2)), tmp_path / "out.jsonl"
    unfinished = tmp_path / ".out.jsonl.unfinished"
    unfinished.write_bytes(b'{"id":0}\n')
    found = worldpm("score", source, "--model", model, "-o", out, "--resume")
    assert (found.code, out.exists()) == (1, False)
    assert "begun with another model" in found.err
    assert unfinished.read_bytes() == b'{"id":0}\n'


def test_trace_ends_in_the_score(worldpm, tmp_path, model):
    """--trace adds the score at every token; the last is the score, and the pieces are the text."""
    source = write(tmp_path / "rows.jsonl", rows(20))
    plain = worldpm("score", source, "--model", model, "-q").rows
    traced = worldpm("score", source, "--model", model, "-q", "--trace").rows
    for row, with_trace in zip(plain, traced, strict=True):
        for score, size, trace in zip(
            row["scores"], row["num_tokens"], with_trace["traces"], strict=True
        ):
            assert trace["scores"][-1] == pytest.approx(score, abs=1e-6)
            assert len(trace["scores"]) == len(trace["pieces"]) == size
            assert len(set(trace["scores"])) > size // 2
        assert f"p{row['id'] % 7}" in "".join(with_trace["traces"][0]["pieces"])


def test_truncation_only_on_request_and_recorded(worldpm, tmp_path, model):
    """One that is too long is an error; with --truncate its oldest tokens go, and are counted."""
    source = write(tmp_path / "rows.jsonl", [BAD, *rows(1)])
    refused = worldpm("score", source, "--model", model)
    assert refused.code == 1
    assert "rows.jsonl:1" in refused.err
    limit = load(model).max_tokens
    first, second = worldpm("score", source, "--model", model, "--truncate", "-q").rows
    assert first["num_tokens"] == [limit]
    assert first["cut_tokens"][0] > 900
    assert "cut_tokens" not in second


def test_ten_thousand_replies(worldpm, tmp_path, model):
    """Replies beyond one tree's budget are scored as if they were few."""
    replies = [f"{i}" * 3 for i in range(10_000)]
    row = {"prompt": "p" * 40, "replies": replies}
    (result,) = worldpm("score", "--model", model, "-q", stdin=orjson.dumps(row)).rows
    assert len(result["scores"]) == 10_000
    few = {"prompt": "p" * 40, "replies": [replies[i] for i in (0, 4999, 9999)]}
    (alone,) = worldpm("score", "--model", model, "-q", stdin=orjson.dumps(few)).rows
    wanted = [result["scores"][i] for i in (0, 4999, 9999)]
    assert alone["scores"] == pytest.approx(wanted, abs=1e-5)


def test_split_sequences_never_exceeds_what_a_group_may_hold():
    """Groups are neighbours in order, each within the budget unless one sequence alone is over."""
    sequences = [[1, 2, 3, i, i] for i in range(10)] + [[1] * 30] + [[9]]
    groups = split_sequences(sequences, 9)
    assert [i for group in groups for i in group] == list(range(12))
    assert groups[0] == [0, 1, 2]
    assert [10] in groups


def test_verbose_names_the_engine(worldpm, tmp_path, model):
    """-v says what computes, at which precision, with how many threads."""
    source = write(tmp_path / "rows.jsonl", rows(1))
    found = worldpm("score", source, "--model", model, "-v", "--engine", "torch", "--threads", "1")
    assert "torch" in found.err
    assert "float32, 1 threads" in found.err
