"""eval: suites and own comparisons -> accuracy beside the floors, kept as files."""

import gzip

import orjson
import pytest

from worldpm.report.ranking import beats
from worldpm.rows import read_comparisons
from worldpm.score import load


@pytest.fixture
def suites(tmp_path):
    """A folder of suites that holds one, in its authors' layout."""
    path = tmp_path / "suites" / "evalbiasbench" / "data" / "evalbiasbench" / "biasbench.json"
    rows = [
        {"bias": "length", "instruction": f"q{i}", "response1": "a" * i, "response2": "bb",
         "label": 1 + i % 2}
        for i in range(1, 7)
    ]  # fmt: skip
    path.parent.mkdir(parents=True)
    path.write_bytes(orjson.dumps({"length bias": rows[:3], "concreteness": rows[3:]}))
    return tmp_path / "suites"


def test_own_comparisons(worldpm, pair_rows, model, tmp_path):
    """Accuracy is that of the model's own scores; every score is kept; show reads it again."""
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\n".join(pair_rows.read_bytes().splitlines()[:38]))
    out = tmp_path / "out"
    result = worldpm("eval", path, "--model", model, "-o", out, "-q", "--json")
    comparisons = list(read_comparisons(path))
    scores = load(model).score(comparisons)
    wins = [first > second for first, second in scores]
    line = result.json["evaluations"][0]["lines"][0]
    assert line["outcome"]["accuracy"] == pytest.approx(sum(wins) / len(wins))
    assert 0 < line["outcome"]["accuracy"] < 1
    rows = [orjson.loads(row) for row in (out / "own.scores.jsonl").read_bytes().splitlines()]
    assert [row["scores"] for row in rows] == scores
    manifest = orjson.loads((out / "manifest.json").read_bytes())
    assert (manifest["kind"], manifest["counts"]) == ("evaluation", {"own": 38})
    assert {each.suffix for each in out.glob("evaluation.*")} == {".png", ".svg", ".csv"}
    assert "own" in worldpm("show", out).out
    shown = worldpm("show", out / "own.json", "--json").json
    assert shown["evaluations"] == result.json["evaluations"]


def test_artefact_gives_its_test_part(worldpm, data, model, tmp_path):
    """Of an artefact only the held-out part is evaluated, unless another is named."""
    counts = worldpm("show", data, "--json").json["manifest"]["counts"]
    for part in ("test", "validation"):
        flags = () if part == "test" else ("--part", part)
        found = worldpm(
            "eval", data, "--model", model, "-o", tmp_path / part, "--json", "-q", *flags
        )
        assert found.json["evaluations"][0]["num_comparisons"] == counts[part]
    assert counts["test"] != counts["train"]
    wrong = worldpm("eval", data, "--model", model, "-o", tmp_path / "x", "--part", "tset")
    assert wrong.code == 1
    assert "has no part 'tset'; it has test, train, validation" in wrong.err


def test_suites(worldpm, suites, model, tmp_path):
    """A suite is found by name below --data, or all that are there; the table has its floors."""
    named = worldpm(
        "eval", "evalbiasbench", "--data", suites, "--model", model, "-o", tmp_path / "a", "-q"
    )
    every = worldpm("eval", "--data", suites, "--model", model, "-o", tmp_path / "b", "-q")
    assert (named.code, every.code) == (0, 0)
    assert named.out == every.out
    assert "evalbiasbench" in named.out
    assert "longer %" in named.out
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"evalbiasbench.json", "evalbiasbench.scores.jsonl", "manifest.json"} <= names


def test_own_set_called_like_a_suite(
    worldpm, suites, pair_rows, data, model, tmp_path, monkeypatch
):
    """A user's own `llmbar` is read as comparisons and called own-llmbar; the suite stays one."""
    monkeypatch.chdir(tmp_path)
    data.rename("evalbiasbench")
    command = ("eval", "evalbiasbench", "--model", model, "-q", "--json")
    counts = worldpm("show", "evalbiasbench", "--json").json["manifest"]["counts"]
    plain = worldpm(*command, "-o", "plain").json["evaluations"][0]
    assert (plain["suite"], plain["num_comparisons"]) == ("own-evalbiasbench", counts["test"])
    both = worldpm(*command, "./evalbiasbench", "--data", suites, "-o", "both").json["evaluations"]
    assert [each["suite"] for each in both] == ["evalbiasbench", "own-evalbiasbench"]
    assert [each["num_comparisons"] for each in both] == [6, counts["test"]]


