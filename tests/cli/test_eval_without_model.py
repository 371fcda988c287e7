"""eval under a model that counts characters: names, counts, files, gates; no checkpoint."""

from dataclasses import dataclass

import orjson
import pytest
from suite_folders import WRITERS, ppe_vote, write_lines, write_parquet

from worldpm.cli import evaluating
from worldpm.cli.eval_files import MOST_CHARACTERS, Scored, mistakes_of, stem
from worldpm.cli.eval_models import EvalModel
from worldpm.cli.eval_sets import choose_sets, read_set
from worldpm.errors import ConfigError, DataError, WorldPMError
from worldpm.records import Comparison, Edge, Message, Score


@dataclass(frozen=True)
class Lengths:
    """What `open_models` gives, scoring a reply by its characters."""

    name: str = "lengths"

    def score(self, comparisons, text, folder, *, quiet):
        return [
            tuple(Score(float(len(c[-1].content)), 1) for c in each.conversations())
            for each in comparisons
        ]


@pytest.fixture(autouse=True)
def no_checkpoint(monkeypatch):
    """Every model that is named is a Lengths."""
    monkeypatch.setattr(
        evaluating, "open_models", lambda names, **_: [Lengths(str(n or "lengths")) for n in names]
    )
    monkeypatch.setattr(evaluating, "score_folder", lambda: None)


def pair(number: int, chosen: str = "long reply", rejected: str = "no", **more) -> dict:
    return {"id": str(number), "prompt": f"q{number}", "chosen": chosen, "rejected": rejected,
            **more}  # fmt: skip


@pytest.mark.parametrize("name", ["report", "figures", "manifest"])
def test_a_set_called_like_a_file_of_the_verb_keeps_its_results(name, worldpm, tmp_path):
    """report.jsonl is evaluated into own-report.json, beside the run's report.json."""
    path = write_lines(tmp_path / f"{name}.jsonl", [pair(n) for n in range(3)])
    out = tmp_path / "out"
    assert worldpm("eval", path, "-o", out, "-q").code == 0
    evaluation = orjson.loads((out / f"own-{name}.json").read_bytes())
    assert evaluation["format"] == "worldpm-evaluation/1"
    assert orjson.loads((out / "manifest.json").read_bytes())["counts"] == {f"own-{name}": 3}
    assert orjson.loads((out / "report.json").read_bytes())["format"] == "worldpm-report/1"
    assert worldpm("show", out).code == 0


def test_dropped_and_undecided_rows_are_told_everywhere(worldpm, tmp_path):
    """On the terminal, in the JSON, the page and the Markdown; and with reading they add up."""
    same = "\n\nHuman: q\n\nAssistant: a"
    rows = [
        {"chosen": same, "rejected": same},
        {"chosen": same, "rejected": same + "\n\nHuman: more"},
        {"chosen": same, "rejected": same + "bc"},
    ]
    write_lines(tmp_path / "hh" / "helpful-base" / "test.jsonl", rows)
    out = tmp_path / "out"
    result = worldpm("eval", "hh-rlhf", "--data", tmp_path / "hh", "-o", out)
    assert result.code == 0
    assert "hh-rlhf: 1 dropped: equal replies" in result.err
    report = orjson.loads((out / "report.json").read_bytes())
    assert report["left_out"] == [
        {"suite": "hh-rlhf", "what": "dropped", "reason": "equal replies", "count": 1},
        {"suite": "hh-rlhf", "what": "dropped", "reason": "ends with the user", "count": 1},
    ]
    kept = report["evaluations"][0]["num_comparisons"]
    assert kept + sum(each["count"] for each in report["left_out"]) == len(rows)
    assert "<h2>Left out</h2>" in (out / "report.html").read_text()
    assert "| hh-rlhf | dropped | ends with the user | 1 |" in (out / "report.md").read_text()


def test_a_tie_is_undecided_and_counted_with_its_reason(worldpm, tmp_path):
    """PPE's votes that are ties: scored, in no mean, and told in the JSON without an output too."""
    folder = WRITERS["ppe"](tmp_path / "ppe")
    votes = [ppe_vote("tie"), ppe_vote("tie (bothbad)")]
    write_parquet(folder / "PPE-Human-Preference-V1" / "data" / "ties.parquet", votes)
    found = worldpm("eval", "ppe", "--data", folder, "--json", "-q").json
    (left_out,) = found["left_out"]
    assert left_out == {
        "suite": "ppe", "what": "undecided", "reason": "labelled a tie",
        "count": found["evaluations"][0]["num_undecided"],
    }  # fmt: skip
    assert left_out["count"] >= 2


