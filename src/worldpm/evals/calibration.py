"""Score differences -> how far their probabilities can be believed.

    edge_table(...) -> reliability(...)  -> bins for a diagram: what was claimed, what came true
                    -> temperature(...)  -> the raw loss beside the one with fitted units

A model may rank well in the wrong units. One factor on all scores, the inverse temperature, mends
the units; fitted on the rows it is measured on it flatters a little, so the loss that counts is the
one whose factor comes from other prompts.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from worldpm.evals.metrics import (
    EdgeTable,
    Weighting,
    by_cluster,
    edge_accuracy,
    edge_loss,
    edge_weights,
    held_out_loss,
    select,
    unit_factor,
)
from worldpm.evals.resampling import Interval, bootstrap_means, rate_interval

NUM_BINS = 10
RESAMPLES = 500  # for each bin


@dataclass(frozen=True, slots=True)
class Bin:
    """Edges whose more probable side was claimed at `low` to `high`; fractions, no per cent.

    `confidence` is the mean claim, `accuracy` how often it came true, a tie by one half.
    """

    low: float
    high: float
    num_edges: int
    share: float
    confidence: float
    accuracy: float
    accuracy_interval: Interval


@dataclass(frozen=True, slots=True)
class Temperature:
    """Losses in nats with the scores' own units and with a fitted factor on them.

    `factor` multiplies the scores (0: they say nothing); `fitted_loss_nats` is measured on the rows
    it was fitted on, `held_out_loss_nats` on prompts it never saw, None for a single prompt.
    """

    factor: float
    raw_loss_nats: float
    fitted_loss_nats: float
    held_out_loss_nats: float | None


def reliability(
    edges: EdgeTable, *, weighting: Weighting, seed: int = 0, num_bins: int = NUM_BINS
) -> tuple[Bin, ...]:
    """The diagram's bins over [1/2, 1] that have edges; their weighted mean gap is the ECE.

    Intervals of 95 % resample whole comparisons; a bin of plain proportions has Wilson's.
    """
    weight = edge_weights(edges, weighting)
    confidence = np.exp(-np.logaddexp(0.0, -np.abs(edges.difference)))
    number = np.minimum(((confidence - 0.5) * 2 * num_bins).astype(np.int64), num_bins - 1)
    found = []
    for each in np.unique(number).tolist():
        inside = number == each
        part, own = select(edges, inside), weight[inside]
        sizes = by_cluster(part, own)
        right = by_cluster(part, own * edge_accuracy(part.difference))
        accuracy = float(right.sum() / sizes.sum())
        samples = partial(bootstrap_means, right[:, None], sizes, seed=seed, resamples=RESAMPLES)
        found.append(
            Bin(
                low=0.5 + each / (2 * num_bins),
                high=0.5 + (each + 1) / (2 * num_bins),
                num_edges=int(inside.sum()),
                share=float(own.sum() / weight.sum()),
                confidence=float(np.average(confidence[inside], weights=own)),
                accuracy=accuracy,
                accuracy_interval=rate_interval(right, sizes, samples),
            )
        )
    return tuple(found)


def temperature(edges: EdgeTable, *, weighting: Weighting, seed: int = 0) -> Temperature:
    """The raw loss beside the fitted one, in sample and by cross-validation over prompts."""
    weight = edge_weights(edges, weighting)
    factor = unit_factor(edges.difference, weight)

    def loss(factor: float) -> float:
        return float(np.average(edge_loss(factor * edges.difference), weights=weight))

    return Temperature(
        factor=factor,
        raw_loss_nats=loss(1.0),
        fitted_loss_nats=loss(factor),
        held_out_loss_nats=held_out_loss(edges, weight, seed=seed),
    )
