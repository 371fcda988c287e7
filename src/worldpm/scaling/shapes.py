"""The shapes a loss may follow, each as the logarithm of the curve and its derivatives.

    FORMS["power-floor"].curve(inputs, theta)  ->  log f (batch, n) and slopes (batch, n, p)

`inputs` (k, n) are natural logarithms: of the data for one variable, of params and data for joint.
`theta` (batch, p) are the coordinates in which a shape is fitted: a positive quantity by its
logarithm, an exponent as it is, so that bounds are few and every reported parameter is a coordinate
of its own.

    constant      level
    power         A x^-alpha
    power-floor   E + A x^-alpha
    broken        level (x / break)^-alpha_before up to the break, ^-alpha_after beyond it
    logistic      end + (start - end) / (1 + (x / midpoint)^rate): emergence, a step in log x
    joint         E + A N^-alpha + B D^-beta     (Hoffmann et al. 2022, equation 2)
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_EXPONENT = 5.0
LEAST_FLOOR = 1e-4  # of the lowest loss: below it a floor cannot be told from none


@dataclass(frozen=True, slots=True)
class Parameter:
    """A name, and whether its coordinate is the logarithm of its value."""

    name: str
    is_log: bool = False

    def value(self, coordinate: float) -> float:
        """What is reported for a coordinate."""
        return float(np.exp(coordinate)) if self.is_log else float(coordinate)


@dataclass(frozen=True, slots=True)
class Form:
    """A shape: its curve, where to start from and within which bounds."""

    name: str
    inputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    curve: Callable[[Floats, Floats], tuple[Floats, Floats]]
    starts: Callable[[Floats, Floats], Floats]
    bounds: Callable[[Floats, Floats], Floats]

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in the order of the coordinates."""
        return tuple(each.name for each in self.parameters)

    def log_curve(self, inputs: Floats, theta: Floats) -> Floats:
        """log f (batch, n), or (n,) for one theta (p,)."""
        found = self.curve(inputs, np.atleast_2d(theta))[0]
        return found[0] if theta.ndim == 1 else found


# --- curves ---------------------------------------------------------------------------------------


def _constant(inputs: Floats, theta: Floats) -> tuple[Floats, Floats]:
    shape = (len(theta), inputs.shape[1])
    return np.broadcast_to(theta, shape).copy(), np.ones((*shape, 1))


def _power(inputs: Floats, theta: Floats) -> tuple[Floats, Floats]:
    u = inputs[0]
    slopes = np.broadcast_to(np.stack([np.ones_like(u), -u], 1), (len(theta), len(u), 2))
    return theta[:, :1] - theta[:, 1:] * u, slopes


def _terms(logs: Floats) -> tuple[Floats, Floats]:
    """log of the sum of exp over the last axis, and each term's share of the sum."""
    top = logs.max(-1, keepdims=True)
    parts = np.exp(logs - top)
    total = parts.sum(-1, keepdims=True)
    return (top + np.log(total))[..., 0], parts / total


def _power_floor(inputs: Floats, theta: Floats) -> tuple[Floats, Floats]:
    u = inputs[0]
    falling = theta[:, 1:2] - theta[:, 2:] * u
    floor = np.broadcast_to(theta[:, :1], falling.shape)
    log_f, share = _terms(np.stack([floor, falling], -1))
    return log_f, np.stack([share[..., 0], share[..., 1], -share[..., 1] * u], -1)


def _joint(inputs: Floats, theta: Floats) -> tuple[Floats, Floats]:
    u, v = inputs
    sizes = theta[:, 1:2] - theta[:, 3:4] * u
    data = theta[:, 2:3] - theta[:, 4:] * v
    floor = np.broadcast_to(theta[:, :1], sizes.shape)
    log_f, share = _terms(np.stack([floor, sizes, data], -1))
    return log_f, np.concatenate(
        [share, -share[..., 1:2] * u[:, None], -share[..., 2:] * v[:, None]], -1
    )


def _broken(inputs: Floats, theta: Floats) -> tuple[Floats, Floats]:
    beyond = inputs[0] - theta[:, 3:]  # (batch, n)
    low, high = np.minimum(beyond, 0.0), np.maximum(beyond, 0.0)
    before, after = theta[:, 1:2], theta[:, 2:3]
    shift = np.where(beyond < 0, before, after)
    slopes = np.stack([np.ones_like(low), -low, -high, shift], -1)
    return theta[:, :1] - before * low - after * high, slopes


def _logistic(inputs: Floats, theta: Floats) -> tuple[Floats, Floats]:
    start, end, rate = (np.exp(theta[:, i : i + 1]) for i in range(3))
    beyond = inputs[0] - theta[:, 3:]
    left = 0.5 * (1.0 - np.tanh(0.5 * rate * beyond))  # share of the way still to go
    f = end + (start - end) * left
    bend = (start - end) * left * (1.0 - left) * rate
    slopes = np.stack([start * left, end * (1.0 - left), -bend * beyond, bend], -1)
    return np.log(f), slopes / f[..., None]


# --- where to start from --------------------------------------------------------------------------


def _line(columns: Floats, target: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(columns, target, rcond=None)[0], np.float64)


def _start_constant(inputs: Floats, target: Floats) -> Floats:
    return np.array([[np.median(target)]])


