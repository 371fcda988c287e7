"""How a benchmark's figures are made of scored comparisons: the paper's way, or each set's own.

    {"rm-bench": (comparisons, scores)} -> protocol("worldpm").figures(...) -> (Figure, ...)

`worldpm` is the paper's (WorldPM sections 3.2 to 3.4): its 12 scaling sets and 18 fine-tuning rows,
its filters, a tie of two scores worth one half, plain averages over pairs. `official` is each
benchmark's own: its sections, weights and tie rules, as in its authors' code. Both are arithmetic
on scores that exist already; nothing here scores.

>>> protocol("worldpm").tie_value
0.5
"""

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldpm.errors import ConfigError
from worldpm.evals import protocol_official
from worldpm.evals.figures import Figure, mean_figure
from worldpm.evals.logistic import fit_logistic
from worldpm.evals.metrics import (
    Scores,
    check_scores,
    edge_accuracy,
    edge_loss,
    edge_table,
)
from worldpm.evals.protocol_worldpm import MEANS, ROWS, TABLE, Row
from worldpm.evals.style import style_edges
from worldpm.records import Comparison
from worldpm.surface import PAPER

Scored = Mapping[str, tuple[Sequence[Comparison], Scores]]
"""By the suite's name: its comparisons, and a list of scores for each."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way of making figures.

    `suites` are the ones it has figures for. `tie_value` is what a pair is worth whose two scores
    are equal; where it is None, each benchmark says (`about`). `rows` are the selections a figure
    is the plain average of, where the protocol is made of such. `figures` gives everything that
    the suites at hand allow, in the protocol's order; `controlled` the same under control of style,
    where the protocol has such figures.
    """

    name: str
    suites: tuple[str, ...]
    tie_value: float | None
    rows: tuple[Row, ...]
    about: Mapping[str, str]
    figures: Callable[[Scored], tuple[Figure, ...]]
    controlled: Callable[[Scored], tuple[Figure, ...]] | None = None


def protocol(name: str) -> Protocol:
    """The protocol of that name; ConfigError with the nearest one."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    near = difflib.get_close_matches(name, PROTOCOLS, n=1)
    raise ConfigError(
        f"protocol {name!r} is not known; "
        + (f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(PROTOCOLS)}")
    )


EQUAL_PAIRS = "pairs of equal replies"


def select(row: Row, comparisons: Sequence[Comparison]) -> tuple[list[Comparison], Counter[str]]:
    """The comparisons as the row takes them, one for each, and what it left out by reason.

    A comparison left out keeps its replies, so that its scores stay beside it, and loses its edges.
    Pairs of equal replies in one that is taken whole (PPE) are counted as `EQUAL_PAIRS`.
    """
    taken: list[Comparison] = []
    left_out: Counter[str] = Counter()
    for comparison in comparisons:
        found = row.take(comparison)
        if isinstance(found, str):
            left_out[found] += 1
            found = replace(comparison, better=())
        elif not found.better:
            left_out[str(found.meta.get("undecided", "no edge"))] += 1
        elif found is comparison and "equal_pairs" in found.meta:
            left_out[EQUAL_PAIRS] += found.meta["equal_pairs"]
        taken.append(found)
    return taken, left_out


def _worldpm(scored: Scored) -> tuple[Figure, ...]:
    return _with_means(
        [_row_figure(row, *scored[row.suite]) for row in ROWS if row.suite in scored]
    )


CONTROL = "alpha and beta are fitted on the rows they score, as in the paper; length in words"


def _controlled(scored: Scored) -> tuple[Figure, ...]:
    """The fine-tuning rows under control of style, which the paper prints in Tables 2 and 3."""
    figures = [
        _row_figure(row, *scored[row.suite], control=True)
        for row in ROWS
        if row.suite in scored and row.group == TABLE
    ]
    return _with_means(figures, CONTROL)


def _with_means(found: Sequence[Figure | None], note: str | None = None) -> tuple[Figure, ...]:
    figures = [each for each in found if each is not None]
    known = {(each.group, each.name): each for each in figures}
    for (group, name), (member_group, members) in MEANS.items():
        parts = [known.get((member_group, member)) for member in members]
        if all(parts):
            figures.append(mean_figure(name, group, "", [each for each in parts if each], note))
    return tuple(figures)


def _row_figure(
    row: Row, comparisons: Sequence[Comparison], scores: Scores, *, control: bool = False
) -> Figure | None:
    """A row's figure; under control of style, of R = alpha D + beta Z (WorldPM Eq. 4 and 5)."""
    taken, left_out = select(row, comparisons)
    table = edge_table(taken, scores)
    total = float(table.weight.sum())
    if not total:
        return None
    margin, floor = table.difference, None
    if control:
        style = style_edges(taken, PAPER)
        both = np.column_stack([table.difference, style])
        margin = both @ fit_logistic(both, table.weight)
        alone = edge_accuracy(style @ fit_logistic(style, table.weight))
        floor = float((table.weight * alone).sum() / total)
    return Figure(
        row.name,
        row.group,
        row.suite,
        float((table.weight * edge_accuracy(margin)).sum() / total),
        round(total),
        num_ties=round(float(table.weight[margin == 0].sum())),
        loss_nats=float((table.weight * edge_loss(margin)).sum() / total),
        left_out=dict(left_out),
        note="; ".join(filter(None, (row.note, CONTROL if control else None))) or None,
        style_alone=floor,
    )


def _official(scored: Scored) -> tuple[Figure, ...]:
    figures: list[Figure] = []
    for suite, rule in protocol_official.RULES.items():
        if suite in scored:
            comparisons, scores = scored[suite]
            checked = check_scores(comparisons, scores)
            figures += rule(list(zip(comparisons, checked, strict=True)))
    return tuple(figures)


PROTOCOLS: dict[str, Protocol] = {
    "worldpm": Protocol(
        "worldpm",
        tuple(dict.fromkeys(row.suite for row in ROWS)),
        0.5,
        ROWS,
        {row.name: row.note for row in ROWS if row.note},
        _worldpm,
        _controlled,
    ),
    "official": Protocol(
        "official",
        tuple(protocol_official.RULES),
        None,
        (),
        protocol_official.ABOUT,
        _official,
    ),
}
