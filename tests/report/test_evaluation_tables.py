"""Tables of the report: controls of style apart, every caveat and every row left out told."""

import pytest

from worldpm.report.evaluation_page import MOST_MISTAKES, _in_turn, evaluation_page
from worldpm.report.evaluation_tables import (
    class_table,
    contrast_table,
    figures_tables,
    left_out_table,
    markdown_report,
    probe_table,
    suite_table,
)

EMPTY = {**dict.fromkeys(("classes", "evaluations", "contrasts", "probes"), ()), "testing": "t"}


def figure(name: str, value: float, **more) -> dict:
    return {"name": name, "group": "g", "suite": "s", "value": value, "num": 1200, "num_ties": 3,
            "note": None, "style_alone": None, **more}  # fmt: skip


def published(percent: float, control: str, *caveats: str) -> dict:
    return {"figure": "A", "group": "g", "suite": "s", "control": control,
            "published_percent": percent, "caveats": caveats}  # fmt: skip


@pytest.fixture
def standing() -> dict:
    """One figure, with and without control of style, beside one published model."""
    rows = [published(98.7, "none", "half of it"), published(77.7, "style", "half of it", "words")]
    unmatched = [{"reason": "rmb was not evaluated"}] * 2
    return {
        "protocol": "worldpm", "model": "org/m_1", "figures": [figure("A", 0.625, note="ours")],
        "controlled": [figure("A", 0.5, style_alone=0.45)], "coverage": {"s": "1 of the 2 of s"},
        "against": [{"name": "peer", "rows": rows, "unmatched": unmatched}],
    }  # fmt: skip


def test_html_gives_each_control_of_style_a_table_of_its_own(standing):
    """Neither ours nor theirs under control stands in the table of the plain ones."""
    plain, controlled = figures_tables([standing]).split(
        "<h3>Protocol worldpm, org/m_1, style-controlled</h3>"
    )
    assert "62.50 (1)" in plain
    assert "98.70 (2)" in plain
    assert "77.70" not in plain
    assert "style alone" not in plain
    assert "50.00" in controlled
    assert '<td class="n">45.00</td>' in controlled
    assert "77.70 (1,2)" in controlled
    assert "98.70" not in controlled


def test_notes_are_numbered_table_by_table_and_written_beneath(standing):
    """Each table has its own list, and the last one what was published and is not shown."""
    plain, controlled = figures_tables([standing]).split("style-controlled</h3>")
    assert '<p class="soft">1: ours</p><p class="soft">2: half of it</p>' in plain
    assert "rmb was not evaluated" not in plain
    for note in ("1: half of it", "2: words", "1 of the 2 of s",
                 "peer: 2 published figures not shown: rmb was not evaluated"):  # fmt: skip
        assert f'<p class="soft">{note}</p>' in controlled


def test_markdown_names_the_model_of_each_protocol_table(standing):
    """Two models have two headings that differ, marks escaped; the notes are a list."""
    report = {**EMPTY, "models": ["a", "b"], "figures": [standing, {**standing, "model": "b"}]}
    text = markdown_report(report)
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Protocol worldpm, org/m\\_1", "## Protocol worldpm, org/m\\_1, style-controlled",
        "## Protocol worldpm, b", "## Protocol worldpm, b, style-controlled",
    ]  # fmt: skip
    assert "- 2: half of it\n" in text
    assert text.count("- peer: 2 published figures not shown: rmb was not evaluated") == 2


def test_figures_without_control_have_one_table_and_no_empty_list(standing):
    """Nothing controlled, published or noted: a title and a table."""
    bare = {**standing, "controlled": [], "against": [], "coverage": {},
            "figures": [figure("A", 1.0)]}  # fmt: skip
    html = figures_tables([bare])
    assert html.count("<table>") == 1
    assert "<p" not in html
    text = markdown_report({**EMPTY, "models": ["m"], "figures": [bare]})
    assert not [line for line in text.splitlines() if line.startswith("-")]
    assert text.count("## ") == 1


def test_hostile_notes_and_names_are_escaped(standing):
    """What a file says in a note neither opens a tag nor ends a Markdown cell."""
    evil = "<script>|x"
    hostile = {**standing, "figures": [figure(evil, 0.5, note=evil)], "coverage": {"s": evil}}
    assert "<script>" not in figures_tables([hostile])
    text = markdown_report({**EMPTY, "models": ["m"], "figures": [hostile]})
    assert "<script>|x" not in text
    assert "\\<script>\\|x" in text


