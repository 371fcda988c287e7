"""Surface of replies -> how much of an agreement with the labels is style.

    comparisons -> style_edges(...) -> Z (edges, features)
    edge_table(...), Z -> style_report(...) -> losses and accuracies with and without style

WorldPM 3.3 fits R = alpha D + beta Z, D the score difference of a pair and Z its difference of
style, by logistic regression, and reads the loss and accuracy of R. It fits on the very rows that
it then scores, which credits style for what it memorised; so every number is here twice, in sample
as in the paper and held out by prompt, and beside it stands what style alone reaches (alpha = 0).

>>> from worldpm.records import Message
>>> long, short = (Message("assistant", "So be it."),), (Message("assistant", "Yes."),)
>>> pair = Comparison("1", "example", None, (), (long, short), (Edge(0, 1),))
>>> style_edges([pair], ["length"])
array([[0.5]])
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldpm.errors import ConfigError
from worldpm.evals.logistic import fit_logistic, held_out_margins
from worldpm.evals.metrics import (
    Difference,
    EdgeTable,
    Weighting,
    difference,
    edge_accuracy,
    edge_loss,
    edge_weights,
)
from worldpm.records import Comparison
from worldpm.surface import FEATURES, PAPER, Floats, leads, phi, relative, style_counts


@dataclass(frozen=True, slots=True)
class Fit:
    """One regression, measured on its own rows and on rows it never saw (losses in nats)."""

    loss_nats: float
    accuracy: float
    held_out_loss_nats: float
    held_out_accuracy: float


@dataclass(frozen=True, slots=True)
class StyleReport:
    """How scores and labels stand to style; see the module.

    `alpha` is the factor of the score difference and `beta` that of each feature's relative
    difference, from -1 to 1, both fitted on all rows. `uncontrolled` has alpha alone, as the
    paper's "no control", `style_only` beta alone. `over_style` is the held-out accuracy with score
    and style less that of style alone, paired by comparison, and `less_loss` the same of the loss:
    below zero where the score knows more than style does.

    `phi_predicted` and `phi_labels` are for length and for marks the correlation of the predicted,
    or the labelled, winner with the one that has more of it, pairs counted both ways round; None
    where no pair differs. More marks are a higher sum of the relative differences of lists, headers
    and bold: one header against none outweighs ten bold words against nine. Accuracies of the raw
    scores where the chosen reply is the longer and the shorter one are None where there is no such
    pair.
    """

    features: tuple[str, ...]
    num_edges: int
    alpha: float
    beta: Mapping[str, float]
    controlled: Fit
    uncontrolled: Fit
    style_only: Fit
    over_style: Difference
    less_loss: Difference
    phi_predicted: Mapping[str, float | None]
    phi_labels: Mapping[str, float | None]
    chosen_longer_share: float
    chosen_longer_accuracy: float | None
    chosen_shorter_accuracy: float | None


def check_features(names: Sequence[str]) -> None:
    """ConfigError for a feature that is not one, none at all, or one named twice."""
    for name in names:
        if name not in FEATURES:
            raise ConfigError(f"style feature {name!r} is not one of {', '.join(FEATURES)}")
    if not names or len(set(names)) < len(names):
        raise ConfigError("style features: name each once, and at least one")


def style_edges(
    comparisons: Sequence[Comparison],
    features: Sequence[str] = PAPER,
    *,
    count_tokens: Callable[[str], int] | None = None,
) -> Floats:
    """Z (edges, features), in the order of `edge_table`; `count_tokens` measures `length`.

    Raises ConfigError as `check_features`.
    """
    check_features(features)
    rules: dict[str, Callable[[str], float]] = dict(FEATURES)
    if count_tokens is not None:
        rules["length"] = count_tokens
    rows = [np.zeros((0, len(features)))]
    for comparison in comparisons:
        if comparison.better:
            counts = style_counts(comparison.replies, {name: rules[name] for name in features})
            rows.append(relative(comparison.better, counts))
    return np.concatenate(rows)


def style_report(
    edges: EdgeTable,
    style: Floats,
    features: Sequence[str] = PAPER,
    *,
    weighting: Weighting,
    seed: int = 0,
    resamples: int = 1000,
) -> StyleReport:
    """Fit scores and style to the labels, in sample and held out; `style` is (edges, features)."""
    assert style.shape == (len(edges.difference), len(features))
    weight = edge_weights(edges, weighting)
    both = np.column_stack([edges.difference, style])
    coefficients = fit_logistic(both, weight)
    margins, fits = {}, {}
    for name, columns in {
        "controlled": both,
        "uncontrolled": edges.difference[:, None],
        "style_only": style,
    }.items():
        held_out = held_out_margins(columns, edges.cluster, weight, seed=seed)
        margins[name] = EdgeTable(held_out, edges.cluster, edges.weight, None)
        fits[name] = _fit(columns @ fit_logistic(columns, weight), held_out, weight)
    over, less = (
        difference(
            margins["controlled"],
            margins["style_only"],
            per_edge=per_edge,
            weighting=weighting,
            seed=seed,
            resamples=resamples,
        )
        for per_edge in (edge_accuracy, edge_loss)
    )
    kinds = leads(style, features)
    longer = kinds["length"]
    return StyleReport(
        features=tuple(features),
        num_edges=len(edges.difference),
        alpha=float(coefficients[0]),
        beta=dict(zip(features, coefficients[1:].tolist(), strict=True)),
        **fits,
        over_style=over,
        less_loss=less,
        phi_predicted={k: phi(edges.difference, more, weight) for k, more in kinds.items()},
        phi_labels={k: phi(np.ones(len(more)), more, weight) for k, more in kinds.items()},
        chosen_longer_share=float(weight[longer > 0].sum() / weight.sum()),
        chosen_longer_accuracy=_accuracy(edges.difference, weight, longer > 0),
        chosen_shorter_accuracy=_accuracy(edges.difference, weight, longer < 0),
    )


def style_only(
    edges: EdgeTable, style: Floats, *, weighting: Weighting, seed: int = 0
) -> EdgeTable:
    """The floor that style sets: the same edges, their margins by style fitted on other prompts."""
    weight = edge_weights(edges, weighting)
    margins = held_out_margins(style, edges.cluster, weight, seed=seed)
    return EdgeTable(margins, edges.cluster, edges.weight, None)


def _fit(in_sample: Floats, held_out: Floats, weight: Floats) -> Fit:
    return Fit(
        loss_nats=float(np.average(edge_loss(in_sample), weights=weight)),
        accuracy=float(np.average(edge_accuracy(in_sample), weights=weight)),
        held_out_loss_nats=float(np.average(edge_loss(held_out), weights=weight)),
        held_out_accuracy=float(np.average(edge_accuracy(held_out), weights=weight)),
    )


def _accuracy(margins: Floats, weight: Floats, where: NDArray[np.bool_]) -> float | None:
    if not where.any():
        return None
    return float(np.average(edge_accuracy(margins[where]), weights=weight[where]))