def test_a_mistake_shows_the_texts_of_its_own_comparison(worldpm, tmp_path):
    """Two sources number their rows alike: the texts are those that were compared."""
    rows = [pair(1, "a", "bbb", source="x"), pair(1, "c", "dddddd", source="y"), pair(2)]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    found = worldpm("eval", path, "--json", "-q").json["mistakes"]
    assert [(each["better"], each["worse"]) for each in found] == [("c", "dddddd"), ("a", "bbb")]


def test_probes_take_no_more_rows_than_asked_where_ids_repeat(worldpm, tmp_path):
    """Ten rows of one id and --probe-rows 3: three are edited."""
    rows = [pair(1, f"reply number {n}", "no") for n in range(10)]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    found = worldpm("eval", "probes", path, "--probe-rows", "3", "--json", "-q").json
    assert [each["num_comparisons"] for each in found["probes"]] == [3]
    assert evaluating._some([], 3) == []


def test_the_same_rows_are_probed_whatever_their_order():
    """The choice goes by the hash of the id, and keeps the order of the file."""
    data = [
        Comparison(f"id-{n}", "s", None, (), ((), ()), (Edge(0, 1),) if n % 2 else ())
        for n in range(40)
    ]
    chosen = [each.id for each in evaluating._some(data, 5)]
    assert chosen == sorted(chosen, key=lambda name: int(name[3:]))
    assert {each.id for each in evaluating._some(data[::-1], 5)} == set(chosen)
    assert all(int(name[3:]) % 2 for name in chosen)
    lone = Comparison("\ud800", "s", None, (), ((), ()), (Edge(0, 1),))
    assert evaluating._some([lone], 1) == [lone]


@pytest.mark.parametrize(
    ("gate", "message"),
    [("mine", "write SET=ACCURACY"), ("=0.5", "write SET=ACCURACY"), ("mine=x", "write SET"),
     ("mine=1.5", "write SET"), ("mine=-0.1", "write SET"), ("mine=nan", "write SET"),
     ("other=0.5", "'other' is none of mine"), ("mine:=0.5", "has no group ''"),
     ("mine:maths=0.5", "mine has no group 'maths', but mine")],
)  # fmt: skip
def test_a_gate_that_cannot_be_read_is_an_error(gate, message, worldpm, tmp_path):
    """Exit code 1, with the form to write or the names to choose from."""
    path = write_lines(tmp_path / "mine.jsonl", [pair(1)])
    result = worldpm("eval", path, "--fail-under", gate, "-q")
    assert result.code == 1
    assert message in " ".join(result.err.split())


@pytest.mark.parametrize(("gates", "code"), [(["=0.75"], 0), (["=0.76"], 3), (["=0", "=1"], 3)])
def test_a_gate_is_missed_below_it_and_met_at_it(gates, code, worldpm, tmp_path):
    """Three of four right is 0.75; every gate is checked, and every model named."""
    rows = [pair(n) for n in range(3)] + [pair(3, "a", "bbb")]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    flags = [part for gate in gates for part in ("--fail-under", f"mine{gate}")]
    result = worldpm("eval", path, "-m", "x", "-m", "y", *flags, "-q")
    assert result.code == code
    assert ("y has 0.7500 on mine" in " ".join(result.err.split())) is (code == 3)


def test_models_whose_files_would_have_one_name_are_refused(monkeypatch):
    """org/m and org-m, or M and m where letters' size is not told apart, before anything scores."""
    from worldpm.cli import eval_models

    made = lambda name, *_: EvalModel(name, "digest", lambda: pytest.fail("loaded"))  # noqa: E731
    monkeypatch.setattr(eval_models, "_open", made)
    for first, second in (("org/m", "org-m"), ("M", "m"), ("a", "a")):
        with pytest.raises(ConfigError, match=f"'{first}' and '{second}' would have results"):
            eval_models.open_models([first, second], dtype="auto", truncate=False)
    models = eval_models.open_models(["org/m", "org/n"], dtype="auto", truncate=False)
    assert [model.name for model in models] == ["org/m", "org/n"]
    assert stem("llmbar", "org/m", several=True) == "llmbar@org-m"
    assert stem("llmbar", "org/m", several=False) == "llmbar"


def test_rows_without_any_edge_are_refused_before_a_model_is_opened(tmp_path):
    """Plain conversations can be scored and not evaluated; the error says with what."""
    path = write_lines(tmp_path / "x.jsonl", [{"prompt": "q", "replies": ["a", "b"]}] * 2)
    with pytest.raises(DataError, match=r"none of its 2 comparisons .*`worldpm score` scores them"):
        read_set(choose_sets([str(path)], None)["x"], "test")


