"""The gain of one arm over another: relative as the paper prints it, its interval honest."""

import numpy as np
import pytest

from worldpm.evals.arms import gain
from worldpm.records import Comparison, Edge, Message


def comparisons(count: int) -> list[Comparison]:
    replies = ((Message("assistant", "a"),), (Message("assistant", "b"),))
    return [Comparison(str(i), "s", None, (), replies, (Edge(0, 1),)) for i in range(count)]


def scores(right: np.ndarray) -> list[list[float]]:
    """Reply 0 is ahead by 1 where `right`, behind by 1 elsewhere."""
    return [[float(each), float(not each)] for each in right]


def exactly(count: int, total: int) -> list[list[float]]:
    return scores(np.arange(total) < count)


def test_relative_gain_is_the_papers():
    """RM-Bench code, 7B, HelpSteer2: 57.68 -> 60.96 is +5.69 % (WorldPM, Table 2)."""
    found = gain(comparisons(10_000), [exactly(5768, 10_000)], [exactly(6096, 10_000)])
    assert found.absolute == pytest.approx(0.0328)
    assert f"{found.relative:+.2%}" == "+5.69%"
    assert (found.num_comparisons, found.num_edges) == (10_000, 10_000)


def test_the_loss_of_known_scores():
    """softplus(-1) where right, softplus(1) where wrong, in nats; less is a gain below 0."""
    found = gain(comparisons(4), [exactly(2, 4)], [exactly(4, 4)], measure="loss_nats")
    assert found.with_.mean == pytest.approx(np.log1p(np.exp(-1)))
    assert found.absolute == pytest.approx(-0.5)


def test_arms_are_means_over_their_seeds():
    """Each seed's value is kept, and one comparison drawn twice is drawn twice for every run."""
    found = gain(comparisons(100), [exactly(50, 100), exactly(60, 100)], [exactly(70, 100)] * 2)
    assert found.without.by_seed == pytest.approx((0.5, 0.6))
    assert found.without.mean == pytest.approx(0.55)
    assert found.with_.mean == pytest.approx(0.7)


def test_equal_runs_have_no_gain_and_no_width():
    """What is the same in both arms cancels in every resample, since prompts are shared."""
    runs = [exactly(30, 50), exactly(35, 50)]
    found = gain(comparisons(50), runs, runs)
    assert found.absolute == 0
    assert found.interval == (0.0, 0.0)
    assert found.without.interval[0] < found.without.interval[1]


def test_seeds_that_disagree_widen_the_interval():
    """The same prompts with a gain of +20 at one seed and -10 at another: zero is not excluded."""
    without = [exactly(500, 1000)] * 3
    with_ = [exactly(700, 1000), exactly(400, 1000), exactly(550, 1000)]
    found = gain(comparisons(1000), without, with_)
    assert found.absolute == pytest.approx(0.05)
    assert found.interval[0] < 0 < found.interval[1]
    assert found.prompts_only[0] > 0


def test_the_interval_holds_a_known_gain():
    """Of 100 studies with a true gain of 0.05, about 95 hold it; none has no width."""
    rng = np.random.default_rng(0)
    held, rows = 0, comparisons(300)
    for study in range(100):
        base = rng.random(300)
        runs = [[scores(base + noise < rate) for noise in 0.02 * rng.standard_normal((8, 300))]
                for rate in (0.55, 0.6)]  # fmt: skip
        low, high = gain(rows, *runs, seed=study, resamples=300).interval
        assert low < high
        held += low <= 0.05 <= high
    assert 86 <= held <= 100


def test_a_gain_over_nothing_has_no_ratio():
    """An arm that is never right: the gain is absolute alone, and nothing is divided by zero."""
    found = gain(comparisons(5), [exactly(0, 5)], [exactly(5, 5)])
    assert found.absolute == 1
    assert np.isnan([found.relative, *found.relative_interval]).all()
    rare = gain(comparisons(5), [exactly(1, 5)], [exactly(5, 5)])
    assert rare.relative == pytest.approx(4)
    assert np.isfinite(rare.relative_interval).all()
