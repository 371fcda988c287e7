"""Comparisons and kept scores -> rows of a scaling table: one for the set, or for each class of it.

    observe("rewardbench", comparisons, scores)
    ->  [{"suite": "rewardbench adversarial", "class": "adversarial", "loss": 0.69, ...}, ...]

Losses are means over comparisons in nats. `controlled_loss` has score and style fitted on other
prompts, `uncontrolled_loss` the score alone, fitted likewise: their gap is what style explains.
`phi_*` are the paper's agreement of predicted winner and winner by style (Eq. 6). A measure that
does not exist, as of pairs of one length, is None.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldpm.evals.groups import class_of, groups_of
from worldpm.evals.metrics import (
    edge_accuracy,
    edge_loss,
    edge_table,
    edge_weights,
    select,
)
from worldpm.evals.style import style_edges, style_report
from worldpm.records import Comparison

_RESAMPLES = 2  # intervals are made over runs, later; none of a row is kept


def observe(
    suite: str, comparisons: Sequence[Comparison], scores: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """The measures of a suite whose comparisons have one class or none; else those of each class.

    Comparisons without a class in a suite that has some are in none of its rows. Raises
    WorldPMError as `edge_table`, for scores that do not fit the comparisons.
    """
    edges = edge_table(comparisons, scores)
    style = style_edges(comparisons)
    classes = list(dict.fromkeys(name for c in comparisons if c.better and (name := class_of(c))))
    every = np.ones(len(edges.difference), np.bool_)
    parts = [(suite, classes[0] if classes else "", every)]
    kept = {group.name: group.keep for group in groups_of(comparisons) if group.kind == "class"}
    if kept:
        parts = [(f"{suite} {name}", name, keep) for name, keep in kept.items()]
    rows = []
    for name, kind, keep in parts:
        own = select(edges, keep)
        weight = edge_weights(own, "comparison")
        report = style_report(own, style[keep], weighting="comparison", resamples=_RESAMPLES)
        rows.append(
            {
                "suite": name,
                "class": kind,
                "suite_comparisons": own.num_clusters,
                "loss": float(np.average(edge_loss(own.difference), weights=weight)),
                "accuracy": float(np.average(edge_accuracy(own.difference), weights=weight)),
                "controlled_loss": report.controlled.held_out_loss_nats,
                "uncontrolled_loss": report.uncontrolled.held_out_loss_nats,
                "phi_length": report.phi_predicted.get("length"),
                "phi_marks": report.phi_predicted.get("marks"),
                "chosen_longer_accuracy": report.chosen_longer_accuracy,
                "chosen_shorter_accuracy": report.chosen_shorter_accuracy,
            }
        )
    return rows
