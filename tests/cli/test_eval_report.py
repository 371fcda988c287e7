"""eval: several models, the report, the cache, gates, probes and the untrained floor."""

import orjson
import pytest
from suite_folders import WRITERS
from tiny import small_model

import worldpm.score as scoring
from worldpm.surface import PAPER


@pytest.fixture(scope="session")
def second(tmp_path_factory):
    """Another checkpoint, of other weights."""
    return small_model(tmp_path_factory.mktemp("second") / "second", seed=1)


@pytest.fixture
def own(pair_rows, tmp_path):
    """Twenty comparisons of the user's own."""
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\n".join(pair_rows.read_bytes().splitlines()[:20]))
    return path


@pytest.fixture
def loads(monkeypatch):
    """The models that were loaded, in order."""
    seen = []
    original = scoring.load

    def load(model=None, **settings):
        seen.append(model)
        return original(model, **settings)

    monkeypatch.setattr(scoring, "load", load)
    return seen


def test_several_models_make_one_report(worldpm, own, model, second, tmp_path):
    """Files for each model, paired differences with q-values, one page, one JSON; show reads it."""
    out = tmp_path / "out"
    command = ("eval", own, "-m", model, "-m", second, "-o", out)
    result = worldpm(*command, "-q", "--json")
    assert result.code == 0
    found = result.json
    assert found["models"] == ["tiny", "second"]
    assert [each["model"] for each in found["evaluations"]] == ["tiny", "second"]
    (contrast,) = found["contrasts"]
    a, b = (each["lines"][0]["outcome"]["accuracy"] for each in found["evaluations"])
    assert contrast["accuracy"]["value"] == pytest.approx(a - b)
    assert contrast["q_accuracy"] >= contrast["accuracy"]["p_value"]
    names = {path.name for path in out.iterdir()}
    assert {
        "own@tiny.json", "own@second.json", "own@tiny.scores.jsonl", "report.json", "report.md",
        "report.html", "manifest.json", "evaluation@tiny.csv", "evaluation@second.csv",
    } <= names  # fmt: skip
    report = orjson.loads((out / "report.json").read_bytes())
    assert report["evaluations"] == found["evaluations"]
    assert "tiny less second" in (out / "report.html").read_text()
    shown = worldpm("show", out).out
    assert "tiny" in shown
    assert "second" in shown
    table = worldpm(*command, "-q", "--force").out
    assert "tiny less second" in table


def test_every_line_has_its_floors_and_q_value(worldpm, own, model, tmp_path):
    """Longer, style only and chance beside the whole set, with the correction stated."""
    found = worldpm("eval", own, "-m", model, "-q", "--json").json
    line = found["evaluations"][0]["lines"][0]
    assert {"longer (characters)", "style only", "chance"} <= set(line["floors"])
    assert line["over_length"]["q_value"] == pytest.approx(line["over_length"]["p_value"])
    assert "Benjamini-Hochberg" in found["testing"]
    assert line["style"]["features"] == list(PAPER)
    assert not list(tmp_path.glob("*.html"))


def test_the_second_run_loads_no_model(worldpm, own, model, loads, tmp_path):
    """All scores come from the cache: the same numbers, and no weights are read."""
    first = worldpm("eval", own, "-m", model, "-q", "--json").json
    assert len(loads) == 1
    second = worldpm("eval", own, "-m", model, "--json")
    assert len(loads) == 1
    assert second.json["evaluations"] == first["evaluations"]
    assert "20 comparisons scored, 20 of them before" in second.err
    anew = worldpm("eval", own, "-m", model, "--no-cache", "-q", "--json").json
    assert len(loads) == 2
    assert anew["evaluations"] == first["evaluations"]
    elsewhere = tmp_path / "elsewhere"
    worldpm("eval", own, "-m", model, "--cache", elsewhere, "-q")
    assert len(loads) == 3
    assert len(list(elsewhere.glob("*.jsonl"))) == 1


def test_a_killed_evaluation_goes_on(worldpm, own, model, monkeypatch, tmp_path):
    """Killed in the middle, nothing appears; run again, only the rest is scored."""
    plain = worldpm("eval", own, "-m", model, "--no-cache", "-q", "--json").json
    original = scoring.Scorer.iter_scores
    asked = []

    def dying(self, comparisons):
        for number, scores in enumerate(original(self, comparisons)):
            if number == 7:
                raise KeyboardInterrupt
            yield scores

    def counting(self, comparisons):
        kept = list(comparisons)
        asked.append(len(kept))
        return original(self, kept)

    monkeypatch.setattr(scoring.Scorer, "iter_scores", dying)
    assert worldpm("eval", own, "-m", model, "-o", tmp_path / "out", "-q").code == 130
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(scoring.Scorer, "iter_scores", counting)
    again = worldpm("eval", own, "-m", model, "-o", tmp_path / "out", "-q", "--json").json
    assert asked == [13]
    assert again["evaluations"] == plain["evaluations"]


def test_another_precision_is_another_cache(worldpm, own, model, loads):
    """bfloat16 scores are not those of float32."""
    for dtype in ("float32", "bfloat16", "float32"):
        assert worldpm("eval", own, "-m", model, "--dtype", dtype, "-q").code == 0
    assert len(loads) == 2