def test_a_mistakes_texts_are_cut_and_name_their_roles_where_there_are_several():
    """At most so many characters, the cut marked; one message stands without its role."""
    turns = (Message("user", "u"), Message("assistant", "a"), Message("user", "v"))
    replies = ((Message("assistant", "x" * (MOST_CHARACTERS + 1)),), (Message("assistant", "y"),))
    each = Comparison("1", "s", None, turns, replies, (Edge(0, 1),))
    evaluation = {
        "mistakes": [{"index": 0, "id": "1", "winner": 0, "loser": 1, "difference": -2.0}]
    }
    (found,) = mistakes_of(Scored("set", "m", [each], [], evaluation))
    assert found["prompt"] == "user:\nu\n\nassistant:\na\n\nuser:\nv"
    assert found["better"] == "x" * MOST_CHARACTERS + " […]"
    assert found["worse"] == "y"


def test_a_row_that_is_there_twice_counts_once_and_is_told(worldpm, tmp_path):
    """Repeated with its id it is dropped; without ids, or with another reply, it is another row."""
    path = write_lines(tmp_path / "mine.jsonl", [pair(1), pair(2), pair(1), pair(1, "other")])
    found = worldpm("eval", path, "--json", "-q").json
    assert [each["num_comparisons"] for each in found["evaluations"]] == [3]
    (lost,) = found["left_out"]
    assert (lost["reason"], lost["count"]) == ("repeated row", 1)
    rows = [{key: value for key, value in pair(1).items() if key != "id"}] * 2
    reading = read_set(choose_sets([str(write_lines(path, rows))], None)["mine"], "test")
    assert (len(reading.comparisons), reading.dropped) == (2, {})


def test_style_features_are_checked_before_anything_is_read(worldpm, tmp_path):
    """A wrong name, or one twice, is an error even where the path does not exist."""
    for flags, message in (
        (["--style", "colour"], "style feature 'colour' is not one of length"),
        (["--style", "bold", "--style", "bold"], "name each once"),
    ):
        result = worldpm("eval", tmp_path / "absent.jsonl", *flags)
        assert result.code == 1
        assert message in " ".join(result.err.split())


def test_a_style_of_ones_own_is_what_the_report_is_about(worldpm, tmp_path):
    """--style characters --style refusal: these two have a beta, and nothing else."""
    path = write_lines(tmp_path / "mine.jsonl", [pair(n, "x" * (n + 3), "no") for n in range(8)])
    flags = ("--style", "characters", "--style", "refusal")
    (evaluation,) = worldpm("eval", path, *flags, "--json", "-q").json["evaluations"]
    assert evaluation["style_features"] == ["characters", "refusal"]
    style = evaluation["lines"][0]["style"]
    assert set(style["beta"]) == {"characters", "refusal"}
    assert style["phi_labels"] == {"length": 1.0, "marks": None}


def test_a_model_that_decides_nothing_does_not_stop_the_other_sets(worldpm, tmp_path):
    """Equal lengths in one set: its probes are empty with a remark, the other set has its own."""
    even = write_lines(tmp_path / "even.jsonl", [pair(n, "ab", "cd") for n in range(3)])
    odd = write_lines(tmp_path / "odd.jsonl", [pair(n) for n in range(3)])
    result = worldpm("eval", "probes", even, odd, "-o", tmp_path / "out")
    assert result.code == 0
    assert "even: lengths decides no pair that an edit changes" in " ".join(result.err.split())
    report = orjson.loads((tmp_path / "out" / "report.json").read_bytes())
    assert [bool(each["outcomes"]) for each in report["probes"]] == [False, True]
    assert "odd, lengths: edited replies" in result.out
    assert "even, lengths: edited replies" not in result.out


def test_without_matplotlib_the_numbers_stand(worldpm, tmp_path, monkeypatch):
    """A light install writes every other file, and says why there is no picture."""
    from worldpm.report import plots

    def absent(*_):
        raise WorldPMError("pictures need matplotlib")

    monkeypatch.setattr(plots, "plot_evaluation", absent)
    path = write_lines(tmp_path / "mine.jsonl", [pair(n) for n in range(3)])
    result = worldpm("eval", path, "-o", tmp_path / "out")
    assert result.code == 0
    assert "no picture: pictures need matplotlib" in result.err
    assert {each.name for each in (tmp_path / "out").iterdir()} == {
        "mine.json", "mine.scores.jsonl", "report.json", "report.md", "report.html", "manifest.json"
    }  # fmt: skip


