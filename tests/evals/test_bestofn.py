"""Best-of-n curves agree with enumeration, and regret is what a perfect judge would gain."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldpm.errors import WorldPMError
from worldpm.evals.bestofn import best_of_n, chances_of_best, worth_of
from worldpm.evals.metrics import edge_table
from worldpm.records import Comparison, Edge


def graded(number: int, quality: list[float]) -> Comparison:
    replies = ((),) * len(quality)
    return Comparison(str(number), "test", None, (), replies, (), {"quality": quality})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.data())
def test_chances_are_those_of_enumeration(values, data):
    """Counting every subset of n replies, ties shared, gives the same chances."""
    n = data.draw(st.integers(1, len(values)))
    counted = np.zeros(len(values))
    subsets = list(itertools.combinations(range(len(values)), n))
    for subset in subsets:
        top = max(values[i] for i in subset)
        best = [i for i in subset if values[i] == top]
        counted[best] += 1 / len(best)
    assert chances_of_best(np.array(values, float), n) == pytest.approx(counted / len(subsets))


def test_a_curve_worked_by_hand():
    """Worths 0, 0, 1 with the good reply scored in the middle: 1/3, then 1/3, then 0."""
    curve = best_of_n([graded(1, [0.0, 0.0, 1.0])], [[3.0, 1.0, 2.0]], resamples=10)
    assert [point.n for point in curve] == [1, 2, 3]
    assert [point.worth for point in curve] == pytest.approx([1 / 3, 1 / 3, 0.0])
    assert [point.ideal for point in curve] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert [point.regret for point in curve] == pytest.approx([0.0, 1 / 3, 1.0])
    assert [point.random for point in curve] == pytest.approx([1 / 3] * 3)
    assert curve[1].kl_nats == pytest.approx(math.log(2) - 0.5)


def test_perfect_scores_have_no_regret_and_constant_ones_are_random():
    """The two ends of every judge."""
    rng = np.random.default_rng(0)
    data = [graded(i, rng.normal(size=8).tolist()) for i in range(30)]
    perfect = best_of_n(data, [c.meta["quality"] for c in data], resamples=50)
    assert all(point.regret == pytest.approx(0.0, abs=1e-12) for point in perfect)
    assert [point.n for point in perfect] == [1, 2, 4, 8]
    for point in best_of_n(data, [[0.0] * 8] * 30, resamples=50):
        assert point.worth == pytest.approx(point.random)
    worths = [point.worth for point in perfect]
    assert worths == sorted(worths)
    assert perfect[3].worth_interval[0] < perfect[3].worth < perfect[3].worth_interval[1]


def test_worth_without_numbers_is_being_unbeaten():
    """Edges alone: a reply that nothing beats is worth 1."""
    edges = (Edge(0, 1), Edge(0, 2), Edge(1, 2))
    assert worth_of(Comparison("1", "t", None, (), ((),) * 3, edges)).tolist() == [1.0, 0.0, 0.0]


def test_a_set_that_says_what_is_correct_is_believed():
    """Of 4 replies and one edge the unbeaten are three, the correct ones two."""
    meta = {"correct": [0, 2]}
    few = Comparison("1", "t", None, (), ((),) * 4, (Edge(0, 1),), meta)
    assert worth_of(few).tolist() == [1.0, 0.0, 1.0, 0.0]
    scores = [[0.0, 1.0, 2.0, 3.0]]  # the top one is wrong, though nothing is known to beat it
    assert best_of_n([few], scores, resamples=10)[-1].worth == 0.0
    assert edge_table([few], scores).best.tolist() == [0.0]


def test_points_count_the_prompts_that_have_so_many_replies():
    """Three and five replies: both in n = 1 and 2, one in n = 4 and 5; pairs take no part."""
    data = [graded(1, [0, 1, 2]), graded(2, [0, 1, 2, 3, 4]), graded(3, [0, 1])]
    curve = best_of_n(data, [c.meta["quality"] for c in data], resamples=10)
    assert [(point.n, point.num_comparisons) for point in curve] == [(1, 2), (2, 2), (4, 1), (5, 1)]
    assert best_of_n(data[2:], [[0.0, 1.0]]) == ()


def test_a_prompt_of_which_nothing_is_known_takes_no_part():
    """A quality of null says no more than none: without an edge all replies would be as good."""
    known = graded(1, [0, 0, 1])
    unknown = Comparison("2", "t", None, (), ((),) * 3, (), {"quality": None})
    scores = [[0.0, 0.0, 1.0]] * 2
    assert best_of_n([known, unknown], scores) == best_of_n([known], scores[:1])
    assert best_of_n([unknown], scores[:1]) == ()


@pytest.mark.parametrize("quality", [[1.0], [1.0, math.nan, 0.0]])
def test_quality_must_fit_the_replies(quality):
    """The error names the comparison."""
    bad = Comparison("7", "t", None, (), ((),) * 3, (), {"quality": quality})
    with pytest.raises(WorldPMError, match=r"'7'.*quality"):
        best_of_n([bad], [[1.0, 2.0, 3.0]])
