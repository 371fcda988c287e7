"""Points -> a fitted law: Huber's loss on log residuals, from many starts, many fits at once.

    fit(FORMS["joint"], log_inputs, log_loss, delta=1e-3)   ->  Fit(theta=..., objective=...)

Levenberg and Marquardt's method with reweighting, over a batch of problems that share the inputs,
so that a bootstrap of 1,000 refits is one call. Its optimum is that of scipy's L-BFGS on the same
objective (a test says so); it needs no scipy, and is some hundred times as fast.
"""

from dataclasses import dataclass

import numpy as np

from worldpm.errors import DataError
from worldpm.scaling.shapes import Floats, Form

HUBER = 1.345  # times the residuals' scale: 95 % efficient where they are normal (Huber 1964)
_STEPS, _FIRST_STEPS = 200, 30
_ENOUGH = 1e-10  # a relative fall of the objective below which a fit is done
_NUMBERS_AT_ONCE = 4_000_000
_OPTIMA = 4
_NEAR = 25.0  # an optimum whose F is above this is not the best one of resampled data, either


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted form; inputs (k, n), target (n,) and theta (p,) in logarithms as in `shapes`.

    `optima` (m, p) are the distinct local optima that the starts led to, the best first: a refit
    on changed data starts from each of them.
    """

    form: Form
    inputs: Floats
    target: Floats
    theta: Floats
    delta: float
    objective: float
    optima: Floats

    @property
    def residuals(self) -> Floats:
        """log observed less log fitted, (n,)."""
        return self.target - self.form.log_curve(self.inputs, self.theta)

    @property
    def num_free(self) -> int:
        """Points less parameters."""
        return len(self.target) - len(self.theta)

    @property
    def spread(self) -> float:
        """The residuals' scale, of what the loss makes of them: a relative error."""
        return float(np.sqrt(2 * self.objective / self.num_free))

    @property
    def values(self) -> dict[str, float]:
        """Each parameter's value by its name."""
        pairs = zip(self.form.parameters, self.theta, strict=True)
        return {each.name: each.value(float(coordinate)) for each, coordinate in pairs}


def huber(residuals: Floats, delta: float) -> Floats:
    """r^2 / 2 up to delta, and beyond it the straight line that continues it."""
    size = np.abs(residuals)
    inside = np.minimum(size, delta)
    return np.asarray(inside * (size - 0.5 * inside), np.float64)


def fit(form: Form, inputs: Floats, target: Floats, *, delta: float | None = None) -> Fit:
    """The best optimum from all starts of the form.

    `delta` is Huber's; None takes 1.345 of the residuals' scale, found in three rounds. Raises
    DataError where there are not at least two points more than parameters, or too few different x.
    """
    check_enough(form, inputs)
    starts = form.starts(inputs, target)
    if delta is not None:
        return _from_starts(form, inputs, target, starts, delta)
    found = _from_starts(form, inputs, target, starts, np.inf)
    for _ in range(2):
        off = np.median(np.abs(found.residuals)) * 1.4826  # a normal's deviation by its median
        off *= np.sqrt(len(target) / found.num_free)
        found = _from_starts(form, inputs, target, found.optima, max(HUBER * float(off), 1e-7))
    return found


def check_enough(form: Form, inputs: Floats) -> None:
    """DataError unless the points can tell the form's parameters from one another."""
    need = len(form.parameters) + 2
    if inputs.shape[1] < need:
        raise DataError(
            f"{form.name} has {len(form.parameters)} parameters and needs {need} points at least; "
            f"there are {inputs.shape[1]}"
        )
    each = {"constant": 1, "power": 2, "power-floor": 3, "joint": 3}.get(form.name, 5)
    for name, row in zip(form.inputs, inputs, strict=True):
        if (count := len(np.unique(row))) < each:
            raise DataError(f"{form.name} needs {each} different values of {name}, not {count}")


def refit(found: Fit, delta: float) -> Fit:
    """The same points and form under another delta, from the optima that are known."""
    return _from_starts(found.form, found.inputs, found.target, found.optima, delta)


def _from_starts(form: Form, inputs: Floats, target: Floats, starts: Floats, delta: float) -> Fit:
    """Some steps from every start, then on from the distinct optima in sight until they stand."""
    limits = form.bounds(inputs, target)
    objectives = np.zeros(len(starts))
    for steps in (_FIRST_STEPS, _STEPS):
        many = np.broadcast_to(target, (len(starts), len(target)))
        thetas, objectives = minimise(form, inputs, many, starts, delta, limits, steps=steps)
        kept = _distinct(form.log_curve(inputs, thetas), objectives)
        starts, objectives = thetas[kept], objectives[kept]
    num_free = len(target) - starts.shape[1]
    near = (objectives / max(objectives[0], 1e-300) - 1) * num_free <= _NEAR
    return Fit(form, inputs, target, starts[0], delta, float(objectives[0]), starts[near])


