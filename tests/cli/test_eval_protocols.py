"""eval --protocol and --against: a benchmark's own figures, the paper's, and published ones."""

import orjson
import pytest
from suite_folders import WRITERS, write_judgebench

from worldpm.evals.published import find
from worldpm.evals.suites import read_suite
from worldpm.score import load

PEER = "skywork:Skywork-Reward-V2-Qwen3-8B"


@pytest.fixture
def judgebench(tmp_path):
    """JudgeBench's repository, as its authors have it."""
    return write_judgebench(tmp_path / "repository")


@pytest.fixture
def benchmarks(tmp_path):
    """Two suites below one folder."""
    for name, folder in (("rewardbench", "rewardbench"), ("rm-bench", "rm_bench")):
        WRITERS[name](tmp_path / "data" / folder)
    return tmp_path / "data"


def test_judgebench_takes_the_authors_folder_and_needs_no_output(worldpm, judgebench, model):
    """One JSON object, the model's own scores behind it, and nothing written."""
    before = sorted(judgebench.rglob("*"))
    found = worldpm("eval", "judgebench", "--data", judgebench, "--model", model, "--json", "-q")
    assert found.code == 0
    assert found.json["output"] is None
    line = found.json["evaluations"][0]["lines"][0]["outcome"]
    comparisons = read_suite("judgebench", judgebench)
    edges = [comparison.better[0] for comparison in comparisons]
    scores = load(model).score(comparisons)
    wins = [s[e.winner] > s[e.loser] for e, s in zip(edges, scores, strict=True)]
    assert (line["num_comparisons"], line["accuracy"]) == (4, sum(wins) / 4)
    assert sorted(judgebench.rglob("*")) == before


def test_official_figures_with_a_peer_beside_them(worldpm, judgebench, model, tmp_path):
    """The peer brings its protocol; what has no figure of ours is told on stderr."""
    out = tmp_path / "out"
    command = ("eval", "judgebench", "--data", judgebench, "--model", model, "--against", PEER)
    found = worldpm(*command, "-o", out, "--json")
    (figures,) = found.json["figures"]
    assert orjson.loads((out / "figures.json").read_bytes()) == [figures]
    assert figures["protocol"] == "official"
    names = {each["name"] for each in figures["figures"]}
    assert "gpt-4o-2024-05-13: overall" in names
    (peer,) = figures["against"]
    assert len(peer["rows"]) + len(peer["unmatched"]) == len(find(PEER).rows)
    assert {row["figure"]: row["published_percent"] for row in peer["rows"]} == {
        "gpt-4o-2024-05-13: Knowledge": 70.1,
        "gpt-4o-2024-05-13: Reasoning": 67.3,
        "gpt-4o-2024-05-13: Math": 82.1,
    }
    whole = "4 of the 620 that the whole of judgebench makes"
    assert figures["coverage"] == {"judgebench": whole}
    assert all(whole in row["caveats"] for row in peer["rows"])
    text = worldpm(*command)
    assert "70.10" in text.out
    assert whole in text.err
    assert f"{PEER}: 8 published figures not shown: rewardbench2 was not evaluated" in text.err


def test_the_papers_rows_with_its_model_beside_them(worldpm, benchmarks, model):
    """RewardBench's and RM-Bench's rows stand there, those of absent suites do not."""
    command = ("eval", "--data", benchmarks, "--model", model, "--protocol", "worldpm")
    found = worldpm(*command, "--against", "paper:WorldPM-72B-HelpSteer2", "--json", "-q")
    (figures,) = found.json["figures"]
    every = figures["against"][0]["rows"]
    rows = {row["figure"]: row for row in every if row["control"] == "none"}
    controlled = {row["figure"]: row for row in every if row["control"] == "style"}
    assert controlled["RB-Chat-Hard"]["published_percent"] == 87.28
    assert any("as in the paper" in each for each in controlled["RB-Chat-Hard"]["caveats"])
    assert rows["RB-Chat"]["published_percent"] == 98.88
    assert "ours over 1 pairs, theirs over 358" in rows["RB-Chat"]["caveats"]
    assert set(rows) == {"RB-Chat", "RB-Chat-Hard", "RB-Safety", "RB-Reason", "RM-B-Chat",
                         "RM-B-Safety-F"}  # fmt: skip
    reasons = {row["reason"] for row in figures["against"][0]["unmatched"]}
    assert "ppe was not evaluated" in reasons
    both = worldpm(*command, "--protocol", "official", "--json", "-q").json["figures"]
    assert [each["protocol"] for each in both] == ["worldpm", "official"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--protocol", "wordpm"], "did you mean 'worldpm'"),
        (["--against", "paper:WorldPM-72B-HelpSteer"], "did you mean paper:WorldPM-72B-HelpSteer2"),
        (["--protocol", "worldpm"], "protocol 'worldpm' has no figures of judgebench"),
    ],
)
def test_what_cannot_be_shown_is_said_before_a_model_is_loaded(
    worldpm, judgebench, tmp_path, flags, message
):
    """The model is not even there: names come first."""
    found = worldpm(
        "eval", "judgebench", "--data", judgebench, "--model", tmp_path / "none", *flags
    )
    assert found.code == 1
    assert message in found.err
    assert "none" not in found.err


def test_a_dry_run_without_output_says_so(worldpm, judgebench):
    """Protocols are among the settings."""
    found = worldpm("eval", "judgebench", "--data", judgebench, "--protocol", "official",
                    "--dry-run")  # fmt: skip
    assert "would write  nothing" in found.out
    assert "official" in found.out
