"""What a run knows of comparisons it does not train on: by named set, by source, and of style.

sample(examples, count, seed)                     -> the comparisons of every look, the same ones
validate(scorer, {"hh": examples}, settings, ...) -> {"loss_nats", "accuracy", ..., "by_set": ...}

A set's style says how far its predictions go with the longer reply and with the one of more marks,
beside how far its labels do: WorldPM's figure 5a. The models there stay above their labels.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldpm.surface import phi
from worldpm.train.examples import Example, join_edges
from worldpm.train.loss import edge_accuracy
from worldpm.train.measures import measure, merge, record
from worldpm.train.objective import objective, scores_of
from worldpm.train.parallel import ALONE, Ranks
from worldpm.train.recipe import LossSettings
from worldpm.train.step import TreeScorer, own_batches


def sample(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """At most `count` of `examples`, chosen by `seed` alone and left in their order."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return [examples[i] for i in sorted(order[:count].tolist())]


@torch.no_grad()
def score_all(
    scorer: TreeScorer,
    examples: Sequence[Example],
    first_key: int,
    budget: int,
    ranks: Ranks = ALONE,
) -> list[Tensor]:
    """The head's outputs for each example's replies; several processes share the work, all get all.

    One tensor an example, (replies,) or for a regression (replies, attributes).
    """
    outputs: dict[int, list[Any]] = {}
    for group in own_batches(examples, range(len(examples)), budget, ranks):
        if not group:
            scorer(examples[:1], [first_key])
            continue
        chosen = [examples[i] for i in group]
        found = scorer(chosen, [first_key + i for i in group])
        parts = torch.split(found, [len(example.tree.leaves) for example in chosen])
        outputs |= {i: own.tolist() for i, own in zip(group, parts, strict=True)}
    everyone = [pair for each in ranks.gather(list(outputs.items())) for pair in each]
    return [torch.tensor(own) for _, own in sorted(everyone)]


@torch.no_grad()
def validate(
    scorer: TreeScorer,
    sets: Mapping[str, Sequence[Example]],
    settings: LossSettings,
    first_key: int,
    budget: int,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Loss (nats a pair), accuracy and lead, weighted as in training, and the recipe's objective.

    Over all and "by_source"; "by_set" with each set's style. `objective` is the mean of what
    training descends, whose lowest value makes a checkpoint the best.
    """
    everything = list(chain.from_iterable(sets.values()))
    parts = iter(score_all(scorer, everything, first_key, budget, ranks))
    by_set, sums, total, pairs = {}, [], 0.0, 0.0
    for name, examples in sets.items():
        outputs = torch.cat([next(parts) for _ in examples])
        scores = scores_of(outputs, settings)
        counted = sum(example.pairs for example in examples)
        descent = float(objective(outputs, examples, settings))
        sums.append(measure(scores, examples))
        by_set[name] = {
            **_without_sources(record(sums[-1])),
            "objective": descent / counted,
            "pairs": counted,
            "style": style_of(scores, examples),
        }
        total, pairs = total + descent, pairs + counted
    return {**record(merge(sums)), "objective": total / pairs, "pairs": pairs, "by_set": by_set}


def _without_sources(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "by_source"}


def style_of(scores: Tensor, examples: Sequence[Example]) -> dict[str, float | None]:
    """How predictions and labels of a set go with length and with marks; {} where not counted.

    phi is WorldPM's equation 6 between the predicted winner, or the labelled one, and the reply
    that has more, every pair counted both ways round; accuracies are those of edges whose winner is
    the longer and the shorter reply. None where there is no such edge.
    """
    style = np.array([own for example in examples for own in example.style])
    if not len(style):
        return {}
    e = join_edges(examples)
    ahead = (scores[e.winners] - scores[e.losers]).double().numpy()
    weights, ones = e.weights.double().numpy(), np.ones(len(style))
    found: dict[str, float | None] = {}
    for kind, more in (("length", style[:, 0]), ("marks", style[:, 1])):
        found[f"phi_{kind}"] = phi(ahead, more, weights)
        found[f"phi_{kind}_of_labels"] = phi(ones, more, weights)
    for kind, where in (("longer", style[:, 0] > 0), ("shorter", style[:, 0] < 0)):
        chosen = torch.from_numpy(where)
        right = edge_accuracy(scores, e.winners[chosen], e.losers[chosen], e.weights[chosen])
        found[f"chosen_{kind}_accuracy"] = (
            right / float(e.weights[chosen].sum()) if where.any() else None
        )
    return found
