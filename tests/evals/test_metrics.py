"""The measures give the answers worked out by hand, and keep the laws they must keep."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldpm.errors import WorldPMError
from worldpm.evals.metrics import (
    Outcome,
    difference,
    edge_loss,
    edge_table,
    measure,
    select,
)
from worldpm.records import Comparison, Edge

CASES = json.loads((Path(__file__).parent / "metric_cases.json").read_text())["cases"]
POINTS = ("accuracy", "loss_nats", "fitted_loss_nats", "brier", "best_of_n_accuracy")


def comparison(number: int, replies: int, edges: list) -> Comparison:
    better = tuple(Edge(e[0], e[1], weight=float(e[2]) if len(e) > 2 else 1.0) for e in edges)
    return Comparison(str(number), "test", None, (), ((),) * replies, better)


def outcome(comparisons, scores, weighting="comparison", resamples=50) -> Outcome:
    edges = edge_table(comparisons, scores)
    return measure("test", edges, weighting=weighting, resamples=resamples)


@st.composite
def scored(draw):
    """A few comparisons of two to four replies with integer scores and at least one edge each."""
    comparisons, scores = [], []
    for number in range(draw(st.integers(1, 6))):
        replies = draw(st.integers(2, 4))
        pairs = [(i, j) for i in range(replies) for j in range(i + 1, replies)]
        edges = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=4, unique=True))
        flipped = [e if draw(st.booleans()) else (e[1], e[0]) for e in edges]
        comparisons.append(comparison(number, replies, flipped))
        scores.append(
            [
                float(x)
                for x in draw(st.lists(st.integers(-30, 30), min_size=replies, max_size=replies))
            ]
        )
    return comparisons, scores


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_hand_worked_answers(case):
    """Each measure equals the value worked out on paper."""
    comparisons = [
        comparison(n, len(scores), edges) for n, (scores, edges) in enumerate(case["comparisons"])
    ]
    found = outcome(comparisons, [scores for scores, _ in case["comparisons"]], case["weighting"])
    for name, value in case["expected"].items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-9), name


@given(scored(), st.sampled_from(["comparison", "edge"]))
def test_negated_scores_are_wrong_where_the_scores_are_right(data, weighting):
    """accuracy(score) + accuracy(-score) = 1, ties included."""
    comparisons, scores = data
    negated = [[-x for x in row] for row in scores]
    both = outcome(comparisons, scores, weighting).accuracy
    both += outcome(comparisons, negated, weighting).accuracy
    assert both == pytest.approx(1.0)


@given(scored())
def test_turning_edges_and_scores_round_changes_nothing(data):
    """Losers that win under negated scores give the same losses, Brier score and accuracy."""
    comparisons, scores = data
    turned = [
        dataclasses.replace(c, better=tuple(Edge(e.loser, e.winner) for e in c.better))
        for c in comparisons
    ]
    a = outcome(comparisons, scores)
    b = outcome(turned, [[-x for x in row] for row in scores])
    for name in ("accuracy", "loss_nats", "fitted_loss_nats", "brier", "calibration_error"):
        assert getattr(a, name) == pytest.approx(getattr(b, name)), name


@given(scored(), st.randoms(use_true_random=False))
def test_the_order_of_comparisons_does_not_matter(data, random):
    """Shuffled comparisons give the same point values."""
    comparisons, scores = data
    order = list(range(len(scores)))
    random.shuffle(order)
    a = outcome(comparisons, scores)
    b = outcome([comparisons[i] for i in order], [scores[i] for i in order])
    for name in POINTS:
        assert getattr(a, name) == pytest.approx(getattr(b, name)), name


@given(scored(), st.lists(st.integers(-99, 99), min_size=6, max_size=6))
def test_a_constant_per_prompt_does_not_matter(data, constants):
    """Only differences within a prompt are measured: the whole outcome stays, intervals too."""
    comparisons, scores = data
    moved = [[x + c for x in row] for row, c in zip(scores, constants, strict=False)]
    assert outcome(comparisons, scores) == outcome(comparisons, moved)


@given(scored(), st.sampled_from([0.01, 0.5, 3.0, 100.0]))
def test_fitted_loss_forgives_the_unit_and_nothing_else(data, unit):
    """It is at most the raw loss and ln 2, and the same in any unit."""
    comparisons, scores = data
    raw = outcome(comparisons, scores)
    scaled = outcome(comparisons, [[unit * x for x in row] for row in scores])
    assert raw.fitted_loss_nats <= min(raw.loss_nats, math.log(2)) + 1e-5
    assert scaled.fitted_loss_nats == pytest.approx(raw.fitted_loss_nats, abs=1e-6)
    assert scaled.accuracy == raw.accuracy


@settings(max_examples=30)
@given(scored())
def test_difference_of_two_models_is_antisymmetric(data):
    """A less B is minus B less A, with the same p; a model less itself is nothing."""
    comparisons, scores = data
    a = edge_table(comparisons, scores)
    b = edge_table(comparisons, [row[::-1] for row in scores])
    for per_edge in (edge_loss, np.sign):
        ab = difference(a, b, per_edge=per_edge, weighting="comparison", resamples=50)
        ba = difference(b, a, per_edge=per_edge, weighting="comparison", resamples=50)
        assert ab.value == pytest.approx(-ba.value)
        assert ab.interval == pytest.approx((-ba.interval[1], -ba.interval[0]))
        assert ab.p_value == ba.p_value
    same = difference(a, a, weighting="edge", resamples=50)
    assert (same.value, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_an_error(bad):
    """The error names the comparison and the reply; no number comes out."""
    with pytest.raises(WorldPMError, match=r"'7': reply 1 scored (nan|inf|-inf)"):
        edge_table([comparison(7, 2, [[0, 1]])], [[0.0, bad]])


@pytest.mark.parametrize(
    ("scores", "words"), [([[1.0]], "shape"), ([], "0 score lists"), ([[[1.0], [2.0]]], "shape")]
)
def test_scores_must_fit_the_replies(scores, words):
    """Too few scores, no list, or scores of shape (2, 1): an error that says the shape."""
    with pytest.raises(WorldPMError, match=words):
        edge_table([comparison(1, 2, [[0, 1]])], scores)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_an_edge_needs_a_positive_weight(weight):
    """A weight of nothing would divide by nothing."""
    with pytest.raises(WorldPMError, match="weight"):
        edge_table([comparison(1, 2, [[0, 1, weight]])], [[1.0, 0.0]])


def test_comparisons_without_edges_take_no_part_and_alone_are_an_error():
    """An undecided comparison neither helps nor hurts; nothing decided is nothing measured."""
    pairs = [comparison(1, 2, []), comparison(2, 2, [[0, 1]])]
    assert outcome(pairs, [[0.0, 9.0], [1.0, 0.0]]).num_comparisons == 1
    with pytest.raises(WorldPMError, match="no comparison has a known edge"):
        outcome(pairs[:1], [[0.0, 9.0]])


def test_select_renumbers_the_comparisons_that_remain():
    """Edges kept from the first and third of three comparisons form clusters 0 and 1."""
    pairs = [comparison(n, 3, [[0, 1], [0, 2]]) for n in range(3)]
    edges = edge_table(pairs, [[3.0, 2.0, 1.0], [0.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    some = select(edges, np.array([True, False, False, False, True, True]))
    assert some.cluster.tolist() == [0, 1, 1]
    assert some.difference.tolist() == [1.0, 0.0, 0.0]
    assert some.best.tolist() == pytest.approx([1.0, 1 / 3])


def test_plain_proportions_have_wilsons_interval_and_others_the_bootstraps():
    """Ten right of ten is not certain; with one prompt of three edges the bootstrap speaks."""
    pairs = [comparison(n, 2, [[0, 1]]) for n in range(10)]
    assert outcome(pairs, [[1.0, 0.0]] * 10).accuracy_interval == pytest.approx(
        (0.7225, 1.0), abs=1e-4
    )
    mixed = [*pairs, comparison(10, 3, [[0, 1], [0, 2], [1, 2]])]
    low, high = outcome(mixed, [[1.0, 0.0]] * 10 + [[1.0, 2.0, 0.0]], "edge").accuracy_interval
    assert low > 0.75
    assert high == 1.0


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    """Bootstrap intervals can be reproduced, and really are drawn."""
    rng = np.random.default_rng(0)
    pairs = [comparison(n, 3, [[0, 1], [0, 2]]) for n in range(40)]
    edges = edge_table(pairs, rng.normal(size=(40, 3)).tolist())
    first, again, other = (measure("x", edges, weighting="edge", seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.loss_interval != other.loss_interval
    assert first.loss_interval[0] < first.loss_nats < first.loss_interval[1]
