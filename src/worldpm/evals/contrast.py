"""Two models on the same comparisons -> their paired differences, group by group.

    comparisons, scores of A, scores of B -> contrast(...) -> Contrast, ... -> with_q_values

Every difference has the interval and p-value of its own. A report makes many of them at once, so
each also gets its q-value (Benjamini and Hochberg) among all that the report shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldpm.evals.groups import Group, groups_of
from worldpm.evals.metrics import (
    Difference,
    Scores,
    Weighting,
    difference,
    edge_accuracy,
    edge_loss,
    edge_table,
    select,
)
from worldpm.evals.multiple import benjamini_hochberg
from worldpm.evals.resampling import RESAMPLES
from worldpm.records import Comparison

KINDS = ("all", "class", "section")


@dataclass(frozen=True, slots=True)
class Contrast:
    """Model `a` less model `b` on one group: accuracy (fraction) and Bradley-Terry loss (nats).

    `q_accuracy` and `q_loss` are None until `with_q_values` has seen all the tests of a report.
    """

    suite: str
    kind: str
    group: str
    a: str
    b: str
    num_comparisons: int
    accuracy: Difference
    loss: Difference
    q_accuracy: float | None = None
    q_loss: float | None = None


def contrast(
    comparisons: Sequence[Comparison],
    a: tuple[str, Scores],
    b: tuple[str, Scores],
    *,
    suite: str,
    weighting: Weighting = "comparison",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Contrast]:
    """The differences over the whole suite, its classes and its sections.

    `a` and `b` are (name, scores). Raises as `edge_table`.
    """
    tables = [edge_table(comparisons, scores) for _, scores in (a, b)]
    every = Group("all", suite, np.ones(len(tables[0].difference), np.bool_))
    found = []
    for group in [every, *groups_of(comparisons)]:
        if group.kind not in KINDS:
            continue
        ours, theirs = (select(table, group.keep) for table in tables)
        accuracy, loss = (
            difference(
                ours,
                theirs,
                per_edge=per_edge,
                weighting=weighting,
                seed=seed,
                resamples=resamples,
            )
            for per_edge in (edge_accuracy, edge_loss)
        )
        found.append(
            Contrast(suite, group.kind, group.name, a[0], b[0], ours.num_clusters, accuracy, loss)
        )
    return found


def with_q_values(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The same, each with its q-values among all of them, accuracies and losses apart."""
    accuracy = benjamini_hochberg([each.accuracy.p_value for each in contrasts])
    loss = benjamini_hochberg([each.loss.p_value for each in contrasts])
    return [
        replace(each, q_accuracy=q, q_loss=r)
        for each, q, r in zip(contrasts, accuracy, loss, strict=True)
    ]
