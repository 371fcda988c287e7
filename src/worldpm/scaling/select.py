"""Points -> which shape they follow: flat, a power law, one with a floor, a broken one, a step.

choose(points, seed=0)     ->  Choice(form="power", candidates=..., trend=...)

1. No trend by the permutation test, and no shape ahead of the constant by `SURE`: flat.
2. Otherwise the lowest AICc (Hurvich and Tsai 1989, of Huber's loss at one delta for all). The
   place of a break or a step counts as two parameters, since it is searched for. Emergence is the
   greater claim: a step counts only where both its levels are in sight, and its AICc is lower by
   `CLAIM` than that of a broken law.
3. Shapes within `EQUAL` of the lowest cannot be told apart by the points. Of them the one of fewest
   parameters is taken, unless another one, fitted to the smaller x only, foretells the largest with
   less than half the error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldpm.errors import DataError
from worldpm.scaling.fit import Fit, fit, refit
from worldpm.scaling.points import Points
from worldpm.scaling.shapes import FORMS, ONE_VARIABLE, Floats
from worldpm.scaling.trend import Trend, trend_test

EQUAL = 2.0
SURE = 6.0
CLAIM = 4.0
LEAST = 4  # points: with fewer no AICc is finite, a constant's own parameters being two
HELD_OUT = 0.3  # of the different x, the largest
_PLACE_EXTRA = 1
_IN_SIGHT = 0.25  # of a step may be out of sight at either end


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shape fitted to all points; errors are mean absolute log errors on the largest x.

    `over_best` is its AICc less the lowest; `extrapolation` is None where the smaller x are too few
    to fit it.
    """

    fit: Fit
    aicc: float
    over_best: float
    extrapolation: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The shape's name, the test of a trend, all candidates (best AICc first), and why."""

    form: str
    reason: str
    trend: Trend
    candidates: tuple[Candidate, ...]

    @property
    def rivals(self) -> tuple[str, ...]:
        """The shapes that the points do not tell from the best by AICc, the chosen one left out."""
        near = [c.fit.form.name for c in self.candidates if c.over_best <= EQUAL]
        return tuple(name for name in near if name != self.form)

    @property
    def fit(self) -> Fit:
        """The chosen shape's fit."""
        return next(c.fit for c in self.candidates if c.fit.form.name == self.form)


def choose(points: Points, *, seed: int, names: Sequence[str] = ONE_VARIABLE) -> Choice:
    """The shape that the points follow, of those with few enough parameters for them.

    Raises DataError where not even a constant can be judged, which takes four points.
    """
    inputs, target = np.log(points.data[None]), points.target
    fits = {name: _try(name, inputs, target, None) for name in names}
    found = {name: each for name, each in fits.items() if each is not None and _is_in_sight(each)}
    if not found or len(target) < LEAST:
        raise DataError(f"{len(target)} points are too few for any shape; {LEAST} are the least")
    delta = min(each.delta for each in found.values())
    refits = {name: refit(each, delta) for name, each in found.items()}
    scores = {name: aicc(each) for name, each in refits.items()}
    if scores.get("broken", np.inf) - scores.get("logistic", -np.inf) < CLAIM:
        del scores["logistic"]
    best = min(scores.values())
    ahead = extrapolation_errors(inputs, target, list(found), delta)
    candidates = [
        Candidate(refits[name], score, score - best, ahead[name])
        for name, score in sorted(scores.items(), key=lambda each: each[1])
    ]
    trend = trend_test(points, seed=seed)
    form, reason = _decide(candidates, trend)
    return Choice(form, reason, trend, tuple(candidates))


def _decide(candidates: Sequence[Candidate], trend: Trend) -> tuple[str, str]:
    flat = next((c for c in candidates if c.fit.form.name == "constant"), None)
    if flat is not None and not trend.is_there and flat.over_best < SURE:
        return "constant", f"no trend: p = {trend.p:.3g} by exchanging {trend.how}"
    near = [c for c in candidates if c.over_best <= EQUAL]
    if len(near) == 1:
        return near[0].fit.form.name, "the lowest AICc by more than 2"
    simplest = min(near, key=lambda c: (len(c.fit.theta), c.over_best))
    known = [c for c in near if c.extrapolation is not None]
    if known and simplest.extrapolation is not None:
        ahead = min(known, key=lambda c: c.extrapolation or 0.0)
        if 2 * (ahead.extrapolation or 0.0) < simplest.extrapolation:
            return ahead.fit.form.name, "extrapolates best of the shapes that AICc does not part"
    return simplest.fit.form.name, "the simplest of the shapes that AICc does not tell apart"


def _is_in_sight(found: Fit) -> bool:
    """Whether a step begins and ends within the points; other shapes always are."""
    if found.form.name != "logistic":
        return True
    u, (_, _, rate, midpoint) = found.inputs[0], found.theta
    first, last = 1 / (1 + np.exp(-np.exp(rate) * (np.array([u.min(), u.max()]) - midpoint)))
    return bool(first <= _IN_SIGHT and last >= 1 - _IN_SIGHT)


def aicc(found: Fit) -> float:
    """AIC corrected for few points, with the residuals' scale counted as a parameter.

    n log(2 objective / n) + 2 k + 2 k (k + 1) / (n - k - 1); infinite where n is not above k + 1.
    """
    n = len(found.target)
    k = len(found.theta) + 1 + (_PLACE_EXTRA if found.form.name in {"broken", "logistic"} else 0)
    if n <= k + 1:
        return float("inf")
    return float(
        n * np.log(max(2 * found.objective / n, 1e-300)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    )


def extrapolation_errors(
    inputs: Floats, target: Floats, names: Sequence[str], delta: float
) -> dict[str, float | None]:
    """For each shape: mean |log observed - log foretold| on the largest x, fitted to the others."""
    places = np.unique(inputs[0])
    count = max(2, round(HELD_OUT * len(places)))
    if len(places) <= count:
        return dict.fromkeys(names)
    large = inputs[0] >= places[-count]
    found: dict[str, float | None] = {}
    for name in names:
        each = _try(name, inputs[:, ~large], target[~large], delta)
        if each is None:
            found[name] = None
            continue
        foretold = each.form.log_curve(inputs[:, large], each.theta)
        found[name] = float(np.abs(target[large] - foretold).mean())
    return found


def _try(name: str, inputs: Floats, target: Floats, delta: float | None) -> Fit | None:
    try:
        return fit(FORMS[name], inputs, target, delta=delta)
    except DataError:
        return None
