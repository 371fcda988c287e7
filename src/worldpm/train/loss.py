"""Preference losses over what is known of the replies of token trees: one file, all of them.

scores (K,), winners (E,), losers (E,), weights (E,) -> loss in nats, summed, to be divided by pairs

All take scores in log-odds units, so that sigmoid(a - b) is the modelled probability that a beats
b, and return weighted sums: micro-batches of one optimiser step add up.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def bradley_terry(
    scores: Float[Tensor, "replies"],
    winners: Int[Tensor, "edges"],
    losers: Int[Tensor, "edges"],
    weights: Float[Tensor, "edges"],
    margins: Float[Tensor, "edges"] | None = None,
    targets: Float[Tensor, "edges"] | None = None,
) -> Float[Tensor, ""]:
    """Weighted sum of -log sigmoid(score of winner - score of loser), in nats.

    WorldPM, equations 1 and 2; Bradley and Terry 1952. `margins` are taken off the difference, so
    that clearer preferences must be further apart (Llama 2, equation 2). `targets` are the
    probabilities that the named winner is the better one, for soft labels and for label smoothing:
    the cross-entropy -t log p - (1 - t) log(1 - p).
    """
    ahead = scores[winners] - scores[losers]
    if margins is not None:
        ahead = ahead - margins
    loss = F.softplus(-ahead)
    if targets is not None:
        loss = targets * loss + (1 - targets) * F.softplus(ahead)
    return (weights * loss).sum()


def rao_kupper(
    scores: Float[Tensor, "replies"],
    winners: Int[Tensor, "edges"],
    losers: Int[Tensor, "edges"],
    weights: Float[Tensor, "edges"],
    tied: Int[Tensor, "ties 2"],
    tie_weights: Float[Tensor, "ties"],
    threshold: float,
) -> Float[Tensor, ""]:
    """Negative log-likelihood with ties by a threshold, in nats (Rao and Kupper 1967).

    With theta = exp(threshold) > 1: P(a beats b) = sigmoid(d - threshold) and P(tie) =
    (theta^2 - 1) sigmoid(d - threshold) sigmoid(-d - threshold), d the difference of the scores.
    """
    ahead = scores[winners] - scores[losers] - threshold
    apart = scores[tied[:, 0]] - scores[tied[:, 1]]
    of_tie = F.softplus(threshold - apart) + F.softplus(threshold + apart)
    constant = math.log(math.expm1(2 * threshold))
    return (weights * F.softplus(-ahead)).sum() + (tie_weights * (of_tie - constant)).sum()


def davidson(
    scores: Float[Tensor, "replies"],
    winners: Int[Tensor, "edges"],
    losers: Int[Tensor, "edges"],
    weights: Float[Tensor, "edges"],
    tied: Int[Tensor, "ties 2"],
    tie_weights: Float[Tensor, "ties"],
    log_ties: float,
) -> Float[Tensor, ""]:
    """Negative log-likelihood with ties by the geometric mean, in nats (Davidson 1970).

    P(a beats b) : P(b beats a) : P(tie) = e^a : e^b : nu e^((a + b) / 2), with nu = exp(log_ties).
    """

    def log_total(first: Tensor, second: Tensor) -> Tensor:
        parts = [scores[first], scores[second], log_ties + (scores[first] + scores[second]) / 2]
        return torch.stack(parts).logsumexp(0)

    won = log_total(winners, losers) - scores[winners]
    first, second = tied[:, 0], tied[:, 1]
    drawn = log_total(first, second) - log_ties - (scores[first] + scores[second]) / 2
    return (weights * won).sum() + (tie_weights * drawn).sum()


def plackett_luce(
    scores: Float[Tensor, "replies"],
    rankings: Sequence[Int[Tensor, "_"]],
    weights: Float[Tensor, "rankings"],
) -> Float[Tensor, ""]:
    """Negative log-likelihood of whole rankings, best first, in nats (Luce 1959, Plackett 1975).

    Each place goes to one of those left, in proportion to exp(score). For two replies it is
    `bradley_terry`.
    """
    losses = []
    for ranking in rankings:
        ranked = scores[ranking]
        left = ranked.flip(0).logcumsumexp(0).flip(0)  # over each place and all below it
        losses.append((left - ranked).sum())
    if not losses:
        return scores.sum() * 0.0
    return (weights * torch.stack(losses)).sum()


def centring(
    scores: Float[Tensor, "replies"],
    winners: Int[Tensor, "edges"],
    losers: Int[Tensor, "edges"],
    weights: Float[Tensor, "edges"],
) -> Float[Tensor, ""]:
    """Weighted sum of (winner's + loser's score)^2, which keeps scores about zero.

    A preference loss knows differences only; TRL's `center_rewards_coefficient` multiplies this
    (Eisenstein et al. 2023, equation 2).
    """
    return (weights * (scores[winners] + scores[losers]).square()).sum()


def squared_error(
    outputs: Float[Tensor, "replies attributes"],
    ratings: Float[Tensor, "replies attributes"],
    weights: Float[Tensor, "replies"],
) -> Float[Tensor, ""]:
    """Weighted sum of each reply's mean squared error over the ratings it has, in ratings squared.

    Regression heads of several attributes (SteerLM, Dong et al. 2023; HelpSteer2, Wang et al.
    2024). A rating that is NaN is missing: it adds nothing to the loss or the gradient. A
    reply without any counts nothing, so its weight should be 0.
    """
    known = ~ratings.isnan()
    apart = (outputs - ratings.nan_to_num()) * known
    each = apart.square().sum(1) / known.sum(1).clamp(min=1)
    return (weights * each).sum()


def certainty_targets(
    certainties: Float[Tensor, "edges"], smoothing: float = 0.0
) -> Float[Tensor, "edges"]:
    """P(the winner is better) from certainties 2 P - 1, which votes give as weights of edges.

    Both say the same of votes: at equal scores the soft label P and a hard label that weighs 2 P -
    1 have one gradient. Apart from there they differ: the hard label asks for ever larger leads,
    the soft one for a lead of ln(P / (1 - P)) (Bradley and Terry's own estimate). `smoothing` turns
    that share of the labels round (Szegedy et al. 2016, with two classes).
    """
    better = (1 + certainties) / 2
    return (1 - smoothing) * better + smoothing * (1 - better)


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
def edge_margin(
    scores: Float[Tensor, "replies"],
    winners: Int[Tensor, "edges"],
    losers: Int[Tensor, "edges"],
    weights: Float[Tensor, "edges"],
) -> float:
    """Weighted sum of the winners' leads, score of winner - score of loser, in log-odds units."""
    return float((weights * (scores[winners] - scores[losers])).sum())


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
