"""A fit -> 95 % intervals of its parameters, bands of its curve, and of what will be observed.

    draws = resample(fit, runs, resamples=1000, seed=0)
    intervals(fit, draws)                 ->  {"alpha": Interval(0.31, 0.38), ...}
    predict(fit, draws, log_inputs)       ->  Prediction(middle, low, high)

An interval holds the values v whose best fit is not much worse than the best of all:

    F(v) = (objective held at v - objective) (n - p) / objective   <=   critical

The critical value is not taken from a table but from fits to resampled data, in which the fitted
value is the true one. So a parameter that the points do not settle has an interval without an end,
where a bootstrap of the parameter itself would claim one; and a change of units changes nothing.

Resampled are the residuals, not the points: a design of few sizes is kept. Where points belong to
runs, the residuals of a run stay together and are multiplied by one random number (the wild cluster
bootstrap; Webb's six points, of which few runs give many combinations); so do those of one draw of
data where several sizes learnt from the same draws. Otherwise each is drawn
from all ("residuals"), or, from 100 points up, gets a sign of its own ("signs"), which holds where
noise is uneven or some points are off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldpm.scaling.fit import Fit, minimise
from worldpm.scaling.shapes import Floats

RESAMPLES = 1000
LEVEL = 0.95
# From here signs, which bear uneven noise and points that are off; of 24 points they hold 93 %.
MANY_POINTS = 100
LEAST_RUNS = 6  # fewer runs cannot be drawn from
_ENOUGH = 1e-8  # of an objective: a part in a million of F
_WEBB = np.sqrt([0.5, 1.0, 1.5])
_REACH = np.geomspace(0.1, 200.0, 40)  # standard errors from the optimum at which F is computed


@dataclass(frozen=True, slots=True)
class Interval:
    """Two ends; None is an end that the points do not settle."""

    low: float | None
    high: float | None

    def holds(self, value: float) -> bool:
        """Whether a value lies within."""
        above = self.low is None or self.low <= value
        return above and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class Draws:
    """Refits of resampled data: theta (b, p), spread (b,), F (b, p) of the fitted values."""

    how: str
    theta: Floats
    spread: Floats
    ratios: Floats
    noise: Floats  # log residuals to add to a prediction, (n,)
    seed: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """Values (m,) with the ends of their interval."""

    middle: Floats
    low: Floats
    high: Floats


def resample(
    fit: Fit, runs: Sequence[str] | None = None, *, seed: int, resamples: int = RESAMPLES,
    kind: str | None = None,
) -> Draws:  # fmt: skip
    """Refit to `resamples` resampled sets of points; `runs` (n,) says which points belong together.

    `kind` is "runs", "residuals" or "signs", None the one that fits.
    """
    rng = np.random.default_rng(seed)
    count, (num_points, num_parameters) = resamples, (len(fit.target), len(fit.theta))
    names = np.asarray(runs if runs is not None else np.arange(num_points).astype(str))
    each, group = np.unique(names, return_inverse=True)
    if kind is None:
        single = "residuals" if num_points < MANY_POINTS else "signs"
        kind = "runs" if LEAST_RUNS <= len(each) < num_points else single
    noise = fit.residuals / np.sqrt(np.maximum(1.0 - _leverage(fit), 0.05))
    if kind == "residuals":
        noise = noise - noise.mean()
        moved = noise[rng.integers(num_points, size=(count, num_points))]
    elif kind == "signs":
        moved = noise * rng.choice([-1.0, 1.0], size=(count, num_points))
    else:
        factor = rng.choice(np.concatenate([-_WEBB, _WEBB]), size=(count, len(each)))
        moved = noise * factor[:, group]
    targets = fit.form.log_curve(fit.inputs, fit.theta) + moved
    theta, objective = _refit(fit, targets)
    ratios = np.zeros((count, num_parameters))
    for place in range(num_parameters):
        held_theta, held = _refit(fit, targets, place, np.full(count, fit.theta[place]))
        better = held < objective
        theta[better], objective[better] = held_theta[better], held[better]
        ratios[:, place] = held
    ratios = (ratios / np.maximum(objective, 1e-300)[:, None] - 1.0) * fit.num_free
    spread = np.sqrt(2 * objective / fit.num_free)
    return Draws(kind, theta, spread, np.maximum(ratios, 0.0), noise, seed)


def _leverage(fit: Fit) -> Floats:
    """How much each point draws the curve to itself, from 0 to 1: (n,)."""
    slopes = fit.form.curve(fit.inputs, fit.theta[None])[1][0]
    left = np.linalg.svd(slopes / np.maximum(np.abs(slopes).max(0), 1e-300), full_matrices=False)[0]
    return np.asarray((left**2).sum(1), np.float64)


def _refit(
    fit: Fit, targets: Floats, held: int | None = None, values: Floats | None = None
) -> tuple[Floats, Floats]:
    """The best of the fits from each optimum, to each of `targets` (b, n)."""
    limits = fit.form.bounds(fit.inputs, fit.target)
    best_theta, best = np.empty(0), np.empty(0)
    for optimum in fit.optima:
        starts = np.tile(optimum, (len(targets), 1))
        if held is not None:
            assert values is not None
            starts = starts + _tangent(fit, held) * (values - optimum[held])[:, None]
            starts[:, held] = values
        theta, found = minimise(
            fit.form, fit.inputs, targets, starts, fit.delta, limits, held, enough=_ENOUGH
        )
        if not len(best):
            best_theta, best = theta, found
        better = found < best
        best_theta = np.where(better[:, None], theta, best_theta)
        best = np.where(better, found, best)
    return best_theta, best


def _covariance(fit: Fit) -> Floats:
    slopes = fit.form.curve(fit.inputs, fit.theta[None])[1][0]
    return np.asarray(np.linalg.pinv(slopes.T @ slopes, rcond=1e-14) * fit.spread**2, np.float64)


def _tangent(fit: Fit, held: int) -> Floats:
    """How the other coordinates move with one unit of `held`, near the optimum: (p,)."""
    covariance = _covariance(fit)
    return np.asarray(covariance[held] / max(covariance[held, held], 1e-300), np.float64)


def critical_ratios(draws: Draws, level: float = LEVEL) -> Floats:
    """The F (p,) that a true value stays below with probability `level`."""
    count = len(draws.ratios)
    place = min(count - 1, int(np.ceil(level * (count + 1))) - 1)
    return np.asarray(np.sort(draws.ratios, axis=0)[place], np.float64)


def profile(fit: Fit, place: int, values: Floats) -> Floats:
    """F (m,) of the coordinate `place` held at `values` (m,), the others refitted."""
    targets = np.tile(fit.target, (len(values), 1))
    found = _refit(fit, targets, place, values)[1]
    return np.asarray((found / max(fit.objective, 1e-300) - 1.0) * fit.num_free, np.float64)


def intervals(fit: Fit, draws: Draws, level: float = LEVEL) -> dict[str, Interval]:
    """The interval of each parameter by its name, in its own unit."""
    critical = critical_ratios(draws, level)
    limits = fit.form.bounds(fit.inputs, fit.target)
    found = {}
    for place, parameter in enumerate(fit.form.parameters):
        ends = [_end(fit, place, way, float(critical[place]), limits) for way in (-1.0, 1.0)]
        low, high = (None if end is None else parameter.value(end) for end in ends)
        found[parameter.name] = Interval(low, high)
    return found


def _end(fit: Fit, place: int, way: float, critical: float, limits: Floats) -> float | None:
    """Where F first exceeds `critical` in one direction; None if it never does."""
    at, limit = float(fit.theta[place]), float(limits[int(way > 0), place])
    error = float(np.sqrt(np.maximum(_covariance(fit)[place, place], 0.0)))
    if not np.isfinite(error) or error <= 0:
        error = 1e-9 + abs(at) * 1e-9
    error = min(error, 1.0)
    values = at + way * error * _REACH
    if np.isfinite(limit):
        inside = values < limit if way > 0 else values > limit
        values = np.append(values[inside], limit)
    height = np.sqrt(np.maximum(profile(fit, place, values), 0.0))
    bar = np.sqrt(critical)
    beyond = np.flatnonzero(height > bar)
    if not len(beyond):
        return None
    first = int(beyond[0])
    before_value, before = (at, 0.0) if first == 0 else (values[first - 1], height[first - 1])
    share = (bar - before) / (height[first] - before)
    return float(before_value + share * (values[first] - before_value))


def predict(
    fit: Fit, draws: Draws, inputs: Floats, *, noisy: bool, level: float = LEVEL
) -> Prediction:
    """The curve at `inputs` (k, m) with its interval; `noisy` adds what a new point scatters.

    Errors of the refits are divided by their own spread and multiplied by the fit's (a studentised
    bootstrap), so that few points make the interval wider as they should.
    """
    middle = fit.form.log_curve(inputs, fit.theta)
    errors = middle - fit.form.log_curve(inputs, draws.theta)  # truth less refit, (b, m)
    if noisy:
        rng = np.random.default_rng([draws.seed, 1])
        errors = errors + draws.noise[rng.integers(len(draws.noise), size=errors.shape)]
    errors = errors / np.maximum(draws.spread, 1e-300)[:, None] * fit.spread
    tail = (1 - level) / 2
    low, high = np.quantile(errors, [tail, 1 - tail], axis=0)
    return Prediction(np.exp(middle), np.exp(middle + low), np.exp(middle + high))