def _distinct(curves: Floats, objectives: Floats) -> list[int]:
    """The places of the best optima, best first: one is another where its curve is another."""
    kept: list[int] = []
    for place in np.argsort(objectives, kind="stable"):
        if not kept or np.abs(curves[kept] - curves[place]).max(1).min() > 1e-3:
            kept.append(int(place))
        if len(kept) == _OPTIMA:
            break
    return kept


def minimise(
    form: Form, inputs: Floats, targets: Floats, starts: Floats, delta: float, limits: Floats,
    held: int | None = None, steps: int = _STEPS, enough: float = _ENOUGH,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Theta (batch, p) and objective (batch,) for each of `targets` (batch, n) from its start.

    `held` is a coordinate that stays at its start; `limits` (2, p) bound the others. A problem ends
    when its objective falls by no more than `enough` of itself, or after so many steps.
    """
    at_once = max(1, _NUMBERS_AT_ONCE // (targets.shape[1] * starts.shape[1]))
    parts = []
    for i in range(0, len(starts), at_once):
        some = slice(i, i + at_once)
        parts.append(
            _minimise(form, inputs, targets[some], starts[some], delta, limits, held, steps, enough)
        )
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _minimise(
    form: Form, inputs: Floats, targets: Floats, starts: Floats, delta: float, limits: Floats,
    held: int | None, steps: int, enough: float,
) -> tuple[Floats, Floats]:  # fmt: skip
    free = np.array([i for i in range(starts.shape[1]) if i != held], dtype=int)
    theta = starts.copy()
    theta[:, free] = np.clip(theta[:, free], limits[0, free], limits[1, free])
    log_f, slopes = form.curve(inputs, theta)
    rest = targets - log_f
    objective = huber(rest, delta).sum(1)
    if not len(free):
        return theta, objective
    done_theta, done_objective = theta.copy(), objective.copy()
    slopes, damping = slopes[:, :, free], np.full(len(theta), 1e-3)
    active = np.arange(len(theta))
    for _ in range(steps):
        size = np.abs(rest)
        weight = np.minimum(1.0, delta / np.maximum(size, 1e-300))[:, :, None]
        weighted = (slopes * weight).transpose(0, 2, 1)
        curvature = weighted @ slopes
        pull = (weighted @ rest[:, :, None])[..., 0]
        # A coordinate at its limit that is pulled outwards stays there.
        at = theta[:, free]
        stuck = ((at <= limits[0, free]) & (pull < 0)) | ((at >= limits[1, free]) & (pull > 0))
        pull = np.where(stuck, 0.0, pull)
        curvature = np.where(stuck[:, :, None] | stuck[:, None, :], 0.0, curvature)
        diagonal = np.einsum("bii->bi", curvature)
        least = 1e-12 * np.maximum(diagonal.max(1, keepdims=True), 1e-30)
        added = damping[:, None] * np.maximum(diagonal, least) + np.where(stuck, 1.0, least)
        step = np.linalg.solve(curvature + added[:, :, None] * np.eye(len(free)), pull[:, :, None])[
            ..., 0
        ]
        tried = theta.copy()
        tried[:, free] = np.clip(at + step, limits[0, free], limits[1, free])
        log_f, new_slopes = form.curve(inputs, tried)
        new_rest = targets[active] - log_f
        value = huber(new_rest, delta).sum(1)
        better = value < objective
        fall = objective - value
        finished = (better & (fall <= enough * objective)) | (damping > 1e9)
        theta = np.where(better[:, None], tried, theta)
        objective = np.where(better, value, objective)
        rest = np.where(better[:, None], new_rest, rest)
        slopes = np.where(better[:, None, None], new_slopes[:, :, free], slopes)
        damping = np.where(better, np.maximum(damping * 0.2, 1e-10), damping * 6.0)
        if finished.any():
            done_theta[active[finished]], done_objective[active[finished]] = (
                theta[finished], objective[finished],
            )  # fmt: skip
            go_on = ~finished
            active, theta, objective = active[go_on], theta[go_on], objective[go_on]
            rest, slopes, damping = rest[go_on], slopes[go_on], damping[go_on]
            if not len(active):
                return done_theta, done_objective
    done_theta[active], done_objective[active] = theta, objective
    return done_theta, done_objective
