"""Points -> is there a trend at all: a test that calls flat data a trend in 5 of 100 cases.

trend_test(points, seed=0)    ->  Trend(slope=-0.08, p=0.0005, how="points")

The statistic is the sum of (log x - its mean) log y, each stratum with its own mean. Without a
trend, the values of one model size could stand at any of its amounts of data, so they are exchanged
among them ("points"); a trend with size itself has one stratum. Where every size learnt from the
same draws of data, an amount by a seed, sizes do not confirm each other: a draw that misleads one
misleads all, so the means over sizes are exchanged ("draws"). Points along a run are alike for
other reasons, too; where there are six runs or more, the whole of each run's slope gets either sign
instead ("runs").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldpm.scaling.intervals import LEAST_RUNS
from worldpm.scaling.points import Points
from worldpm.scaling.shapes import Floats

Integers = NDArray[np.int64]

ERROR_RATE = 0.05
DRAWS = 1999


@dataclass(frozen=True, slots=True)
class Trend:
    """`slope` of log y by log x within strata; `p` two-sided, never 0; `how` it was drawn."""

    slope: float
    p: float
    how: str

    @property
    def is_there(self) -> bool:
        """Whether flat data would show as much in less than 5 of 100 cases."""
        return self.p < ERROR_RATE


def trend_test(points: Points, *, seed: int, draws: int = DRAWS) -> Trend:
    """The permutation test of no trend of the value with the data, by size where sizes are known.

    The error rate is exact for exchangeable points, and for runs that err to either side alike
    (Phipson and Smyth 2010 for the form of p).
    """
    x, y = np.log(points.data), points.target
    runs = points.runs
    how = "points"
    if runs is not None and len(set(runs)) >= LEAST_RUNS:
        how, strata = "runs", _places(np.asarray(runs))
    elif points.params is not None and points.x != "params":
        strata = _places(points.params)
    else:
        strata = np.zeros(len(points), np.int64)
    x, y = _centred(x, strata), _centred(y, strata)
    shared = points.shared_draws() if how == "points" else None
    if shared is not None:
        each = _places(np.asarray(shared))
        x, y = (np.bincount(each, part) / np.bincount(each) for part in (x, y))
        how, strata = "draws", np.zeros(len(x), np.int64)
    square = float(x @ x)
    if square < 1e-12 or not np.any(y):
        return Trend(0.0, 1.0, how)
    rng = np.random.default_rng(seed)
    drawn: Floats = np.zeros(draws)
    if how == "runs":
        slopes = np.bincount(strata, x * y)
        drawn += rng.choice(np.array([-1.0, 1.0]), size=(draws, len(slopes))) @ slopes
    else:
        for stratum in range(int(strata.max()) + 1):
            own = strata == stratum
            drawn += rng.permuted(np.tile(y[own], (draws, 1)), axis=1) @ x[own]
    observed = float(x @ y)
    slack = 1e-12 * float(np.abs(x * y).sum())
    extreme = int((np.abs(drawn) >= abs(observed) - slack).sum())
    return Trend(observed / square, (1 + extreme) / (1 + draws), how)


def _places(names: NDArray[Any]) -> Integers:
    return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)


def _centred(values: Floats, strata: Integers) -> Floats:
    means = np.bincount(strata, values) / np.maximum(np.bincount(strata), 1)
    return np.asarray(values - means[strata], np.float64)
