"""The classes' means and intervals, and the q-values of a whole report, by hand."""

import math

import pytest

from worldpm.evals.resampling import Z_95
from worldpm.evals.summary import class_summary, with_q_values


def line(kind: str, name: str, accuracy: float, half: float, p: float = 0.5, num: int = 10) -> dict:
    floors = {"longer (characters)": 0.4, "style only": 0.6, "chance": 0.5}
    return {
        "kind": kind,
        "outcome": {
            "name": name, "accuracy": accuracy, "num_comparisons": num,
            "accuracy_interval": [accuracy - half, accuracy + half], "loss_nats": 1 - accuracy,
        },
        "floors": {floor: {"accuracy": value} for floor, value in floors.items()},
        "over_length": {"value": 0.1, "interval": [0.0, 0.2], "p_value": p},
    }  # fmt: skip


def suite(name: str, model: str, classes: tuple, *lines: dict) -> dict:
    return {"suite": name, "model": model, "classes": classes, "lines": lines}


def test_a_class_is_the_plain_mean_of_its_suites():
    """900 rows weigh as much as ten; the standard errors add in squares."""
    rows = class_summary(
        [
            suite("a", "m", ("safety",), line("all", "a", 0.6, 0.03, num=900)),
            suite("b", "m", ("safety",), line("all", "b", 0.8, 0.04)),
        ]
    )
    (row,) = rows
    assert row["accuracy"] == pytest.approx(0.7)
    assert row["interval"] == pytest.approx([0.7 - 0.025, 0.7 + 0.025])
    assert (row["num_suites"], row["num_comparisons"]) == (2, 910)
    assert row["loss_nats"] == pytest.approx(0.3)
    assert (row["longer"], row["style_only"], row["chance"]) == (0.4, 0.6, 0.5)


def test_the_interval_of_one_suite_is_its_own():
    """Also where it is not symmetrical, as an interval near 0 or 1 is."""
    whole = line("all", "a", 0.9, 0.05)
    whole["outcome"]["accuracy_interval"] = [0.81, 0.94]
    (row,) = class_summary([suite("a", "m", ("x",), whole)])
    assert row["interval"] == [0.81, 0.94]


def test_an_interval_of_several_suites_stays_a_share():
    """No end leaves 0 to 1."""
    for accuracy, end in ((0.99, 1.0), (0.01, 0.0)):
        pair = [suite(n, "m", ("x",), line("all", n, accuracy, 0.05)) for n in "ab"]
        (row,) = class_summary(pair)
        assert end in row["interval"]
        assert abs(row["interval"][0] - row["interval"][1]) < 0.05
    assert math.isclose(Z_95, 1.96, abs_tol=1e-4)


def test_models_and_classes_stay_apart_in_order_of_appearance():
    """A suite of two classes gives each its own line, never the whole."""
    lines = (
        line("all", "a", 0.5, 0.1), line("class", "hard", 0.2, 0.1),
        line("class", "easy", 0.9, 0.1), line("section", "easy", 0.1, 0.1),
    )  # fmt: skip
    rows = class_summary(
        [
            suite("a", "m", ("hard", "easy"), *lines),
            suite("a", "n", ("hard", "easy"), *lines),
            suite("b", "m", (), line("all", "b", 1.0, 0.0)),
        ]
    )
    assert [(row["model"], row["class"], row["accuracy"]) for row in rows] == [
        ("m", "hard", 0.2), ("m", "easy", 0.9), ("n", "hard", 0.2), ("n", "easy", 0.9)
    ]  # fmt: skip


def test_q_values_are_among_all_tests_of_the_report_and_of_no_other_line():
    """Subsets are shown without being tested; the four tests of two suites share the correction."""
    report = [
        suite("a", "m", (), line("all", "a", 0.5, 0.1, 0.01), line("subset", "s", 0.5, 0.1, 0.0001),
              line("section", "t", 0.5, 0.1, 0.02)),
        suite("b", "m", (), line("all", "b", 0.5, 0.1, 0.03), line("class", "c", 0.5, 0.1, 0.5)),
    ]  # fmt: skip
    found = with_q_values(report)
    q = [each["over_length"]["q_value"] for one in found for each in one["lines"]]
    assert q == [pytest.approx(0.04), None, pytest.approx(0.04), pytest.approx(0.04), 0.5]
    assert "q_value" not in report[0]["lines"][0]["over_length"]  # the input is left as it was
    assert with_q_values([]) == []
