"""Flat data is called flat at the stated rate, a trend is found."""

import numpy as np
from laws import draw

from worldpm.scaling.law import fit_law
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


def shared_draws(seed, *, named=True):
    """Four sizes on the same six amounts by two seeds: a draw errs alike at every size."""
    rng = np.random.default_rng([5, seed])
    amounts = np.repeat(np.geomspace(1e3, 1e5, 6), 2)
    error = np.tile(rng.normal(size=12) * 0.05, 4) + rng.normal(size=48) * 0.01
    labels = tuple({"seed": str(place % 2)} if named else {} for place in range(48))
    params = np.repeat([1e6, 2e6, 4e6, 8e6], 12)
    return Points(params, np.tile(amounts, 4), 0.7 * np.exp(error), None, labels)


def test_sizes_that_learnt_from_the_same_draws_do_not_confirm_each_other():
    """300 flat studies: by draws at most 7.5 % show a trend; by points, of no seed, over 20 %."""
    by_draws = by_points = 0
    for seed in range(300):
        found = trend_test(shared_draws(seed), seed=seed, draws=199)
        assert found.how == "draws"
        by_draws += found.is_there
        by_points += trend_test(shared_draws(seed, named=False), seed=seed, draws=199).is_there
    assert by_draws <= 22
    assert by_points > 60


def test_intervals_go_by_shared_draws():
    """100 flat studies: intervals of the exponent by draws hold 0 in 88 at least, by points not."""

    def held(named):
        laws = (
            fit_law(shared_draws(s, named=named), "power", seed=s, resamples=200)
            for s in range(100)
        )
        return sum(law.parameters["alpha"].low <= 0 <= law.parameters["alpha"].high for law in laws)

    law = fit_law(shared_draws(0), "power", seed=0, resamples=50)
    assert law.draws.how == "draws"
    assert held(True) >= 88
    assert held(False) < 75


def test_draws_are_shared_only_where_every_size_has_each_once():
    """Without a seed, with one size, or with a run missing, points stand by themselves."""
    points = shared_draws(0)
    assert len(set(points.shared_draws())) == 12
    assert shared_draws(0, named=False).shared_draws() is None
    assert points.take(np.arange(12)).shared_draws() is None
    assert points.take(np.arange(47)).shared_draws() is None
    assert points.take(np.r_[np.arange(48), 47]).shared_draws() is None


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
