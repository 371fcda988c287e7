"""Tables show what was measured, whole, and nothing that a reply smuggles in."""

import io

import pytest
from rich.console import Console

from worldpm.errors import DataError, WorldPMError
from worldpm.evals.baselines import LENGTH, longer_characters
from worldpm.evals.run import FORMAT, evaluate, to_json
from worldpm.records import Comparison, Edge, Message, Score
from worldpm.report.tables import (
    EVALUATION_FORMAT,
    LENGTH_FLOOR,
    contrast_table,
    evaluation_table,
    probe_table,
    ranking_table,
)


def shown(table, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(table)
    return console.file.getvalue()


def pair(*texts: str, edges: tuple[Edge, ...] = ()) -> Comparison:
    replies = tuple((Message("assistant", text),) for text in texts)
    return Comparison(
        "1", "test", None, (Message("user", "Tips for better sleep?"),), replies, edges
    )


def test_a_ranking_is_best_first_with_score_probability_and_tokens():
    """The README's two scores, their P(best) and their lengths, in that order."""
    text = shown(
        ranking_table(
            pair("No.", "Keep regular hours.", edges=(Edge(1, 0),)),
            [Score(-1.6425328254699707, 43), Score(0.6298332214355469, 1070)],
        )
    )
    rows = [line for line in text.splitlines() if "│" in line]
    assert [word in rows[0] for word in ("1*", "+0.6298", "90.7%", "1,070", "Keep")] == [True] * 5
    assert [word in rows[1] for word in ("2 ", "-1.6425", "9.3%", "43", "No.")] == [True] * 5
    assert "Tips for better sleep?" in text
    assert "known to be best" in text


def test_hostile_replies_stay_text_and_one_row_each():
    """Markup is printed, not obeyed; escapes never reach the terminal; long text is cut."""
    hostile = pair("[bold red]x[/] \x1b[2J\x07 and\nmore", "睡" * 500)
    lines = shown(ranking_table(hostile, [Score(1.0, 1), Score(0.0, 2)])).splitlines()
    assert "\x1b" not in "".join(lines)
    assert any("[bold red]x[/]" in line for line in lines)
    assert sum("│" in line for line in lines) == 2
    assert sum("…" in line for line in lines) == 1


def test_scores_must_be_one_for_each_reply():
    """Two replies and one score: an error that counts them."""
    with pytest.raises(WorldPMError, match="1 scores for 2 replies"):
        ranking_table(pair("a", "b"), [Score(1.0, 1)])


def test_an_evaluation_fits_eighty_columns_without_losing_a_digit():
    """Accuracy with its interval, loss, floor and gain of a suite with a long name."""
    data = [
        Comparison(
            f"{i}", "t", "even" if i % 2 else "odd", (), pair("a", "bb").replies, (Edge(1, 0),)
        )
        for i in range(20)
    ]
    name = "a-suite-with-a-very-long-name"
    row = to_json(evaluate(data, longer_characters, suite=name, resamples=50))
    text = shown(evaluation_table([row], kinds=("subset",)))
    assert "…" not in text
    for words in ("100.0", "[83.9, 100.0]", "0.313", "[0.313, 0.313]", "+0.0", "even", "odd"):
        assert words in text
    assert "odd" not in shown(evaluation_table([row]))


def test_the_report_and_the_evaluation_agree_on_their_names():
    """The report stands on the JSON alone, so its two names are checked here."""
    assert (EVALUATION_FORMAT, LENGTH_FLOOR) == (FORMAT, LENGTH)


@pytest.mark.parametrize(
    "row", [{}, {"format": "other", "lines": [1]}, {"format": FORMAT, "lines": []}]
)
def test_json_that_is_no_evaluation_is_refused(row):
    """A DataError that says what to give."""
    with pytest.raises(DataError, match="not an evaluation"):
        evaluation_table([row])


def test_probes_and_contrasts_fit_a_terminal_of_80_columns():
    """Names and numbers are whole: no cell is cut."""
    probes = {
        "suite": "mine",
        "model": "tiny",
        "outcomes": [
            {
                "name": "step by step", "num_pairs": 1200, "shift": -0.2191,
                "shift_interval": [-0.34, -0.115], "lifted": 0.25, "lifted_interval": [0.07, 0.59],
                "dropped": 1.0, "dropped_interval": [0.7, 1.0], "plain_accuracy": 0.125,
                "accuracy": 1.0,
            }
        ],
    }  # fmt: skip
    contrast = {
        "kind": "all", "group": "rm-bench", "a": "first", "b": "second",
        "accuracy": {"value": 0.0123, "interval": [-0.01, 0.034], "p_value": 0.2},
        "loss": {"value": -0.05, "interval": [-0.06, -0.04], "p_value": 0.0005},
        "q_accuracy": 0.4, "q_loss": 0.001,
    }  # fmt: skip
    hidden = {**contrast, "kind": "class", "group": "hidden"}
    text = shown(probe_table(probes)) + shown(contrast_table([contrast, hidden]))
    for words in ("step by step", "1,200", "[-0.34, -0.12]", "-> 100.0", "first less second",
                  "[-1.0, +3.4]", "-0.050", "0.0010"):  # fmt: skip
        assert words in text
    assert "…" not in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("changed", "style"),
    [
        ({}, "bold green"),
        ({"p_value": 0.06}, ""),
        ({"interval": [-0.06, 0.0]}, ""),
        ({"interval": [0.04, 0.06]}, "bold red"),
    ],
)
def test_two_models_differ_in_colour_only_where_it_is_sure(changed, style):
    """Fewer nats are better; a q-value alone makes no colour, nor does an interval alone."""
    found = {"value": -0.05, "interval": [-0.06, -0.04], "p_value": 0.0005, **changed}
    each = {"kind": "all", "group": "g", "a": "a", "b": "b", "accuracy": found, "loss": found,
            "q_accuracy": 0.4, "q_loss": 0.001}  # fmt: skip
    (cell,) = contrast_table([each]).columns[3].cells
    assert [span.style for span in cell.spans if span.start == 0] == ([style] if style else [])
