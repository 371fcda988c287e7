"""Intervals hold what they claim: a small proof here, the long one in test_calibration."""

import numpy as np
import pytest
from laws import CHINCHILLA, draw, truth

from worldpm.scaling.fit import fit
from worldpm.scaling.intervals import Interval, critical_ratios, intervals, predict, resample
from worldpm.scaling.points import read_points
from worldpm.scaling.shapes import FORMS


def fitted(name, points, **options):
    return fit(FORMS[name], points.inputs(FORMS[name]), points.target, **options)


def test_an_interval_without_an_end_holds_what_is_beyond():
    """None is an end that is nowhere."""
    assert Interval(None, 2.0).holds(-1e9)
    assert not Interval(None, 2.0).holds(2.1)
    assert Interval(1.0, None).holds(1e9)
    assert not Interval(1.0, 2.0).holds(0.9)


def test_of_sixty_power_laws_most_exponents_lie_within():
    """60 studies: between 53 and all hold the true exponent, as 95 % would in 98 of 100 trials."""
    inside, widths = 0, []
    for seed in range(60):
        found = fitted("power", draw("power", seed))
        ends = intervals(found, resample(found, seed=seed, resamples=100))["alpha"]
        inside += ends.holds(truth("power")["alpha"])
        widths.append(ends.high - ends.low)
    assert 53 <= inside <= 60
    assert np.mean(widths) < 0.012, "an interval that holds everything says nothing"


@pytest.mark.parametrize("drop", [0, 5])
def test_the_published_law_lies_within_on_the_published_points(drop):
    """With and without the five runs that Besiroglu et al. left out, for every parameter."""
    points = read_points(CHINCHILLA)
    points = points.without_highest(drop) if drop else points
    found = fitted("joint", points, delta=1e-3)
    ends = intervals(found, resample(found, seed=0, resamples=100))
    published = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
    for name, value in published.items():
        assert ends[name].holds(value), name
    assert not ends["E"].holds(1.69), "Hoffmann et al.'s own estimate, which the points refute"
    assert ends["alpha"].high - ends["alpha"].low < 0.1


def test_draws_are_those_of_their_seed():
    """The same seed gives the same draws, another one others."""
    found = fitted("power", draw("power", 0))
    first, again, other = (resample(found, seed=s, resamples=50) for s in (0, 0, 1))
    assert np.array_equal(first.theta, again.theta)
    assert not np.array_equal(first.theta, other.theta)


def with_runs(seed: int, common: float):
    """Eight runs of six points, each run off by a number of its own."""
    rng = np.random.default_rng([5, seed])
    x = np.tile(np.geomspace(1e3, 1e6, 6), 8)
    runs = np.repeat(np.arange(8), 6)
    noise = common * rng.normal(size=8)[runs] + 0.01 * rng.normal(size=48)
    y = FORMS["constant"].log_curve(np.log(x[None]), np.array([np.log(0.6)])) + noise
    return fit(FORMS["constant"], np.log(x[None]), y), tuple(map(str, runs))


def test_runs_that_err_together_widen_the_interval():
    """Six points of one run are not six: by runs the interval is far wider than by points."""
    found, runs = with_runs(0, common=0.03)
    by_runs = resample(found, runs, seed=0, resamples=300)
    assert by_runs.how == "runs"
    by_points = resample(found, runs, seed=0, resamples=300, kind="residuals")
    wide, narrow = (intervals(found, draws)["level"] for draws in (by_runs, by_points))
    assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)


def test_by_runs_the_level_is_held_as_often_as_claimed():
    """80 studies of eight runs that err together: by runs at least 68 hold, by points under 56."""
    held = {"runs": 0, "residuals": 0}
    for seed in range(80):
        found, runs = with_runs(seed, common=0.03)
        for kind in held:
            draws = resample(found, runs, seed=seed, resamples=100, kind=kind)
            held[kind] += intervals(found, draws)["level"].holds(0.6)
    assert held["runs"] >= 68
    assert held["residuals"] < 56


def test_what_is_chosen_to_resample():
    """Runs where six are there, residuals for few points, signs for many."""
    found, runs = with_runs(0, common=0.0)
    assert resample(found, seed=0, resamples=50).how == "residuals"
    assert resample(found, ["a", "b", "c"] * 16, seed=0, resamples=50).how == "residuals"
    assert resample(found, runs, seed=0, resamples=50).how == "runs"
    many = fitted("joint", read_points(CHINCHILLA))
    assert resample(many, seed=0, resamples=50).how == "signs"


def test_a_floor_that_is_not_in_sight_has_no_lower_end():
    """Points of a pure power law over one decade do not say that E is above 0."""
    points = draw("power", 2)
    points = points.take(np.flatnonzero(points.data < 2e4))
    found = fitted("power-floor", points)
    ends = intervals(found, resample(found, seed=0, resamples=100))
    assert ends["E"].low is None


def test_a_prediction_holds_the_next_point_and_its_band_the_curve():
    """60 studies, four times as far: at least 52 new points and 52 true values lie within."""
    form, place = FORMS["power"], np.log([[4e6]])
    theta = np.array([np.log(1.5), 0.08])
    inside = {True: 0, False: 0}
    for seed in range(60):
        found = fitted("power", draw("power", seed))
        draws = resample(found, seed=seed, resamples=100)
        true = form.log_curve(place, theta)[0]
        new = true + 0.02 * np.random.default_rng([9, seed]).normal()
        for noisy, value in ((True, new), (False, true)):
            seen = predict(found, draws, place, noisy=noisy)
            inside[noisy] += bool(seen.low[0] <= np.exp(value) <= seen.high[0])
    assert min(inside.values()) >= 52


def test_the_critical_value_grows_with_the_level():
    """A surer interval is a wider one."""
    found = fitted("power", draw("power", 0))
    draws = resample(found, seed=0, resamples=200)
    assert (critical_ratios(draws, 0.99) > critical_ratios(draws, 0.8)).all()
