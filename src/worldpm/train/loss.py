"""Preference losses over the known edges of token trees.

scores (K,), winners (E,), losers (E,), weights (E,) -> loss in nats
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def bradley_terry(
    scores: Float[Tensor, "replies"],
    winners: Int[Tensor, "edges"],
    losers: Int[Tensor, "edges"],
    weights: Float[Tensor, "edges"],
) -> Float[Tensor, ""]:
    """Weighted sum of -log sigmoid(score of winner - score of loser), in nats.

    WorldPM, equations 1 and 2; Bradley and Terry 1952. A sum, so that micro-batches of one
    optimiser step add up; the caller divides by the step's total weight.
    """
    margins = scores[winners] - scores[losers]
    return (weights * F.softplus(-margins)).sum()


def edge_weights(
    edges_per_comparison: list[int], replies_per_comparison: list[int], weighting: str
) -> tuple[list[float], list[float]]:
    """Weights of the edges of each comparison, and each comparison's total weight in pairs.

    A thread of twenty answers has up to 190 edges, but they come from twenty posts. `weighting`
    says what a comparison counts: "comparison" 1, "replies" K - 1 (the number of independent
    contrasts among K replies), "edges" one a known edge. The weight is spread evenly over its
    edges; a pair weighs 1 under all three.
    """
    per_edge, totals = [], []
    for edges, replies in zip(edges_per_comparison, replies_per_comparison, strict=True):
        assert edges > 0, "a comparison without edges has no loss"
        total = {"comparison": 1.0, "replies": float(min(replies - 1, edges)), "edges": edges}
        per_edge.append(total[weighting] / edges)
        totals.append(float(total[weighting]))
    return per_edge, totals


@torch.no_grad()
def edge_accuracy(
    scores: Float[Tensor, "replies"],
    winners: Int[Tensor, "edges"],
    losers: Int[Tensor, "edges"],
    weights: Float[Tensor, "edges"],
) -> float:
    """Weighted number of edges that the scores order rightly, ties counting one half."""
    margins = scores[winners] - scores[losers]
    right = (margins > 0).float() + 0.5 * (margins == 0).float()
    return float((weights * right).sum())