def test_a_suites_folder_that_is_near_is_explained(worldpm, suites, tmp_path, monkeypatch):
    """Beside the suite's own folder, the name alone asks for --data and says how to mean a path."""
    monkeypatch.chdir(suites)
    result = worldpm("eval", "evalbiasbench", "-o", tmp_path / "out")
    assert result.code == 1
    assert "--data must say where its files are; comparisons of your own are called" in result.err
    assert "./evalbiasbench" in result.err


@pytest.mark.parametrize("form", ["folder", "jsonl", "jsonl.gz", "parquet"])
def test_sites_keep_their_whole_name(worldpm, data, pair_rows, model, tmp_path, form):
    """`ai.stackexchange.com` is not `ai`, whatever the set is read from."""
    path = tmp_path / ("ai.stackexchange.com" + ("" if form == "folder" else f".{form}"))
    if form == "folder":
        data.rename(path)
    elif form == "parquet":
        (data / "test.parquet").rename(path)
    else:
        rows = b"\n".join(pair_rows.read_bytes().splitlines()[:4])
        path.write_bytes(gzip.compress(rows) if form == "jsonl.gz" else rows)
    out = tmp_path / "out"
    result = worldpm("eval", path, "--model", model, "-o", out, "-q", "--json")
    assert result.json["evaluations"][0]["suite"] == "ai.stackexchange.com"
    assert (out / "ai.stackexchange.com.json").is_file()
    shown = worldpm("show", out, "--json").json["evaluations"]
    assert [each["suite"] for each in shown] == ["ai.stackexchange.com"]


def test_nothing_to_measure(worldpm, tmp_path):
    """Comparisons without any edge are refused before a model is loaded, and so are none at all."""
    path = tmp_path / "own.jsonl"
    for rows, count in ((b'{"prompt": "?", "replies": ["a", "b"]}', 1), (b"", 0)):
        path.write_bytes(rows)
        result = worldpm("eval", path, "--model", "none", "-o", tmp_path / "out")
        assert (result.code, result.out) == (1, "")
        assert f"{path}: none of its {count} comparisons says which reply is better" in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["evalbiasbench"], "--data must say where its files are"),
        (["rm-bench", "evalbiasbench", "--data", "SUITES"], "rm-bench: no such folder"),
        (["nothing-like-it"], "is neither a path nor one of"),
        (["--data", "."], "no suite was named"),
        (["PAIRS", "PAIRS"], "is there twice"),
    ],
)
def test_wrong_suites(worldpm, suites, pair_rows, tmp_path, monkeypatch, args, message):
    """What cannot be evaluated is said before a model is loaded."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    args = [{"SUITES": suites, "PAIRS": pair_rows}.get(arg, arg) for arg in args]
    result = worldpm("eval", *args, "--model", "none", "-o", tmp_path / "out")
    assert (result.code, result.out) == (1, "")
    assert message in result.err


def test_dry_run_and_force(worldpm, suites, model, tmp_path, listing):
    """A dry run writes nothing; an output that is there is kept without --force."""
    before = listing()
    command = ("eval", "--data", suites, "--model", model, "-o", tmp_path / "out")
    plan = worldpm(*command, "--dry-run", "--json").json
    assert plan["settings"]["suites"] == ["evalbiasbench"]
    assert listing() == before
    assert worldpm(*command, "-q").code == 0
    assert worldpm(*command, "-q").code == 1
    assert worldpm(*command, "-q", "--force").code == 0


def test_beats_is_the_sigmoid():
    """Known values, symmetry, and no overflow for absurd differences."""
    assert beats(0.0, 0.0) == 0.5
    assert beats(2.0, 1.0) == pytest.approx(0.7310585786300049)
    assert beats(1.0, 2.0) == pytest.approx(1 - 0.7310585786300049)
    assert (beats(1e6, -1e6), beats(-1e6, 1e6)) == (1.0, 0.0)
