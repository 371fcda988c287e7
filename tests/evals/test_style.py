"""Style control finds a planted effect, and held out gives style-only models no credit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.errors import ConfigError
from worldpm.evals.metrics import EdgeTable, edge_table
from worldpm.evals.style import check_features, phi, style_edges, style_report
from worldpm.records import Comparison, Edge, Message
from worldpm.surface import FEATURES, PAPER


def comparison(first: str, second: str, identifier: str = "1") -> Comparison:
    replies = ((Message("assistant", first),), (Message("assistant", second),))
    return Comparison(identifier, "test", None, (), replies, (Edge(0, 1),))


def planted(pairs: int, alpha: float, beta, seed: int, per_prompt: int = 1):
    """Edges whose label follows alpha * score + beta @ style: (table, style), winner first."""
    rng = np.random.default_rng(seed)
    style = np.clip(rng.normal(scale=0.4, size=(pairs, len(beta))), -1, 1)
    score = rng.normal(scale=1.5, size=pairs) + style[:, 0]  # the model likes length itself
    chance = 1 / (1 + np.exp(-(alpha * score + style @ np.array(beta))))
    turn = np.where(rng.random(pairs) < chance, 1.0, -1.0)
    cluster = np.arange(pairs) // per_prompt
    edges = EdgeTable(score * turn, cluster, np.ones(pairs), None)
    return edges, style * turn[:, None]


TEXT = (
    "# Title\n\n- one **bold**\n- two\n\n1. three\n\n"
    "```\n- not a list\n# nor a header\n```\nI'm sorry 🙂"
)


@pytest.mark.parametrize(
    ("feature", "count"),
    [("lists", 3), ("headers", 1), ("bold", 1), ("emoji", 1), ("code", 1), ("refusal", 1),
     ("length", 15), ("characters", len(TEXT))],
)  # fmt: skip
def test_features_of_a_text(feature, count):
    """Each counts its own marks, and marks inside fenced code are code."""
    assert FEATURES[feature](TEXT) == count


@pytest.mark.parametrize(
    ("text", "refuses"),
    [("I cannot help with that.", 1), ("As an AI, I have no body.", 1), ("抱歉，我不能。", 1),
     ("You can do it.", 0), ("x" * 400 + " I cannot", 0)],
)  # fmt: skip
def test_refusals_are_seen_at_the_start(text, refuses):
    """A refusal opens the reply; the same words far below are part of an answer."""
    assert FEATURES["refusal"](text) == refuses


def test_relative_differences_by_hand():
    """(3 - 1) / 4 words, no lists on either side, one bold against none."""
    row = style_edges([comparison("a **b** c", "d")], PAPER)
    assert row.tolist() == [[0.5, 0.0, 0.0, 1.0]]
    tokens = style_edges([comparison("abc", "d")], ["length"], count_tokens=len)
    assert tokens.tolist() == [[0.5]]


@given(st.text(max_size=40), st.text(max_size=40))
def test_turning_a_pair_round_turns_its_style_round(first, second):
    """Z(a, b) = -Z(b, a), between -1 and 1, for any text at all."""
    ab = style_edges([comparison(first, second)], list(FEATURES))
    ba = style_edges([comparison(second, first)], list(FEATURES))
    assert np.allclose(ab, -ba)
    assert np.abs(ab).max() <= 1


def test_rows_follow_the_edges_of_the_table():
    """Undecided comparisons have no row, and several edges of one have one each, in order."""
    replies = tuple((Message("assistant", "w " * n),) for n in (1, 3, 5))
    three = Comparison("3", "t", None, (), replies, (Edge(0, 1), Edge(2, 0)))
    none = Comparison("0", "t", None, (), replies, ())
    data = [none, three, comparison("a", "b")]
    style = style_edges(data, ["length"])
    assert style[:, 0].tolist() == pytest.approx([-0.5, 4 / 6, 0.0])
    assert len(style) == len(edge_table(data, [[0.0] * 3, [0.0] * 3, [0.0] * 2]).difference)


def test_planted_alpha_and_beta_are_recovered():
    """20,000 pairs with alpha 0.7 and beta (2, -1): both within four standard errors."""
    edges, style = planted(20_000, 0.7, [2.0, -1.0, 0.0], seed=1)
    report = style_report(edges, style, ["length", "lists", "bold"], weighting="edge", resamples=20)
    assert report.alpha == pytest.approx(0.7, abs=0.06)
    assert list(report.beta.values()) == pytest.approx([2.0, -1.0, 0.0], abs=0.2)
    held_out, in_sample = report.controlled.held_out_loss_nats, report.controlled.loss_nats
    assert held_out == pytest.approx(in_sample, abs=1e-3)
    assert report.controlled.loss_nats < report.uncontrolled.loss_nats - 0.02
    assert report.over_style.value > 0.05
    assert report.over_style.p_value < 0.05
    assert report.less_loss.interval[1] < 0


def test_style_that_means_nothing_is_credited_in_sample_only():
    """On 40 small sets of labels without any style effect: in sample above one half, held out not.

    This is the correction of the paper's own measure, both sides shown by the one report.
    """
    names = list(FEATURES)
    reports = []
    for seed in range(40):
        edges, style = planted(60, 0.0, [0.0] * len(names), seed=seed)
        reports.append(style_report(edges, style, names, weighting="edge", resamples=20))
    only = [each.style_only for each in reports]
    assert np.mean([each.accuracy for each in only]) > 0.58
    assert np.mean([each.held_out_accuracy for each in only]) < 0.53
    assert np.mean([each.loss_nats for each in only]) < math.log(2) - 0.03
    assert np.mean([each.held_out_loss_nats for each in only]) > math.log(2)


def test_a_model_of_style_alone_adds_nothing_over_style():
    """Scores that are the length itself: raw accuracy is good, the gain over style is none."""
    edges, style = planted(3000, 0.0, [3.0, 0.0], seed=3)
    scored = EdgeTable(style[:, 0] * 5, edges.cluster, edges.weight, None)
    report = style_report(scored, style, ["length", "lists"], weighting="edge", resamples=200)
    assert report.uncontrolled.held_out_accuracy > 0.65
    assert abs(report.over_style.value) < 0.005
    assert abs(report.less_loss.value) < 0.002


def test_folds_keep_the_edges_of_a_prompt_together():
    """Copies of one pair under one prompt cannot teach their own fold: no better than chance."""
    rng = np.random.default_rng(4)
    style = np.repeat(rng.choice([-1.0, 1.0], size=(40, 1)), 10, axis=0)
    style = np.column_stack([style, np.repeat(rng.normal(size=(40, 12)), 10, axis=0)])
    names = ["length", *[f"x{i}" for i in range(12)]]
    cluster = np.repeat(np.arange(40), 10)
    edges = EdgeTable(np.zeros(400), cluster, np.ones(400), None)
    report = style_report(edges, style, names, weighting="edge", resamples=20)
    assert report.style_only.accuracy > 0.7
    assert report.style_only.held_out_accuracy < 0.65


def test_phi_by_hand_and_its_ends():
    """Three agreements and one disagreement: 1/2; always 1, never -1, nothing to compare None."""
    ones = np.ones(5)
    first, second = np.array([1.0, 1, -2, 1, 0]), np.array([3.0, 1, -1, -1, 1])
    assert phi(first, second, ones) == pytest.approx(0.5)
    assert phi(first, first, ones) == 1.0
    assert phi(first, -first, ones) == -1.0
    assert phi(first, np.zeros(5), ones) is None


def test_phi_is_equation_6_on_pairs_counted_both_ways_round():
    """n11 n00 - n10 n01 over the root of the margins, written out."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=50), rng.normal(size=50)
    a = np.concatenate([first, -first]) > 0
    b = np.concatenate([second, -second]) > 0
    n11, n00 = np.sum(a & b), np.sum(~a & ~b)
    n10, n01 = np.sum(a & ~b), np.sum(~a & b)
    margins = float(a.sum()) * (~a).sum() * b.sum() * (~b).sum()
    expected = (n11 * n00 - n10 * n01) / math.sqrt(margins)
    assert phi(first, second, np.ones(50)) == pytest.approx(expected)


def test_the_split_by_length():
    """Right on the longer, wrong on the shorter, equal lengths in neither."""
    data = [comparison("a b c", "d"), comparison("e", "f g"), comparison("h", "i")]
    edges = edge_table(data, [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    report = style_report(edges, style_edges(data), weighting="edge", resamples=20)
    assert report.chosen_longer_accuracy == 1.0
    assert report.chosen_shorter_accuracy == 0.0
    assert report.chosen_longer_share == pytest.approx(1 / 3)
    assert report.phi_labels == {"length": 0.0, "marks": None}
    assert report.phi_predicted["length"] == 1.0


@pytest.mark.parametrize("names", [[], ["length", "length"], ["lenght"]])
def test_unknown_and_double_features_are_refused(names):
    """The message lists what there is."""
    with pytest.raises(ConfigError, match="style feature"):
        check_features(names)
