"""Two models on one suite: paired by comparison, group by group, with q-values over all tests."""

import pytest

from worldpm.evals.contrast import contrast, with_q_values
from worldpm.evals.mistakes import worst_mistakes
from worldpm.records import Comparison, Edge


def pair(number: int, kind: str) -> Comparison:
    return Comparison(str(number), "t", None, (), ((), ()), (Edge(0, 1),), {"class": kind})


DATA = [pair(n, "safety" if n < 10 else "objective") for n in range(40)]
RIGHT, WRONG = [[1.0, 0.0]] * 40, [[0.0, 1.0]] * 40


def test_groups_and_values_by_hand():
    """A right everywhere, B wrong on safety alone: +1 there, 0 elsewhere, +1/4 in all."""
    b = WRONG[:10] + RIGHT[10:]
    found = contrast(DATA, ("a", RIGHT), ("b", b), suite="s", resamples=200)
    values = {each.group: each.accuracy.value for each in found}
    assert values == {"s": 0.25, "safety": 1.0, "objective": 0.0}
    assert [each.num_comparisons for each in found] == [40, 10, 30]
    assert found[0].loss.value < 0
    assert found[2].accuracy.p_value == 1.0
    assert {(each.a, each.b) for each in found} == {("a", "b")}


def test_turning_the_models_round_turns_the_difference_round():
    """Same p, opposite value."""
    b = WRONG[:10] + RIGHT[10:]
    ab = contrast(DATA, ("a", RIGHT), ("b", b), suite="s", resamples=200)[0]
    ba = contrast(DATA, ("b", b), ("a", RIGHT), suite="s", resamples=200)[0]
    assert ab.accuracy.value == -ba.accuracy.value
    assert ab.accuracy.p_value == ba.accuracy.p_value


def test_q_values_look_at_all_tests_together():
    """Among more tests the same p has a higher q; without `with_q_values` there is none."""
    b = WRONG[:3] + RIGHT[3:]
    found = contrast(DATA, ("a", RIGHT), ("b", b), suite="s", resamples=500)
    assert {each.q_accuracy for each in found} == {None}
    few, many = with_q_values(found[:1])[0], with_q_values(found)[0]
    assert few.q_accuracy == pytest.approx(few.accuracy.p_value)
    assert many.q_accuracy > few.q_accuracy
    assert few.q_loss is not None


def test_worst_mistakes_are_one_a_comparison_worst_first():
    """The most wrong edge of each comparison; right ones and ties are no mistakes."""
    grid = Comparison("g", "t", None, (), ((), (), ()), (Edge(0, 1), Edge(0, 2)))
    found = worst_mistakes([*DATA[:3], grid], [[0.0, 2.0], [1, 0], [0, 0], [0.0, 1.0, 5.0]])
    assert [(each.id, each.loser, each.difference) for each in found] == [
        ("g", 2, -5.0),
        ("0", 1, -2.0),
    ]
    assert len(worst_mistakes(DATA, WRONG, most=7)) == 7
