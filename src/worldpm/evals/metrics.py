"""Scores and known edges -> accuracy, losses and their intervals.

    comparisons, scores -> edge_table(...) -> measure(...) -> Outcome

An edge says that one reply is known to beat another; its *difference* is the winner's score less
the loser's, in log-odds, so that sigmoid(difference) is the modelled probability of the edge.
Edges of one prompt are not independent, so every interval and test resamples whole comparisons.

>>> from worldpm.records import Edge
>>> pair = Comparison("1", "example", None, (), ((), ()), (Edge(0, 1),))
>>> measure("all", edge_table([pair], [[1.0, 0.0]]), weighting="edge").accuracy
1.0
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worldpm.errors import WorldPMError
from worldpm.evals.logistic import fit_logistic, folds_of
from worldpm.evals.resampling import (
    RESAMPLES,
    Interval,
    bootstrap_means,
    percentiles,
    rate_interval,
    sign_flip_p,
)
from worldpm.records import Comparison

Floats = NDArray[np.float64]
Scores = Sequence[Sequence[float]] | Sequence[Floats]
Weighting = Literal["comparison", "edge"]
"""What counts once in a mean.

"comparison": each prompt, its edges sharing the weight equally. This is the expected value of the
paper's own rule, one random pair of each post (WorldPM 3.1.1), and a prompt with ten replies does
not drown one with two. "edge": each known pair, as benchmarks of pairs count. The two agree where
all comparisons have as many edges. An edge's own `weight` multiplies either.
"""


@dataclass(frozen=True, slots=True)
class EdgeTable:
    """The edges of many comparisons as parallel arrays of shape (edges,).

    `difference` in log-odds; `cluster` numbers the comparison, from 0 without gaps; `weight` is the
    edge's own. `best` is for each comparison (clusters,) the chance that an argmax over its
    replies, ties broken at random, is a right one; None where edges have margins but replies no
    scores, as in a fit of style.
    """

    difference: Floats
    cluster: NDArray[np.int64]
    weight: Floats
    best: Floats | None

    @property
    def num_clusters(self) -> int:
        """Comparisons with at least one edge."""
        return int(self.cluster[-1]) + 1 if len(self.cluster) else 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How scores agree with known edges, over one group of comparisons.

    Accuracies are fractions with a tie worth one half; losses are in nats, lower is better,
    ln 2 = 0.693 is a coin's. `fitted_loss_nats` and `held_out_loss_nats` forgive the scores' unit,
    by a factor fitted on the rows themselves and on other prompts (None for one prompt).
    Intervals are of 95 %, from `resamples` bootstrap samples of whole comparisons, or Wilson's if
    `accuracy` is a plain proportion (see `measure`).
    """

    name: str
    num_comparisons: int
    num_edges: int
    num_ties: int
    weighting: Weighting
    accuracy: float
    accuracy_interval: Interval
    loss_nats: float
    loss_interval: Interval
    fitted_loss_nats: float
    held_out_loss_nats: float | None
    brier: float
    calibration_error: float
    best_of_n_accuracy: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A measure of model A less that of model B on the same comparisons.

    `interval` is the paired bootstrap's 95 %, `p_value` the sign-flip test's, two-sided.
    """

    value: float
    interval: Interval
    p_value: float


def check_scores(comparisons: Sequence[Comparison], scores: Scores) -> list[Floats]:
    """One float64 array (replies,) for each comparison.

    Raises WorldPMError, naming the comparison, if the counts differ or a score is not finite.
    """
    if len(scores) != len(comparisons):
        raise WorldPMError(
            f"{len(scores)} score lists for {len(comparisons)} comparisons; "
            "a score function returns one list for each, in order"
        )
    arrays = []
    for comparison, values in zip(comparisons, scores, strict=True):
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (len(comparison.replies),):
            raise WorldPMError(
                f"comparison {comparison.id!r}: scores of shape {array.shape} for "
                f"{len(comparison.replies)} replies; give one number for each"
            )
        if not np.isfinite(array).all():
            reply = int(np.flatnonzero(~np.isfinite(array))[0])
            raise WorldPMError(
                f"comparison {comparison.id!r}: reply {reply} scored {array[reply]}; "
                "nothing can be measured from scores that are not finite"
            )
        arrays.append(array)
    return arrays


def right_replies(comparison: Comparison) -> frozenset[int]:
    """The replies that are right: `meta["correct"]` where a set says so, else those never beaten.

    A set may state a few edges only of many replies, so that never beaten is not enough (PPE).
    Raises WorldPMError where `meta["correct"]` is not a list of places of replies.
    """
    if "correct" in comparison.meta:
        correct, count = comparison.meta["correct"], len(comparison.replies)
        if not isinstance(correct, list | tuple) or not all(
            isinstance(each, int) and 0 <= each < count for each in correct
        ):
            raise WorldPMError(
                f"comparison {comparison.id!r}: meta correct must be a list of places of its "
                f"{count} replies, from 0; correct it or leave it out"
            )
        return frozenset(correct)
    beaten = {edge.loser for edge in comparison.better}
    return frozenset(range(len(comparison.replies))) - beaten


def edge_table(comparisons: Sequence[Comparison], scores: Scores) -> EdgeTable:
    """The known edges, comparison by comparison, with their score differences.

    A comparison without an edge says nothing and takes no part. Raises as `check_scores`, and for
    an edge whose weight is not a positive number.
    """
    difference: list[float] = []
    cluster: list[int] = []
    weight: list[float] = []
    best: list[float] = []
    for comparison, values in zip(comparisons, check_scores(comparisons, scores), strict=True):
        if not comparison.better:
            continue
        for edge in comparison.better:
            if not (edge.weight > 0 and math.isfinite(edge.weight)):
                raise WorldPMError(
                    f"comparison {comparison.id!r}: an edge of weight {edge.weight}; "
                    "give a positive number, and a tie by no edge at all"
                )
            difference.append(values[edge.winner] - values[edge.loser])
            cluster.append(len(best))
            weight.append(edge.weight)
        top = np.flatnonzero(values == values.max())
        right = right_replies(comparison)
        best.append(sum(int(reply) in right for reply in top) / len(top))
    return EdgeTable(
        np.array(difference, np.float64),
        np.array(cluster, np.int64),
        np.array(weight, np.float64),
        np.array(best, np.float64),
    )


def select(edges: EdgeTable, keep: NDArray[np.bool_]) -> EdgeTable:
    """The edges (edges,) where `keep` holds; comparisons left without one drop out."""
    kept, cluster = np.unique(edges.cluster[keep], return_inverse=True)
    best = None if edges.best is None else edges.best[kept]
    return EdgeTable(edges.difference[keep], cluster, edges.weight[keep], best)


# --- one number for each edge: (edges,) -> (edges,) ----------------------------------------------


def edge_accuracy(difference: Floats) -> Floats:
    """1 where the winner scores higher, 1/2 at a tie, else 0 (WorldPM's lattice, spec 3.4)."""
    return 0.5 * (np.sign(difference) + 1.0)


def edge_loss(difference: Floats) -> Floats:
    """Bradley-Terry loss in nats, -ln sigmoid(d) = softplus(-d) (WorldPM Eq. 1-2).

    As logaddexp(0, -d): no overflow for any finite d, and exact in both tails.
    """
    return np.logaddexp(0.0, -difference)


def edge_brier(difference: Floats) -> Floats:
    """Brier's squared error (1 - sigmoid(d))^2 of the modelled probability (Brier 1950)."""
    return np.exp(-2.0 * np.logaddexp(0.0, difference))


# --- means ---------------------------------------------------------------------------------------


def edge_weights(edges: EdgeTable, weighting: Weighting) -> Floats:
    """Weights (edges,) that sum to the number of things counted; see `Weighting`."""
    if weighting == "edge":
        return edges.weight
    totals = np.bincount(edges.cluster, edges.weight, minlength=edges.num_clusters)
    return edges.weight / totals[edges.cluster]


def calibration_error(difference: Floats, weight: Floats, num_bins: int = 10) -> float:
    """Expected calibration error of the more probable side (Naeini 2015, Guo 2017).

    Confidence max(p, 1 - p) in `num_bins` equal bins over [1/2, 1]: the weighted mean over bins of
    |accuracy - mean confidence|, a tie right by one half.
    """
    confidence = np.exp(-np.logaddexp(0.0, -np.abs(difference)))
    bins = np.minimum(((confidence - 0.5) * 2 * num_bins).astype(np.int64), num_bins - 1)
    gap = np.bincount(bins, weight * (edge_accuracy(difference) - confidence), minlength=num_bins)
    return float(np.abs(gap).sum() / weight.sum())


def fitted_loss(difference: Floats, weight: Floats) -> float:
    """The least mean Bradley-Terry loss in nats over one scale a >= 0 of the scores.

    min over a of mean softplus(-a d): what the ranking is worth once its units are forgiven, so
    that a baseline in characters has a loss at all. Fitted on the rows it is measured on: with one
    parameter that flatters little, and it flatters floors. At most ln 2, by a = 0.
    """
    spread = float(np.average(np.abs(difference), weights=weight))
    if spread == 0.0:
        return math.log(2.0)
    unit = difference / spread
    share = weight / weight.sum()

    def slope(scale: float) -> float:
        return float(-(share * unit * np.exp(-np.logaddexp(0.0, scale * unit))).sum())

    if slope(0.0) >= 0.0:
        return math.log(2.0)
    low, high = -14.0, 14.0  # ln a; the loss is convex in a, so its slope changes sign once
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(math.exp(middle)) < 0.0 else (low, middle)
    return float((share * edge_loss(math.exp(low) * unit)).sum())


def unit_factor(difference: Floats, weight: Floats) -> float:
    """The factor on the scores with the least loss, not below 0: being wrong earns no credit."""
    return max(0.0, float(fit_logistic(difference[:, None], weight)[0]))


def held_out_loss(edges: EdgeTable, weight: Floats, *, seed: int = 0) -> float | None:
    """The mean loss in nats, each edge's factor fitted on other prompts; None for one prompt."""
    if edges.num_clusters < 2:
        return None
    fold = folds_of(edges.cluster, seed=seed)
    total = 0.0
    for number in range(int(fold.max()) + 1):
        out = fold == number
        factor = unit_factor(edges.difference[~out], weight[~out])
        total += float(weight[out] @ edge_loss(factor * edges.difference[out]))
    return total / float(weight.sum())


def measure(
    name: str,
    edges: EdgeTable,
    *,
    weighting: Weighting,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Outcome:
    """All measures of one group of edges; see `measure_all`."""
    tables = {"": edges}
    return measure_all(name, tables, weighting=weighting, seed=seed, resamples=resamples)[""]


def measure_all(
    name: str,
    tables: Mapping[str, EdgeTable],
    *,
    weighting: Weighting,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Outcome]:
    """All measures of one group of edges under several models, a model's table by its name.

    The tables are of the same comparisons in the same order, so that all share each bootstrap draw.
    Intervals: percentile bootstrap over comparisons; of accuracy, see `rate_interval`. Raises
    WorldPMError if there is no edge.
    """
    edges = next(iter(tables.values()))
    if edges.num_clusters == 0:
        raise WorldPMError(f"{name}: no comparison has a known edge, so nothing can be measured")
    weight = edge_weights(edges, weighting)
    sizes = by_cluster(edges, weight)
    totals = np.column_stack(
        [
            by_cluster(edges, weight * per_edge(table.difference))
            for table in tables.values()
            for per_edge in (edge_accuracy, edge_loss)
        ]
    )
    samples = bootstrap_means(totals, sizes, seed=seed, resamples=resamples)
    found = {}
    for place, (model, table) in enumerate(tables.items()):
        assert np.array_equal(table.cluster, edges.cluster)
        own = slice(2 * place, 2 * place + 2)
        found[model] = _outcome(
            name, table, weight, weighting, totals[:, own], sizes, samples[:, own], seed
        )
    return found


def _outcome(
    name: str,
    edges: EdgeTable,
    weight: Floats,
    weighting: Weighting,
    totals: Floats,
    sizes: Floats,
    samples: Floats,
    seed: int,
) -> Outcome:
    return Outcome(
        name=name,
        num_comparisons=edges.num_clusters,
        num_edges=len(edges.difference),
        num_ties=int((edges.difference == 0).sum()),
        weighting=weighting,
        accuracy=float(totals[:, 0].sum() / sizes.sum()),
        accuracy_interval=rate_interval(totals[:, 0], sizes, lambda: samples[:, 0]),
        loss_nats=float(totals[:, 1].sum() / sizes.sum()),
        loss_interval=percentiles(samples[:, 1]),
        fitted_loss_nats=fitted_loss(edges.difference, weight),
        held_out_loss_nats=held_out_loss(edges, weight, seed=seed),
        brier=float(np.average(edge_brier(edges.difference), weights=weight)),
        calibration_error=calibration_error(edges.difference, weight),
        best_of_n_accuracy=None if edges.best is None else float(edges.best.mean()),
    )


def by_cluster(edges: EdgeTable, values: Floats) -> Floats:
    """The sum of values (edges,) in each comparison: (clusters,)."""
    return np.bincount(edges.cluster, values, minlength=edges.num_clusters).astype(np.float64)


# --- two models on the same comparisons ----------------------------------------------------------


def difference(
    a: EdgeTable,
    b: EdgeTable,
    *,
    per_edge: Callable[[Floats], Floats] = edge_accuracy,
    weighting: Weighting,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Difference:
    """Mean of `per_edge` under model A less under model B, paired by comparison.

    The two tables must come from the same comparisons, in the same order.
    """
    assert np.array_equal(a.cluster, b.cluster)
    assert np.array_equal(a.weight, b.weight)
    weight = edge_weights(a, weighting)
    sizes = by_cluster(a, weight)
    totals = by_cluster(a, weight * (per_edge(a.difference) - per_edge(b.difference)))
    samples = bootstrap_means(totals[:, None], sizes, seed=seed, resamples=resamples)
    return Difference(
        value=float(totals.sum() / sizes.sum()),
        interval=percentiles(samples[:, 0]),
        p_value=sign_flip_p(totals, seed=seed, resamples=resamples),
    )
