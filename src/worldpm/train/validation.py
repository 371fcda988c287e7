"""What a run knows of comparisons it does not train on: loss and accuracy, over all and by source.

sample(examples, count, seed)                  -> the comparisons of every look, the same ones
validate(scorer, examples, first_key, budget)  -> {"loss_nats", "accuracy", "pairs", ...}
"""

from collections.abc import Sequence
from typing import Any

import torch

from worldpm.train.examples import Example, join_edges
from worldpm.train.loss import bradley_terry, edge_accuracy
from worldpm.train.step import TreeScorer, micro_batches


def sample(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """At most `count` of `examples`, chosen by `seed` alone and left in their order."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return [examples[i] for i in sorted(order[:count].tolist())]


@torch.no_grad()
def validate(
    scorer: TreeScorer, examples: Sequence[Example], first_key: int, budget: int
) -> dict[str, Any]:
    """Loss (nats a pair) and accuracy, weighted as in training, over all and by source."""
    sums: dict[str, list[float]] = {}
    for group in micro_batches(examples, range(len(examples)), budget):
        chosen = [examples[i] for i in group]
        scores = scorer(chosen, [first_key + i for i in group])
        leaves = [len(example.tree.leaves) for example in chosen]
        for example, own in zip(chosen, torch.split(scores, leaves), strict=True):
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
