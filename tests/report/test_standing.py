"""Figures and published ones in a table, caveats numbered, the rest told by reason."""

import io

from rich.console import Console

from worldpm.report.evaluation_tables import markdown_report
from worldpm.report.standing import figures_table, unmatched_lines


def figure(name: str, group: str = "section", note: str | None = None) -> dict:
    return {"name": name, "group": group, "suite": "s", "value": 0.625, "num": 1234, "num_ties": 5,
            "note": note}  # fmt: skip


def row(name: str, *caveats: str) -> dict:
    return {"figure": name, "group": "section", "suite": "s", "published_percent": 98.7,
            "control": "none", "caveats": list(caveats)}  # fmt: skip


def shown(figures: list, rows: list, unmatched: tuple = ()) -> str:
    column = {"name": "peer:[bold]X", "rows": rows, "unmatched": list(unmatched)}
    standing = {"protocol": "official", "figures": figures, "against": [column]}
    console = Console(file=io.StringIO(), width=120)
    console.print(figures_table(standing))
    return console.file.getvalue()


def test_a_figure_stands_beside_the_published_one():
    """In percent, with its pairs and ties; markup in a name stays text."""
    text = shown([figure("Chat"), figure("Math")], [row("Chat")])
    chat, math = (next(x for x in text.splitlines() if name in x) for name in ("Chat", "Math"))
    assert [x for x in chat.split() if x[0].isdigit()] == ["62.50", "1,234", "5", "98.70"]
    assert "98.70" not in math
    assert "[bold]X" in text


def test_caveats_are_numbered_once_each():
    """The same note in two places has one number and one line beneath."""
    text = shown(
        [figure("Chat", note="without math")], [row("Chat", "without math", "fewer pairs")]
    )
    assert "62.50 (1)" in text
    assert "98.70 (1,2)" in text
    assert text.count("without math") == 1
    assert "2: fewer pairs" in text


def test_many_subsets_are_left_to_the_json():
    """Thirty are shown, thirty-one are not; sections always are."""
    for count, there in ((30, True), (31, False)):
        text = shown([figure("Chat"), *(figure(f"sub{i}", "subset") for i in range(count))], [])
        assert ("sub7" in text) is there
        assert "Chat" in text


def test_figures_under_control_meet_those_published_so():
    """Another table, of the controlled figures, with the rows of that control alone."""
    rows = [row("Chat"), {**row("Chat"), "control": "style", "published_percent": 77.7}]
    column = {"name": "peer", "rows": rows, "unmatched": []}
    standing = {"protocol": "worldpm", "figures": [figure("Chat")], "against": [column],
                "controlled": [{**figure("Chat"), "value": 0.5, "style_alone": 0.45}]}  # fmt: skip
    for control, ours, theirs in (("none", "62.50", "98.70"), ("style", "50.00", "77.70")):
        console = Console(file=io.StringIO(), width=120)
        console.print(figures_table(standing, control))
        text = console.file.getvalue()
        assert ours in text
        assert theirs in text
        assert ("style-controlled" in text) is (control == "style")
        assert ("45.00" in text) is (control == "style")


def test_the_report_keeps_the_two_controls_apart():
    """Each published number stands in the line of its own control, beside what style reaches."""
    rows = [row("Chat"), {**row("Chat"), "control": "style", "published_percent": 77.7}]
    standing = {"protocol": "worldpm", "figures": [figure("Chat")],
                "against": [{"name": "peer", "rows": rows, "unmatched": []}],
                "controlled": [{**figure("Chat"), "value": 0.5, "style_alone": 0.45}]}  # fmt: skip
    empty = dict.fromkeys(("classes", "evaluations", "contrasts", "probes"), ())
    text = markdown_report({**empty, "models": ["m"], "figures": [standing], "testing": ""})
    plain, controlled = text.split("## Protocol worldpm, style-controlled")
    assert "| Chat | section, s | 62.50 | 1,234 | 5 | 98.70 |" in plain
    assert "style alone" not in plain
    assert "| Chat | section, s | 50.00 | 45.00 | 1,234 | 5 | 77.70 |" in controlled
    assert "| figure | of | % | style alone % | pairs | ties | peer |" in controlled


def test_what_is_not_shown_is_counted_by_reason():
    """One line for each reason, the commonest first."""
    unmatched = [{"reason": "a"}, {"reason": "b"}, {"reason": "b"}]
    column = {"name": "x", "rows": [], "unmatched": unmatched}
    standing = {"against": [column], "coverage": {"s": "1 of 2"}}
    assert unmatched_lines(standing) == [
        "1 of 2",
        "x: 2 published figures not shown: b",
        "x: 1 published figures not shown: a",
    ]
