"""Scores of many replies -> what drawing n of them and keeping the best scored one is worth.

    comparisons, scores -> best_of_n(...) -> one point for n = 1, 2, 4, ...

A reply's worth is `meta["quality"][reply]` where the source has such numbers, else 1 if it is right
(`meta["correct"]`, or not beaten by any known edge) and 0 if not. The draw of n out of K replies is
not simulated: with the replies in order of score, the r-th from below is the best of n with the
chance C(r-1, n-1) / C(K, n).

>>> chances_of_best(np.array([0.0, 1.0, 2.0, 3.0]), 2).round(3)
array([0.   , 0.167, 0.333, 0.5  ])
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldpm.errors import WorldPMError
from worldpm.evals.metrics import Scores, check_scores, right_replies
from worldpm.evals.resampling import RESAMPLES, Interval, bootstrap_means, percentiles
from worldpm.records import Comparison

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BestOfN:
    """The expected worth of the reply kept among `n`, over the prompts with at least `n`.

    `worth` by the scores, `random` without them, `ideal` if the true worth were known; `regret` is
    ideal less worth. `kl_nats` = ln n - (n - 1)/n bounds how far the choice moves the policy.
    """

    n: int
    num_comparisons: int
    worth: float
    worth_interval: Interval
    random: float
    ideal: float
    regret: float
    regret_interval: Interval
    kl_nats: float


def chances_of_best(values: Floats, n: int) -> Floats:
    """Chance (K,) of each reply to have the highest value among n of K drawn without replacement.

    Equal values share their chances equally.
    """
    count = len(values)
    assert 1 <= n <= count
    order = np.argsort(values, kind="stable")
    total = math.comb(count, n)
    chance = np.empty(count)
    chance[order] = [math.comb(rank, n - 1) / total for rank in range(count)]
    _, group = np.unique(values, return_inverse=True)
    return np.asarray((np.bincount(group, chance) / np.bincount(group))[group], np.float64)


def worth_of(comparison: Comparison) -> Floats:
    """The worth (K,) of each reply; WorldPMError for a quality that does not fit the replies."""
    quality = comparison.meta.get("quality")
    if quality is None:
        right = right_replies(comparison)
        return np.array([reply in right for reply in range(len(comparison.replies))], float)
    try:
        worth = np.asarray(quality, np.float64)
    except (TypeError, ValueError):
        worth = np.empty(0)
    if worth.shape != (len(comparison.replies),) or not np.isfinite(worth).all():
        raise WorldPMError(
            f"comparison {comparison.id!r}: meta quality must be one finite number for each of its "
            f"{len(comparison.replies)} replies"
        )
    return worth


def best_of_n(
    comparisons: Sequence[Comparison], scores: Scores, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[BestOfN, ...]:
    """The curve over n = 1, 2, 4, ... up to the most replies that a prompt has.

    Prompts of fewer than three replies say no more than accuracy and take no part; so the curve may
    be empty. Intervals resample prompts. Raises as `check_scores` and `worth_of`.
    """
    many = [
        (values, worth_of(comparison))
        for comparison, values in zip(comparisons, check_scores(comparisons, scores), strict=True)
        if len(values) >= 3 and (comparison.better or comparison.meta.get("quality") is not None)
    ]
    most = max((len(values) for values, _ in many), default=0)
    sizes = [2**power for power in range(most.bit_length()) if 2**power <= most]
    if most and sizes[-1] != most:
        sizes.append(most)
    return tuple(_point(n, many, seed, resamples) for n in sizes)


def _point(n: int, many: Sequence[tuple[Floats, Floats]], seed: int, resamples: int) -> BestOfN:
    rows = np.array(
        [
            (
                chances_of_best(values, n) @ worth,
                worth.mean(),
                chances_of_best(worth, n) @ worth,
            )
            for values, worth in many
            if len(values) >= n
        ]
    )
    totals = np.column_stack([rows[:, 0], rows[:, 2] - rows[:, 0]])
    samples = bootstrap_means(totals, np.ones(len(rows)), seed=seed, resamples=resamples)
    worth, random, ideal = (float(mean) for mean in rows.mean(axis=0))
    return BestOfN(
        n=n,
        num_comparisons=len(rows),
        worth=worth,
        worth_interval=percentiles(samples[:, 0]),
        random=random,
        ideal=ideal,
        regret=ideal - worth,
        regret_interval=percentiles(samples[:, 1]),
        kl_nats=math.log(n) - (n - 1) / n,
    )
