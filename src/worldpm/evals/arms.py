"""Two arms, several seeds each, on the same held-out comparisons -> the gain of one over the other.

    gain(comparisons, without=[scores of seed 0, ...], with_=[scores of seed 0, ...])  ->  Gain

As in WorldPM's Tables 2 and 3: fine-tuned from the plain base, and from the pre-trained model, with
the relative gain (with - without) / without, which is what the paper's arrows are. A gain varies
with the prompts that were drawn and with the seed that a run began from; its interval has both.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldpm.evals.metrics import (
    EdgeTable,
    Floats,
    Scores,
    Weighting,
    by_cluster,
    edge_accuracy,
    edge_loss,
    edge_table,
    edge_weights,
)
from worldpm.evals.resampling import RESAMPLES, Interval, bootstrap_means, percentiles
from worldpm.records import Comparison


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm's mean over its seeds, each seed's own value, and its 95 % interval."""

    mean: float
    by_seed: tuple[float, ...]
    interval: Interval


@dataclass(frozen=True, slots=True)
class Gain:
    """`with_` less `without`, absolute and relative to `without`; intervals of 95 %.

    `interval` draws prompts and seeds anew, `prompts_only` prompts alone: what it would be were the
    seeds all there are. With three seeds the former is rough, and rather too narrow.
    Relative to nothing is not a number.
    """

    measure: str
    num_comparisons: int
    num_edges: int
    without: Arm
    with_: Arm
    absolute: float
    interval: Interval
    prompts_only: Interval
    relative: float
    relative_interval: Interval


_NO_RANGE = (math.nan, math.nan)
PER_EDGE: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": edge_accuracy,
    "loss_nats": edge_loss,
}


def gain(
    comparisons: Sequence[Comparison],
    without: Sequence[Scores],
    with_: Sequence[Scores],
    *,
    measure: str = "accuracy",
    weighting: Weighting = "comparison",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Gain:
    """The gain in `measure`, a key of `PER_EDGE`; the arms' seeds are paired where as many.

    A resample draws comparisons with replacement, the same ones for every run, and then runs of
    each arm: seed i of both together, as they share their data. Raises WorldPMError as
    `edge_table`.
    """
    assert without
    assert with_
    tables = [edge_table(comparisons, scores) for scores in (*without, *with_)]
    values, samples = _means(tables, PER_EDGE[measure], weighting, seed, resamples)
    split = len(without)
    drawn = np.random.default_rng([seed, 1])
    first = drawn.integers(split, size=(resamples, split))
    paired = len(with_) == split
    second = first if paired else drawn.integers(len(with_), size=(resamples, len(with_)))
    a = np.take_along_axis(samples[:, :split], first, axis=1).mean(axis=1)
    b = np.take_along_axis(samples[:, split:], second, axis=1).mean(axis=1)
    fixed = samples[:, split:].mean(axis=1) - samples[:, :split].mean(axis=1)
    some = a > 0  # of very few prompts a draw may hold none that is right
    base, best = float(values[:split].mean()), float(values[split:].mean())
    return Gain(
        measure=measure,
        num_comparisons=tables[0].num_clusters,
        num_edges=len(tables[0].difference),
        without=Arm(base, tuple(values[:split].tolist()), percentiles(a)),
        with_=Arm(best, tuple(values[split:].tolist()), percentiles(b)),
        absolute=best - base,
        interval=percentiles(b - a),
        prompts_only=percentiles(fixed),
        relative=(best - base) / base if base else math.nan,
        relative_interval=percentiles((b[some] - a[some]) / a[some]) if some.any() else _NO_RANGE,
    )


def _means(
    tables: Sequence[EdgeTable],
    per_edge: Callable[[Floats], Floats],
    weighting: Weighting,
    seed: int,
    resamples: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of every run (runs,), and of every resample of the prompts (resamples, runs)."""
    weight = edge_weights(tables[0], weighting)
    sizes = by_cluster(tables[0], weight)
    totals = np.column_stack(
        [by_cluster(table, weight * per_edge(table.difference)) for table in tables]
    )
    samples = bootstrap_means(totals, sizes, seed=seed, resamples=resamples)
    return totals.sum(axis=0) / sizes.sum(), samples