def _start_power(inputs: Floats, target: Floats) -> Floats:
    u = inputs[0]
    return _line(np.stack([np.ones_like(u), -u], 1), target)[None]


def _start_power_floor(inputs: Floats, target: Floats) -> Floats:
    u, least = inputs[0], target.min()
    found = []
    for share in (0.01, 0.3, 0.6, 0.85, 0.97):
        above = np.log(np.exp(target) - share * np.exp(least))
        log_a, alpha = _line(np.stack([np.ones_like(u), -u], 1), above)
        found.append([least + np.log(share), log_a, max(alpha, 0.02)])
        for exponent in (0.1, 0.4, 1.0):
            found.append([least + np.log(share), np.mean(above + exponent * u), exponent])
    return np.array(found)


def _start_joint(inputs: Floats, target: Floats) -> Floats:
    u, v = inputs
    y = np.exp(target)
    found = []
    for share, alpha, beta in product((0.05, 0.5, 0.85), (0.1, 0.3, 0.6), (0.1, 0.3, 0.6)):
        columns = np.stack([np.exp(-alpha * (u - u.mean())), np.exp(-beta * (v - v.mean()))], 1)
        above = y - share * y.min()
        both = np.maximum(_line(columns / y[:, None], above / y), 0.05 * np.median(above))
        log_a, log_b = np.log(both) + np.array([alpha * u.mean(), beta * v.mean()])
        found.append([np.log(share * y.min()), log_a, log_b, alpha, beta])
    return np.array(found)


def _inner(inputs: Floats) -> tuple[float, float]:
    """Logs between which a break may lie: two different x at least on either side."""
    places = np.unique(inputs[0])
    return (places[1], places[-2]) if len(places) > 4 else (places[0], places[-1])


def _start_broken(inputs: Floats, target: Floats) -> Floats:
    u = inputs[0]
    found = []
    for place in np.linspace(*_inner(inputs), 10):
        beyond = u - place
        columns = np.stack([np.ones_like(u), -np.minimum(beyond, 0), -np.maximum(beyond, 0)], 1)
        found.append([*_line(columns, target), place])
    return np.array(found)


def _start_logistic(inputs: Floats, target: Floats) -> Floats:
    u = inputs[0]
    span = np.ptp(u) or 1.0
    order = np.argsort(u)
    few = max(1, len(u) // 5)
    first, last = np.median(target[order[:few]]), np.median(target[order[-few:]])
    return np.array(
        [
            [first, last, np.log(steep / span), u.min() + share * span]
            for share, steep in product((0.1, 0.3, 0.5, 0.7, 0.9), (4.0, 12.0, 40.0))
        ]
    )


# --- bounds: (2, p), low and high -----------------------------------------------------------------

_ANY, _TOP = -np.inf, np.inf


def _bounds_power_floor(inputs: Floats, target: Floats) -> Floats:
    least = target.min() + np.log(LEAST_FLOOR)
    return np.array([[least, _ANY, 1e-3], [target.max(), _TOP, MOST_EXPONENT]])


def _bounds_joint(inputs: Floats, target: Floats) -> Floats:
    least = target.min() + np.log(LEAST_FLOOR)
    top = MOST_EXPONENT
    return np.array([[least, _ANY, _ANY, 1e-3, 1e-3], [target.max(), _TOP, _TOP, top, top]])


def _bounds_broken(inputs: Floats, target: Floats) -> Floats:
    low, high = _inner(inputs)
    return np.array([[_ANY, -MOST_EXPONENT, -MOST_EXPONENT, low], [_TOP, 5.0, 5.0, high]])


def _bounds_logistic(inputs: Floats, target: Floats) -> Floats:
    u = inputs[0]
    span = np.ptp(u) or 1.0
    least, most = target.min() + np.log(LEAST_FLOOR), target.max() + 2.0
    return np.array(
        [[least, least, np.log(0.5 / span), u.min()], [most, most, np.log(200 / span), u.max()]]
    )


def _free(count: int) -> Callable[[Floats, Floats], Floats]:
    return lambda inputs, target: np.array([[_ANY] * count, [_TOP] * count])


def _log(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, is_log=True) for name in names)


def _plain(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name) for name in names)


_X = ("data",)
FORMS = {
    form.name: form
    for form in (
        Form("constant", _X, _log("level"), _constant, _start_constant, _free(1)),
        Form("power", _X, (*_log("A"), *_plain("alpha")), _power, _start_power, _free(2)),
        Form(
            "power-floor", _X, (*_log("E", "A"), *_plain("alpha")),
            _power_floor, _start_power_floor, _bounds_power_floor,
        ),
        Form(
            "broken", _X,
            (*_log("level_at_break"), *_plain("alpha_before", "alpha_after"), *_log("break")),
            _broken, _start_broken, _bounds_broken,
        ),
        Form(
            "logistic", _X, _log("start", "end", "rate", "midpoint"),
            _logistic, _start_logistic, _bounds_logistic,
        ),
        Form(
            "joint", ("params", "data"), (*_log("E", "A", "B"), *_plain("alpha", "beta")),
            _joint, _start_joint, _bounds_joint,
        ),
    )
}  # fmt: skip
ONE_VARIABLE = tuple(name for name, form in FORMS.items() if len(form.inputs) == 1)
