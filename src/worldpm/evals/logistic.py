"""Logistic regression without an intercept, fitted in sample or prompt by prompt out of it.

    columns (edges, features), weight (edges,) -> fit_logistic -> coefficients (features,)
    and cluster (edges,) -> held_out_margins -> margins (edges,) by fits that left their fold out

A row is an edge's winner less its loser, so every label is 1 and turning a pair round turns its row
round: there is nothing for an intercept to say.

>>> fit_logistic(np.array([[1.0], [1.0], [1.0], [-1.0]]), np.ones(4)).round(2)
array([1.08])
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FOLDS = 5
# A normal prior worth a hundredth of an edge: it moves the coefficient of 1,000 edges by one part
# in 20,000, and keeps that of a group which the scores separate finite.
PRIOR = 0.01
_STEPS = 100


def fit_logistic(columns: Floats, weight: Floats) -> Floats:
    """The coefficients b (features,) that minimise mean softplus(-columns @ b) by weight.

    Columns are scaled by their root mean square for the fit, and given back in their own units; a
    column of zeros has the coefficient 0. Newton's method with step halving: the loss is convex.
    """
    share = weight / weight.sum()
    scale = np.sqrt(share @ columns**2)
    scale[scale == 0] = 1.0
    unit = columns / scale
    ridge = PRIOR / len(columns)

    def loss(b: Floats) -> float:
        margin = unit @ b
        # softplus(-margin), four times as fast as logaddexp and as good to a relative 1e-12
        losses = np.log1p(np.exp(-np.abs(margin))) - np.minimum(margin, 0.0)
        return float(share @ losses + 0.5 * ridge * (b @ b))

    b = np.zeros(columns.shape[1])
    now = loss(b)
    for _ in range(_STEPS):
        wrong = 1.0 / (1.0 + np.exp(np.clip(unit @ b, -500.0, 500.0)))  # sigmoid(-margin)
        slope = -unit.T @ (share * wrong) + ridge * b
        curve = (unit * (share * wrong * (1 - wrong))[:, None]).T @ unit
        step = np.linalg.solve(curve + ridge * np.eye(len(b)), slope)
        while (after := loss(b - step)) > now and np.abs(step).max() > 1e-12:
            step *= 0.5
        b, change, now = b - step, now - after, after
        if change < 1e-13:
            break
    return np.asarray(b / scale, np.float64)


def folds_of(cluster: Integers, *, seed: int) -> Integers:
    """The fold (edges,) of each edge: whole clusters, dealt at random in equal numbers."""
    count = int(cluster.max()) + 1
    order = np.random.default_rng(seed).permutation(count)
    return np.asarray(order[cluster] % min(FOLDS, count), np.int64)


def held_out_margins(columns: Floats, cluster: Integers, weight: Floats, *, seed: int) -> Floats:
    """Margins (edges,), each by coefficients fitted on the other folds' comparisons.

    With one comparison only there is nothing to fit on, and its margins are 0.
    """
    fold = folds_of(cluster, seed=seed)
    margins = np.zeros(len(columns))
    for number in range(int(fold.max()) + 1):
        out = fold == number
        if not out.all():
            margins[out] = columns[out] @ fit_logistic(columns[~out], weight[~out])
    return margins