def test_fail_under_exits_with_3_after_the_files_are_written(worldpm, own, model, tmp_path):
    """Below the gate: 3, the accuracy named, the report there; at or above it: 0."""
    accuracy = worldpm("eval", own, "-m", model, "-q", "--json").json["evaluations"][0]["lines"][0][
        "outcome"
    ]["accuracy"]
    command = ("eval", own, "-m", model, "-q")
    assert worldpm(*command, "--fail-under", f"own={accuracy}").code == 0
    low = worldpm(*command, "-o", tmp_path / "out", "--fail-under", f"own={accuracy + 0.01:.4f}")
    assert low.code == 3
    assert f"tiny has {accuracy:.4f} on own" in low.err
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("gate", "words"),
    [("own", "SET=ACCURACY"), ("own=60", "SET=ACCURACY"), ("owm=0.6", "none of own"),
     ("own=x", "SET=ACCURACY"), ("own:nothing=0.1", "has no group 'nothing'")],
)  # fmt: skip
def test_gates_that_cannot_be_meant(worldpm, own, model, gate, words):
    """A slip in a gate is an error of its own, never a gate that passes."""
    result = worldpm("eval", own, "-m", model, "-q", "--fail-under", gate)
    assert result.code == 1
    assert words in result.err


def test_probes_of_a_file(worldpm, own, model, tmp_path):
    """`eval probes --data FILE` runs the edits on that file's pairs, as many as asked for."""
    out = tmp_path / "out"
    command = ("eval", "probes", "--data", own, "-m", model, "--probe-rows", "5")
    found = worldpm(*command, "-o", out, "-q", "--json").json
    (probes,) = found["probes"]
    assert (probes["suite"], probes["num_comparisons"]) == ("own", 5)
    names = {each["name"] for each in probes["outcomes"]}
    assert {"padding", "flattery", "authority", "opener", "comment", "zero width"} <= names
    assert all(0 <= each["lifted"] <= 1 and each["num_pairs"] <= 5 for each in probes["outcomes"])
    assert "<h2>Probes</h2>" in (out / "report.html").read_text()
    again = worldpm(*command, "-q", "--json").json["probes"]
    assert again == [probes]
    assert "lifted %" in worldpm(*command, "-q").out


def test_the_untrained_head_is_one_more_model(worldpm, own, model, base, loads):
    """A base under a random head stands beside the model, with its difference; it is cached too."""
    command = ("eval", own, "-m", model, "--untrained", base, "-q", "--json")
    found = worldpm(*command).json
    assert found["models"] == ["tiny", f"untrained-head-{base.name}"]
    assert len(found["contrasts"]) == 1
    assert worldpm(*command).json["evaluations"] == found["evaluations"]
    trained = worldpm("eval", own, "-m", model, "--untrained", model, "-q")
    assert trained.code == 1
    assert "score." in trained.err


def test_style_features_are_a_choice(worldpm, own, model):
    """Other features are fitted and named; an unknown one is refused before anything is read."""
    flags = ("--style", "characters", "--style", "emoji")
    found = worldpm("eval", own, "-m", model, *flags, "-q", "--json").json
    assert list(found["evaluations"][0]["lines"][0]["style"]["beta"]) == ["characters", "emoji"]
    wrong = worldpm("eval", "no-such-file", "-m", model, "--style", "emojis")
    assert wrong.code == 1
    assert "style feature 'emojis' is not one of" in wrong.err


def test_two_models_of_one_name(worldpm, own, tmp_path):
    """Every run calls its model the same, so the run's name tells them apart; one twice is one."""
    runs = [small_model(tmp_path / run / "model", seed=place) for place, run in enumerate("xy")]
    flags = ("-m", runs[0], "-m", runs[1], "-o", tmp_path / "out", "-q", "--json")
    found = worldpm("eval", own, *flags).json
    assert [each["model"] for each in found["evaluations"]] == ["x/model", "y/model"]
    twice = worldpm("eval", own, "-m", runs[0], "-m", runs[0])
    assert twice.code == 1
    assert "'x/model' and 'x/model' would have results of one name" in twice.err


def test_rewardbench_leaves_its_own_files(worldpm, model, tmp_path):
    """eval-set/ and eval-set-scores/ hold what RewardBench's leaderboard reads."""
    WRITERS["rewardbench"](tmp_path / "data" / "rewardbench")
    out = tmp_path / "out"
    command = ("eval", "rewardbench", "--data", tmp_path / "data", "-m", model, "-o", out)
    found = worldpm(*command, "-q", "--json").json
    means = orjson.loads((out / "eval-set" / "local" / "tiny.json").read_bytes())
    columns = orjson.loads((out / "eval-set-scores" / "local" / "tiny.json").read_bytes())
    count = found["evaluations"][0]["lines"][0]["outcome"]["num_comparisons"]
    assert len(columns["results"]) == len(columns["text_chosen"]) == count
    assert means["model_type"] == "Seq. Classifier"
    assert set(means) - {"model", "model_type", "chat_template"} == set(columns["subset"])


def test_too_long_rows_are_cut_on_request(worldpm, model, tmp_path):
    """A row beyond the context is an error that names it; with --truncate it is scored."""
    path = tmp_path / "long.jsonl"
    rows = [{"prompt": "?", "chosen": "x" * 3000, "rejected": "y"}, {"prompt": "?", "chosen": "a",
            "rejected": "b"}]  # fmt: skip
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    refused = worldpm("eval", path, "-m", model, "-q")
    assert (refused.code, "truncate" in refused.err) == (1, True)
    assert worldpm("eval", path, "-m", model, "--truncate", "-q").code == 0
    assert worldpm("eval", path, "-m", model, "-q").code == 1
