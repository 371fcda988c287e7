"""What a run knows of comparisons it does not train on: loss and accuracy, over all and by source.

sample(examples, count, seed)                  -> the comparisons of every look, the same ones
validate(scorer, examples, first_key, budget)  -> {"loss_nats", "accuracy", "pairs", ...}
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worldpm.train.examples import Example, join_edges
from worldpm.train.loss import bradley_terry, edge_accuracy
from worldpm.train.parallel import ALONE, Ranks
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
    """The scores of each example's replies; several processes share the work, all get them all."""
    scores: dict[int, list[float]] = {}
    for group in own_batches(examples, range(len(examples)), budget, ranks):
        if not group:
            scorer(examples[:1], [first_key])
            continue
        chosen = [examples[i] for i in group]
        found = scorer(chosen, [first_key + i for i in group])
        parts = torch.split(found, [len(example.tree.leaves) for example in chosen])
        scores |= {i: own.tolist() for i, own in zip(group, parts, strict=True)}
    everyone = [pair for each in ranks.gather(list(scores.items())) for pair in each]
    return [torch.tensor(own) for _, own in sorted(everyone)]


@torch.no_grad()
def validate(
    scorer: TreeScorer,
    examples: Sequence[Example],
    first_key: int,
    budget: int,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Loss (nats a pair) and accuracy, weighted as in training, over all and by source."""
    sums: dict[str, list[float]] = {}
    everything_scored = score_all(scorer, examples, first_key, budget, ranks)
    for example, own in zip(examples, everything_scored, strict=True):
        e = join_edges([example])
        found = (
            float(bradley_terry(own, e.winners, e.losers, e.weights)),
            edge_accuracy(own, e.winners, e.losers, e.weights),
            float(e.weights.sum()),
        )
        total = sums.setdefault(example.source, [0.0, 0.0, 0.0])
        total[:] = map(sum, zip(total, found, strict=True))

    def record(loss: float, right: float, weight: float) -> dict[str, float]:
        return {"loss_nats": loss / weight, "accuracy": right / weight, "pairs": weight}

    everything = record(*map(sum, zip(*sums.values(), strict=True)))
    return {**everything, "by_source": {s: record(*sums[s]) for s in sorted(sums)}}