def test_a_dry_run_reads_nothing_and_opens_no_model(worldpm, tmp_path, monkeypatch):
    """A damaged file is no error yet, and a --fail-under of a set that is not there is one."""
    monkeypatch.setattr(evaluating, "open_models", lambda *_, **__: pytest.fail("opened"))
    path = tmp_path / "mine.jsonl"
    path.write_text("{broken")
    flags = ("--style", "bold", "--probe-rows", "5", "--dry-run", "--json")
    found = worldpm("eval", "probes", path, "-m", "a", "-m", "b", *flags)
    assert found.code == 0
    assert '"style":["bold"]' in found.out
    assert '"probe_rows":5' in found.out
    assert "a, b" in found.out
    assert worldpm("eval", path, "--fail-under", "x=0.5", "--dry-run").code == 1


def test_a_folder_that_is_there_is_not_written_over(worldpm, tmp_path):
    """Without --force the first results stay; with it they go, the sets of another run too."""
    first = write_lines(tmp_path / "first.jsonl", [pair(n) for n in range(3)])
    second = write_lines(tmp_path / "second.jsonl", [pair(n) for n in range(3)])
    out = tmp_path / "out"
    assert worldpm("eval", first, "-o", out, "-q").code == 0
    assert worldpm("eval", second, "-o", out, "-q").code == 1
    assert (out / "first.json").exists()
    assert worldpm("eval", second, "-o", out, "--force", "-q").code == 0
    assert not (out / "first.json").exists()
    assert (out / "second.json").exists()


def test_a_missed_gate_keeps_what_was_written(worldpm, tmp_path):
    """Exit code 3 comes after the report: the run is not lost."""
    path = write_lines(tmp_path / "mine.jsonl", [pair(1, "a", "bbb")])
    out = tmp_path / "out"
    assert worldpm("eval", path, "-o", out, "--fail-under", "mine=0.5", "-q").code == 3
    assert orjson.loads((out / "manifest.json").read_bytes())["counts"] == {"mine": 1}


def test_a_gate_on_a_group_is_of_that_group(worldpm, tmp_path):
    """The whole is above it and the group below: missed by the group's name."""
    rows = [pair(n, meta={"class": "easy"}) for n in range(3)]
    rows += [pair(9, "a", "bbb", meta={"class": "hard"})]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    assert worldpm("eval", path, "--fail-under", "mine=0.7", "-q").code == 0
    assert worldpm("eval", path, "--fail-under", "mine:easy=1", "-q").code == 0
    result = worldpm("eval", path, "--fail-under", "mine:hard=0.1", "-q")
    assert result.code == 3
    assert "lengths has 0.0000 on mine:hard, under 0.1" in " ".join(result.err.split())


def test_the_json_of_two_models_holds_their_classes_and_differences(worldpm, tmp_path):
    """Of three models each but the first is compared with the first; equal ones differ by 0."""
    rows = [pair(n, meta={"class": "ab"[n % 2]}) for n in range(6)]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    found = worldpm("eval", path, "-m", "x", "-m", "y", "-m", "z", "--json", "-q").json
    assert [(each["a"], each["b"], each["group"]) for each in found["contrasts"]] == [
        ("x", model, group) for model in "yz" for group in ("mine", "a", "b")
    ]
    assert {each["accuracy"]["value"] for each in found["contrasts"]} == {0.0}
    assert {each["q_accuracy"] for each in found["contrasts"]} == {1.0}
    assert [(each["model"], each["class"]) for each in found["classes"]] == [
        (model, cls) for model in "xyz" for cls in "ab"
    ]
    assert found["left_out"] == []


@pytest.mark.parametrize("keep", [True, False])
def test_scores_are_counted_as_kept_before(keep, tmp_path, capsys):
    """The remark says how many came from the cache; without a cache all are scored each time."""
    calls = []

    class Fake:
        def iter_scores(self, comparisons):
            for each in comparisons:
                calls.append(each.id)
                yield [Score(1.0, 1)] * len(each.replies)

    data = [
        Comparison(str(n), "s", None, (Message("user", f"q{n}"),), ((Message("assistant", "a"),),))
        for n in range(5)
    ]
    model = EvalModel("m", "digest", Fake)
    folder = tmp_path if keep else None
    model.score(data[:3], "set", folder, quiet=True)
    found = model.score(data, "set", folder, quiet=False)
    assert [scores[0].value for scores in found] == [1.0] * 5
    assert calls == ["0", "1", "2", "3", "4"] if keep else ["0", "1", "2", "0", "1", "2", "3", "4"]
    assert ("5 comparisons scored, 3 of them before" in capsys.readouterr().err) is keep
