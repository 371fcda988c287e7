"""Rows of a scaling table: by hand, by class, and the paper's mechanisms."""

import math
import random
from dataclasses import replace

import pytest
from tiny import toy_comparison

from worldpm.evals.observe import observe
from worldpm.records import Comparison, Edge, Message


def pair(number, chosen, rejected, **meta):
    replies = ((Message("assistant", chosen),), (Message("assistant", rejected),))
    return Comparison(str(number), "t", None, (), replies, (Edge(0, 1),), meta)


def test_by_hand():
    """Loss and accuracy are means over comparisons of the raw scores' edges."""
    rows = observe("s", [pair(0, "a b", "c"), pair(1, "a", "b c")], [[1.0, 0.0], [0.0, 2.0]])
    (row,) = rows
    assert row["loss"] == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(2))) / 2)
    assert (row["accuracy"], row["suite_comparisons"], row["class"]) == (0.5, 2, "")
    assert (row["chosen_longer_accuracy"], row["chosen_shorter_accuracy"]) == (1, 0)
    assert row["phi_length"] == 1.0
    assert row["phi_marks"] is None


def test_a_row_a_class():
    """Several classes are measured apart, one is the whole, and undecided rows count nowhere."""
    rng = random.Random(0)
    plain = [toy_comparison(number, rng) for number in range(40)]
    scores = [[rng.gauss(0, 1) for _ in each.replies] for each in plain]
    named = [replace(c, meta={"class": ("a", "b")[i % 2]}) for i, c in enumerate(plain)]
    rows = observe("s", [*named, replace(plain[0], id="x", better=())], [*scores, scores[0]])
    assert [(r["suite"], r["class"], r["suite_comparisons"]) for r in rows] == [
        ("s a", "a", 20), ("s b", "b", 20),
    ]  # fmt: skip
    alone = observe("s", named[::2], scores[::2])
    assert [{**rows[0], "suite": "s"}] == alone
    whole = observe("s", plain, scores)[0]
    assert whole["loss"] == pytest.approx((rows[0]["loss"] + rows[1]["loss"]) / 2)


def test_comparisons_without_a_class_are_in_no_classes_row():
    """As in the report: the only class of a suite is not given to those that state none."""
    pairs = [pair(0, "a b", "c", **{"class": "safety"}), pair(1, "a", "b c")]
    (row,) = observe("s", pairs, [[1.0, 0.0], [0.0, 2.0]])
    assert (row["suite"], row["class"], row["suite_comparisons"]) == ("s safety", "safety", 1)
    assert row["accuracy"] == 1.0


def test_control_sees_style():
    """Where length alone decides, control of style beats the score alone, which knows nothing."""
    rng = random.Random(1)
    pairs = [pair(i, "a " * rng.randint(20, 30), "b " * rng.randint(1, 10)) for i in range(100)]
    row = observe("s", pairs, [[rng.gauss(0, 1), rng.gauss(0, 1)] for _ in pairs])[0]
    assert row["controlled_loss"] < 0.3 < 0.65 < row["uncontrolled_loss"]
