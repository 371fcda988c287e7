"""What scores say of comparisons, by source: loss, accuracy and the winners' lead.

    measure(scores (replies,), examples)  ->  {"hh": Sums(...), ...}     adds up over batches
    merge([sums of each process])         ->  {"hh": Sums(...), ...}
    record(sums)                          ->  {"loss_nats", "accuracy", "margin", "by_source"}

The loss is Bradley-Terry's in nats, whatever a recipe trains by, so that runs can be compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from worldpm.train.examples import Example, join_edges
from worldpm.train.loss import bradley_terry, edge_accuracy, edge_margin

Sums = Mapping[str, Sequence[float]]
"""By source: weighted loss, right edges and leads, and the weight of all edges."""


@torch.no_grad()
def measure(scores: Tensor, examples: Sequence[Example]) -> Sums:
    """Sums over `examples`, whose replies scored `scores` (replies of all,)."""
    parts = torch.split(scores.detach(), [len(example.tree.leaves) for example in examples])
    found = {}
    for source in dict.fromkeys(example.source for example in examples):
        own = [i for i, example in enumerate(examples) if example.source == source]
        edges = join_edges([examples[i] for i in own])
        given = (torch.cat([parts[i] for i in own]), edges.winners, edges.losers, edges.weights)
        found[source] = (
            float(bradley_terry(*given)),
            edge_accuracy(*given),
            edge_margin(*given),
            float(edges.weights.sum()),
        )
    return found


def merge(several: Iterable[Sums]) -> Sums:
    """All of them together, sources in the order of their names."""
    total: dict[str, list[float]] = {}
    for sums in several:
        for source, values in sums.items():
            held = total.get(source, [0.0] * len(values))
            total[source] = [a + b for a, b in zip(held, values, strict=True)]
    return {source: total[source] for source in sorted(total)}


def record(sums: Sums) -> dict[str, Any]:
    """Loss, accuracy and lead a pair, over all and by source; None where no edge was known."""

    def of(values: Sequence[float]) -> dict[str, float | None]:
        names = ("loss_nats", "accuracy", "margin")
        *found, weight = values
        return {n: v / weight if weight else None for n, v in zip(names, found, strict=True)}

    total = of([sum(column) for column in zip(*sums.values(), strict=True)])
    return {
        **total, "by_source": {s: {**of(sums[s]), "pairs": sums[s][-1]} for s in sums},
    }  # fmt: skip