def test_what_no_figure_is_made_of_is_in_both_reports():
    """Set, what, reason and how many; nothing where nothing was left out."""
    rows = [{"suite": "hh-rlhf", "what": "dropped", "reason": "<equal>", "count": 1036}]
    assert left_out_table([]) == ""
    html = left_out_table(rows)
    assert "<td>dropped</td><td>&lt;equal&gt;</td>" in html
    assert '<td class="n">1,036</td>' in html
    text = markdown_report({**EMPTY, "models": ["m"], "figures": [], "left_out": rows})
    assert "| hh-rlhf | dropped | \\<equal> | 1,036 |" in text
    assert "Left out" not in markdown_report({**EMPTY, "models": ["m"], "figures": []})


def contrast(kind: str, q: float) -> dict:
    gap = {"value": -0.021, "interval": [-0.05, 0.01], "p_value": 0.00001}
    return {"kind": kind, "group": "grp", "a": "x", "b": "y", "num_comparisons": 1000,
            "accuracy": gap, "q_accuracy": q, "loss": gap, "q_loss": None}  # fmt: skip


def test_a_difference_shows_points_nats_and_small_p_values():
    """Accuracy in points with its sign; p below 0.0001 says so; what was not tested is empty."""
    html = contrast_table([contrast("all", 0.25), contrast("class", 0.0001)])
    assert html.count("-2.1 [-5.0, +1.0]") == 2
    assert html.count("-0.021 [-0.050, 0.010]") == 2
    assert "&lt;0.0001" in html
    assert "<td>grp</td><td>x less y</td>" in html
    assert "<td>– grp</td>" in html
    assert '<td class="n">0.2500</td>' in html
    assert '<td class="n"></td></tr>' in html


def test_only_the_kinds_asked_for_have_rows():
    """The table of suites leaves subsets to the JSON, and gives them where they are asked for."""
    gain = {"value": 0.1, "interval": [0.0, 0.2], "p_value": 0.5}
    outcome = {"name": "n", "num_comparisons": 5, "accuracy": 0.6, "accuracy_interval": [0.5, 0.7],
               "loss_nats": 0.6, "loss_interval": [0.5, 0.7], "held_out_loss_nats": None,
               "brier": 0.2}  # fmt: skip
    floors = {name: {"accuracy": 0.5} for name in ("longer (characters)", "style only", "chance")}
    lines = [
        {"kind": kind, "outcome": {**outcome, "name": kind}, "floors": floors, "over_length": gain}
        for kind in ("all", "subset", "style", "subset style")
    ]
    evaluation = {"model": "m", "suite": "s", "lines": lines}
    html = suite_table([evaluation])
    assert "<td>all</td>" in html
    assert "<td>– style</td>" in html
    assert "subset" not in html
    assert suite_table([evaluation], iter(["subset"])).count("<tr><td>") == 1
    assert suite_table([]) == class_table([]) == contrast_table([]) == probe_table([]) == ""


def mistake(suite: str, model: str, number: int) -> dict:
    return {"suite": suite, "model": model, "id": str(number), "difference": -1.0 - number,
            "prompt": f"{suite} {model} {number}", "better": "b", "worse": "w"}  # fmt: skip


def test_every_set_and_model_shows_its_worst_mistakes():
    """Where there are too many, each set gives up its least bad ones, not the last set all."""
    every = [mistake(s, m, n) for m in "xy" for s in "abc" for n in range(5)]
    shown = _in_turn(every, 7)
    assert [(e["model"], e["suite"], e["id"]) for e in shown] == [
        ("x", "a", "0"), ("x", "a", "1"), ("x", "b", "0"), ("x", "c", "0"),
        ("y", "a", "0"), ("y", "b", "0"), ("y", "c", "0"),
    ]  # fmt: skip
    assert _in_turn(every, 1000) == every
    assert _in_turn(every, 0) == []


def test_the_page_says_how_many_mistakes_it_leaves_out():
    """Sixteen sets of twenty: all sixteen are seen, and the rest is counted."""
    every = [mistake(f"set-{s}", "m", n) for s in range(16) for n in range(20)]
    report = {"models": ["m"], "evaluations": [], "classes": [], "contrasts": [], "figures": [],
              "probes": [], "mistakes": every, "testing": ""}  # fmt: skip
    report["evaluations"] = [_evaluation("set-0")]
    page = evaluation_page(report)
    assert page.count("<details>") == MOST_MISTAKES
    assert page.count("<h3>set-") == 16
    assert f"{320 - MOST_MISTAKES} more are in report.json." in page
    assert "more are in" not in evaluation_page({**report, "mistakes": every[:20]})


def _evaluation(suite: str) -> dict:
    from dataclasses import asdict

    from worldpm.evals.baselines import longer_characters
    from worldpm.evals.run import evaluate
    from worldpm.records import Comparison, Edge, Message

    texts = ((Message("assistant", "aa"),), (Message("assistant", "b"),))
    data = [Comparison(str(n), "s", None, (), texts, (Edge(0, 1),)) for n in range(3)]
    found = evaluate(data, longer_characters, suite=suite, resamples=20)
    return {**asdict(found), "model": "m"}
