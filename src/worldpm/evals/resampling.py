"""Intervals and tests: numbers of independent clusters -> how sure we may be of their mean.

A cluster here is a comparison: the edges of one prompt rise and fall together, so they are drawn
together.

>>> [round(end, 3) for end in wilson_interval(10, 10)]
[0.722, 1.0]
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 2000
Z_95 = 1.959963984540054  # the standard normal's 97.5 % point


def wilson_interval(successes: float, trials: int, z: float = Z_95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); it holds near 0 and 1."""
    assert 0 <= successes <= trials
    assert trials > 0
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def bootstrap_means(
    totals: Floats, sizes: Floats, *, seed: int, resamples: int = RESAMPLES
) -> Floats:
    """Bootstrap samples (resamples, measures) of sum(totals) / sum(sizes) over clusters.

    `totals` (clusters, measures) are the weighted sums of each cluster, `sizes` (clusters,) its
    weights. Each sample draws as many clusters as there are, with replacement; all measures share
    the draws, so differences of columns are paired (Davison and Hinkley 1997, 2.4 and 3.8).
    """
    count = len(sizes)
    columns = np.column_stack([totals, sizes])
    rows_at_once = max(1, _DRAWS_AT_ONCE // count)
    parts = [
        _draw_counts(count, min(rows_at_once, resamples - start), seed, start) @ columns
        for start in range(0, resamples, rows_at_once)
    ]
    sums = np.concatenate(parts)
    return np.asarray(sums[:, :-1] / sums[:, -1:], np.float64)


_DRAWS_AT_ONCE = 4_000_000  # 16 MB


@lru_cache(maxsize=8)  # a model and its floors are measured on the same draws, one after another
def _draw_counts(count: int, rows: int, seed: int, start: int) -> NDArray[np.float32]:
    """How often each of `count` clusters is drawn in each of `rows` samples: (rows, count)."""
    rng = np.random.default_rng([seed, start])
    draws = rng.integers(count, size=(rows, count)) + np.arange(rows)[:, None] * count
    times = np.bincount(draws.ravel(), minlength=rows * count)
    return times.reshape(rows, count).astype(np.float32)


def percentiles(samples: Floats) -> Interval:
    """The middle 95 % of bootstrap samples (resamples,)."""
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


def rate_interval(right: Floats, sizes: Floats, samples: Callable[[], Floats]) -> Interval:
    """The 95 % interval of sum(right) / sum(sizes), both (clusters,) and right from 0 to its size.

    Wilson's where every cluster weighs the same and is wholly right or wrong, since the bootstrap
    of ten right out of ten would claim [1, 1]; else the percentiles of bootstrap `samples`.
    """
    rates = right / sizes
    plain = np.all((rates < 1e-12) | (rates > 1 - 1e-12)) and np.allclose(sizes, sizes[0])
    if plain:
        return wilson_interval(float(np.round(rates.sum())), len(sizes))
    return percentiles(samples())


def sign_flip_p(totals: Floats, *, seed: int, resamples: int = RESAMPLES) -> float:
    """Two-sided p of the paired permutation test by cluster.

    If the two models were exchangeable, each cluster's total difference (clusters,) would have
    either sign with equal chance. p = (1 + samples at least as far from 0) / (1 + samples), which
    is never 0 and keeps the error rate (Phipson and Smyth 2010).
    """
    moving = totals[totals != 0]
    if not len(moving):
        return 1.0
    rng = np.random.default_rng(seed)
    rows_at_once = max(1, 4_000_000 // len(moving))
    observed = abs(moving.sum())
    slack = 1e-12 * np.abs(moving).sum()  # the order of a sum must not decide a tie
    extreme = 0
    for start in range(0, resamples, rows_at_once):
        rows = min(rows_at_once, resamples - start)
        signs = rng.integers(0, 2, size=(rows, len(moving)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ moving) >= observed - slack).sum())
    return (1 + extreme) / (1 + resamples)
