"""What a step minimises: outputs for examples and the recipe's `[loss]` -> one number to descend.

    objective(outputs of the head for all replies, examples, settings)  ->  loss, summed
    scores_of(outputs, settings)                                        ->  scores (replies,)

The head has one output a reply, its score, or for a regression one for each rated attribute, whose
weighted sum is the score. Losses are in nats, a regression's in squared units of its ratings. The
pure losses are in `worldpm.train.loss`; here they meet the edges, ties and rankings of
comparisons. Whatever the kind, a comparison counts its `pairs`, so that losses of several kinds
stand on one scale.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from worldpm.errors import DataError
from worldpm.train.examples import Edges, Example, join_edges
from worldpm.train.loss import (
    bradley_terry,
    centring,
    certainty_targets,
    davidson,
    plackett_luce,
    rao_kupper,
    squared_error,
)
from worldpm.train.recipe import LossSettings


def objective(outputs: Tensor, examples: Sequence[Example], settings: LossSettings) -> Tensor:
    """The loss of `examples`, weighted and summed; `outputs` as the head gives them."""
    edges = join_edges(examples)
    scores = scores_of(outputs, settings)
    if settings.kind == "regression":
        loss = _regression(outputs, examples)
    elif settings.kind == "bradley-terry":
        loss = _bradley_terry(scores, edges, settings)
    elif settings.kind == "plackett-luce":
        loss = _plackett_luce(scores, examples, settings)
    else:
        loss = _with_ties(scores, edges, examples, settings)
    if settings.centring:
        each = centring(scores, edges.winners, edges.losers, edges.weights)
        loss = loss + settings.centring * each
    return loss


def scores_of(outputs: Tensor, settings: LossSettings) -> Tensor:
    """Scores (replies,) of a head's outputs: they themselves, or the sum of weighted attributes."""
    if not settings.attributes:
        return outputs
    weights = torch.tensor(list(settings.attributes.values()), dtype=outputs.dtype)
    return outputs.reshape(-1, len(weights)) @ weights  # (replies, attributes) -> (replies,)


def check_labels(examples: Sequence[Example], settings: LossSettings) -> None:
    """DataError for weights of edges that `soft_labels` cannot read as probabilities."""
    for example in examples if settings.soft_labels else ():
        share = example.pairs / len(example.winners)
        most = max(example.edge_weights) / share
        if most > 1 + 1e-6:
            raise DataError(
                f"loss.soft_labels: an edge of the source {example.source!r} weighs {most:g}, over "
                "1, which is no certainty of votes; make the comparisons with certainty = true "
                "and without weights of exposure"
            )


def _bradley_terry(scores: Tensor, edges: Edges, settings: LossSettings) -> Tensor:
    margins = targets = None
    weights = edges.weights
    if settings.margin_scale:
        margins = settings.margin_scale * edges.margins.log1p()
    if settings.soft_labels:
        targets = certainty_targets(edges.weights / edges.shares, settings.label_smoothing)
        weights = edges.shares
    elif settings.label_smoothing:
        targets = torch.full_like(edges.weights, 1 - settings.label_smoothing)
    return bradley_terry(scores, edges.winners, edges.losers, weights, margins, targets)


def _regression(outputs: Tensor, examples: Sequence[Example]) -> Tensor:
    """A comparison's weight, spread evenly over its replies that have a rating."""
    ratings = torch.tensor([own for example in examples for own in example.ratings])
    weights: list[float] = []
    for example in examples:
        rated = [any(value == value for value in own) for own in example.ratings]
        weights += [example.pairs * one / sum(rated) for one in rated]
    wide = outputs.reshape(ratings.shape)
    return squared_error(wide, ratings.to(wide.dtype), torch.tensor(weights, dtype=wide.dtype))


def ranking_of(example: Example) -> list[int] | None:
    """The replies of an example, best first, if its edges order them all; else None.

    Each of K replies must meet every other once, and beat K - 1, K - 2, ..., 0 of them: a
    tournament without cycles has no other numbers of wins.
    """
    count = len(example.tree.leaves)
    pairs = {frozenset(edge) for edge in zip(example.winners, example.losers, strict=True)}
    wins = [example.winners.count(reply) for reply in range(count)]
    whole = len(pairs) == len(example.winners) == count * (count - 1) // 2
    if not whole or sorted(wins) != list(range(count)):
        return None
    return sorted(range(count), key=lambda reply: -wins[reply])


def ties_of(example: Example) -> list[tuple[int, int]]:
    """The pairs of replies that no edge decides."""
    decided = {frozenset(edge) for edge in zip(example.winners, example.losers, strict=True)}
    pairs = combinations(range(len(example.tree.leaves)), 2)
    return [pair for pair in pairs if frozenset(pair) not in decided]


def _plackett_luce(scores: Tensor, examples: Sequence[Example], settings: LossSettings) -> Tensor:
    """Whole rankings at once; comparisons that are not wholly ranked by their edges."""
    loss = scores.sum() * 0.0
    sizes = [len(example.tree.leaves) for example in examples]
    rankings, weights = [], []
    first = 0
    for own, example in zip(torch.split(scores, sizes), examples, strict=True):
        ranking = ranking_of(example)
        if ranking is None:
            loss = loss + _bradley_terry(own, join_edges([example]), settings)
        else:
            rankings.append(torch.tensor(ranking) + first)
            weights.append(example.pairs / (len(ranking) - 1))  # it has K - 1 factors
        first += len(own)
    return loss + plackett_luce(scores, rankings, torch.tensor(weights, dtype=scores.dtype))


def _with_ties(
    scores: Tensor, edges: Edges, examples: Sequence[Example], settings: LossSettings
) -> Tensor:
    """A comparison's weight, spread over its edges and its ties alike."""
    tied: list[tuple[int, int]] = []
    tie_weights: list[float] = []
    shares: list[float] = []
    first = 0
    for example in examples:
        own = ties_of(example)
        total = len(example.winners) + len(own)
        tied += [(first + a, first + b) for a, b in own]
        tie_weights += [example.pairs / total] * len(own)
        shares += [len(example.winners) / total] * len(example.winners)
        first += len(example.tree.leaves)
    likelihood = rao_kupper if settings.kind == "rao-kupper" else davidson
    return likelihood(
        scores,
        edges.winners,
        edges.losers,
        edges.weights * torch.tensor(shares),
        torch.tensor(tied, dtype=torch.int64).reshape(-1, 2),
        torch.tensor(tie_weights),
        settings.ties,
    )
