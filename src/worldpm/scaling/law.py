"""Points and the name of a form -> a law: parameters with intervals, and what cannot be told.

law = fit_law(points, "joint", seed=0)
law.parameters["alpha"]    ->  Estimate(value=0.347, low=0.316, high=0.376)
law.warnings               ->  ("...",)
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from worldpm.errors import ConfigError
from worldpm.scaling.fit import Fit, fit
from worldpm.scaling.frontier import exponents, frontier
from worldpm.scaling.intervals import (
    LEAST_RUNS,
    LEVEL,
    RESAMPLES,
    Draws,
    intervals,
    predict,
    resample,
)
from worldpm.scaling.points import Points
from worldpm.scaling.select import Choice, choose
from worldpm.scaling.shapes import FORMS, Floats
from worldpm.scaling.trend import ERROR_RATE, Trend, trend_test

AUTO = "auto"
JOINT_DELTA = 1e-3  # as in Hoffmann et al. 2022 and Besiroglu et al. 2024
_FAR = 8.0  # spreads from the curve at which a point is pointed out
_WIDE = 4.0  # an exponent whose interval spans more than this factor is not settled


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the ends of its interval; None is an end that the points do not settle."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Law:
    """A fitted form with intervals; `choice` is how an `auto` form was chosen."""

    fit: Fit
    draws: Draws
    trend: Trend
    parameters: Mapping[str, Estimate]
    warnings: tuple[str, ...]
    choice: Choice | None

    @property
    def form(self) -> str:
        """The form's name."""
        return self.fit.form.name

    def to_json(self) -> dict[str, Any]:
        """Everything a reader or a figure needs, in plain values."""
        found: dict[str, Any] = {
            "form": self.form,
            "parameters": {name: asdict(each) for name, each in self.parameters.items()},
            "level": LEVEL,
            "num_points": len(self.fit.target),
            "spread": self.fit.spread,
            "huber_delta": self.fit.delta,
            "intervals": {"by": self.draws.how, "resamples": len(self.draws.theta)},
            "trend": {**asdict(self.trend), "is_there": self.trend.is_there, "rate": ERROR_RATE},
            "warnings": list(self.warnings),
        }
        if self.form == "joint":
            for_size, for_data = exponents(self.fit.values)
            budgets = np.geomspace(*_budgets(self.fit), 5).tolist()
            found["frontier"] = {
                "params_exponent": for_size,
                "data_exponent": for_data,
                "optima": [asdict(each) for each in frontier(self.fit.values, budgets)],
            }
        if self.choice is not None:
            found["choice"] = {
                "reason": self.choice.reason,
                "criterion": "AICc",
                "rivals": list(self.choice.rivals),
                "candidates": [
                    {
                        "form": each.fit.form.name,
                        "aicc": each.aicc,
                        "over_best": each.over_best,
                        "extrapolation_log_error": each.extrapolation,
                    }
                    for each in self.choice.candidates
                ],
            }
        return found

    def band(self, inputs: Floats) -> list[dict[str, float]]:
        """The curve with its band at log `inputs` (k, m)."""
        found = predict(self.fit, self.draws, inputs, noisy=False)
        return [
            {"value": float(value), "low": float(low), "high": float(high)}
            for value, low, high in zip(found.middle, found.low, found.high, strict=True)
        ]


def _budgets(found: Fit) -> tuple[float, float]:
    spent = 6 * np.exp(found.inputs.sum(0))
    return float(spent.min()), float(spent.max())


def fit_law(
    points: Points,
    form: str,
    *,
    seed: int,
    delta: float | None = None,
    resamples: int = RESAMPLES,
    by: str | None = None,
) -> Law:
    """Fit a form of `shapes.FORMS`, or with "auto" the one that the points follow.

    `by` is how intervals resample: "runs", "residuals" or "signs", None as `intervals` chooses.
    Raises ConfigError for an unknown form, DataError for too few points.
    """
    if form not in {*FORMS, AUTO}:
        raise ConfigError(f"--form {form!r} is not one of {', '.join([*FORMS, AUTO])}")
    choice = choose(points, seed=seed) if form == AUTO else None
    if choice is not None:
        found = choice.fit
    else:
        if delta is None and form == "joint":
            delta = JOINT_DELTA
        found = fit(FORMS[form], points.inputs(FORMS[form]), points.target, delta=delta)
    trend = choice.trend if choice is not None else trend_test(points, seed=seed)
    together = points.runs or points.shared_draws()
    draws = resample(found, together, seed=seed, resamples=resamples, kind=by)
    if points.runs is None and draws.how == "runs":
        draws = replace(draws, how="draws")
    ends = intervals(found, draws)
    parameters = {
        name: Estimate(value, ends[name].low, ends[name].high)
        for name, value in found.values.items()
    }
    remarks = (
        *_unsettled(parameters),
        *_few_runs(points, draws),
        *_far_points(found),
        *_rivals(choice),
    )
    return Law(found, draws, trend, parameters, remarks, choice)


def _unsettled(parameters: Mapping[str, Estimate]) -> list[str]:
    found = []
    floor = parameters.get("E")
    if floor is not None and floor.low is None:
        found.append("floor and exponent cannot be told apart: no floor (E = 0) fits as well")
    for name, each in parameters.items():
        if name == "E":
            continue
        if each.low is None or each.high is None:
            found.append(f"{name} is not settled by these points: its interval has no end")
        elif each.low > 0 and each.high > _WIDE * each.low and name.startswith(("alpha", "beta")):
            found.append(f"{name} is known within a factor of {each.high / each.low:.0f} only")
    return found


def _few_runs(points: Points, draws: Draws) -> list[str]:
    if points.runs is None or draws.how == "runs":
        return []
    count = len(set(points.runs))
    need = f"fewer than {LEAST_RUNS}" if count < LEAST_RUNS else "not used"
    return [
        f"points of one run were taken as independent: {count} runs, {need}; if they err together, "
        "intervals are too narrow"
    ]


def _far_points(found: Fit) -> list[str]:
    scale = float(np.median(np.abs(found.residuals))) * 1.4826
    far = np.flatnonzero(np.abs(found.residuals) > _FAR * max(scale, 1e-12))
    if not len(far) or scale < 1e-9:
        return []
    return [
        f"{len(far)} of {len(found.target)} points lie more than {_FAR:.0f} deviations off the "
        "curve; look at them, and at the fit without them (--drop-highest)"
    ]


def _rivals(choice: Choice | None) -> list[str]:
    if choice is None or not choice.rivals:
        return []
    return [f"not told apart from it by AICc: {', '.join(choice.rivals)}"]
