"""Flat data is called flat at the stated rate, a trend is found."""

import numpy as np
from laws import draw

from worldpm.scaling.points import Points
from worldpm.scaling.trend import trend_test


def points_of(value, data, params=None, runs=None):
    return Points(params, data, np.asarray(value), runs, tuple({} for _ in data))


def test_of_flat_studies_one_in_twenty_shows_a_trend():
    """400 studies: 5 % with p below 0.05, up to three deviations of that count."""
    seen = sum(trend_test(draw("constant", s), seed=s, draws=199).is_there for s in range(400))
    assert 20 - 13 <= seen <= 20 + 13


def test_a_trend_is_found():
    """A power law with an exponent of 0.08 is never missed; its slope is minus the exponent."""
    found = [trend_test(draw("power", s), seed=s, draws=199) for s in range(20)]
    assert all(each.is_there for each in found)
    assert abs(np.mean([each.slope for each in found]) + 0.08) < 0.005


def test_sizes_that_differ_are_no_trend_with_data():
    """Larger models that are better and saw more data make no trend of the data."""
    rng = np.random.default_rng(0)
    params = np.repeat([1e6, 1e7, 1e8], 6)
    data = np.concatenate([np.geomspace(1e3, 1e4, 6) * 10**i for i in range(3)])
    value = np.repeat([0.7, 0.6, 0.5], 6) * np.exp(0.01 * rng.normal(size=18))
    assert trend_test(points_of(value, data), seed=0).is_there
    assert not trend_test(points_of(value, data, params), seed=0).is_there


def test_a_trend_with_size_is_not_looked_for_within_sizes():
    """With --x params the sizes are the data: larger is better at one amount."""
    params = np.repeat([1e6, 1e7, 1e8], 4)
    value = np.repeat([0.7, 0.6, 0.5], 4) + 0.01 * np.random.default_rng(0).normal(size=12)
    labels = tuple({} for _ in params)
    assert trend_test(Points(params, params, value, None, labels, "params"), seed=0).is_there


def drifting_runs(seed):
    """Eight runs without a trend in common, each drifting its own way."""
    rng = np.random.default_rng([3, seed])
    data = np.tile(np.geomspace(1e3, 1e6, 6), 8)
    drift = np.cumsum(rng.normal(size=(8, 6)) * 0.02, axis=1).ravel()
    return points_of(0.6 * np.exp(drift), data, runs=tuple(np.repeat(list("abcdefgh"), 6)))


def test_drifting_runs_are_judged_by_runs():
    """300 studies: by whole runs at most 7.5 % show a trend; exchanging their points, over 12 %."""
    by_runs = by_points = 0
    for seed in range(300):
        points = drifting_runs(seed)
        found = trend_test(points, seed=seed, draws=199)
        assert found.how == "runs"
        by_runs += found.is_there
        loose = points_of(points.value, points.data, np.repeat(np.arange(1.0, 9.0), 6))
        by_points += trend_test(loose, seed=seed, draws=199).is_there
    assert by_runs <= 22
    assert by_points > 36


def test_nothing_to_see_has_p_one():
    """One amount of data, or one value, shows nothing."""
    assert trend_test(points_of([0.5, 0.6, 0.7], np.full(3, 1e3)), seed=0).p == 1.0
    assert trend_test(points_of(np.full(4, 0.5), np.geomspace(1, 8, 4)), seed=0).p == 1.0
