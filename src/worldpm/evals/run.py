"""Comparisons and a score function -> outcomes by group, with the floors beside each.

    read_suite(...) -> evaluate(comparisons, score_fn) -> Evaluation -> to_json -> report

Every comparison is scored once; each group is then a choice among its edges.

>>> from worldpm.evals.baselines import longer_characters
>>> from worldpm.records import Message
>>> pair = Comparison("1", "example", None, (), ((Message("assistant", "No."),), ()), (Edge(0, 1),))
>>> evaluate([pair], longer_characters, suite="example").overall.outcome.accuracy
1.0
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldpm.evals.baselines import BASELINES, LENGTH
from worldpm.evals.metrics import (
    Difference,
    EdgeTable,
    Outcome,
    Weighting,
    difference,
    edge_table,
    measure,
    select,
)
from worldpm.evals.resampling import RESAMPLES
from worldpm.records import Comparison, Edge, ScoreFn

FORMAT = "worldpm-evaluation/1"


@dataclass(frozen=True, slots=True)
class Line:
    """One group of a suite: the model's outcome, the floors', and the distance to length.

    `kind` says what the group is one of: "all", "class", "section", "subset", "style" or
    "subset style".
    `over_length` is the model's accuracy less that of the longer reply, paired.
    """

    kind: str
    outcome: Outcome
    floors: Mapping[str, Outcome]
    over_length: Difference


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A suite under one score function; `lines[0]` is the whole of it.

    `num_undecided` comparisons have no edge and were scored but not measured.
    """

    suite: str
    num_comparisons: int
    num_undecided: int
    seed: int
    resamples: int
    lines: tuple[Line, ...]

    @property
    def overall(self) -> Line:
        """The line of all comparisons."""
        return self.lines[0]


LEVELS = ("easy", "normal", "hard")
GroupOf = Callable[[Comparison, Edge], str | None]
"""The name of the group an edge belongs to, or None if it belongs to none."""


def _style(comparison: Comparison, edge: Edge) -> str | None:
    style = comparison.meta.get("style")
    if style is None:
        return None
    more = style[edge.winner] - style[edge.loser]
    return LEVELS[0] if more > 0 else LEVELS[1] if more == 0 else LEVELS[2]


def _style_by_subset(comparison: Comparison, edge: Edge) -> str | None:
    level = _style(comparison, edge)
    return level and f"{comparison.subset}, {level}"


_GROUPS: tuple[tuple[str, GroupOf], ...] = (
    ("class", lambda comparison, _: comparison.meta.get("class")),
    ("section", lambda comparison, _: comparison.meta.get("section")),
    ("subset", lambda comparison, _: comparison.subset),
    # RM-Bench: the chosen reply has more (easy), as much (normal) or less (hard) style.
    ("style", _style),
    ("subset style", _style_by_subset),
)


def evaluate(
    comparisons: Sequence[Comparison],
    score_fn: ScoreFn,
    *,
    suite: str,
    weighting: Weighting = "comparison",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Score every comparison once; measure the whole, and each class, section, subset and style.

    A kind of group with one member only repeats the whole and is left out. Subset and section
    figures are plain means over their comparisons (the paper's way), not RewardBench's reweighted
    ones; a tie is worth one half, where RM-Bench's own script gives it nothing. Raises WorldPMError
    for scores that are not finite or too few, or if no comparison has an edge.
    """
    ours = edge_table(comparisons, score_fn(comparisons))
    floors = {name: edge_table(comparisons, rule(comparisons)) for name, rule in BASELINES.items()}

    def line(kind: str, name: str, keep: NDArray[np.bool_]) -> Line:
        def outcome(table: EdgeTable) -> Outcome:
            return measure(name, table, weighting=weighting, seed=seed, resamples=resamples)

        mine = select(ours, keep)
        tables = {floor: select(table, keep) for floor, table in floors.items()}
        return Line(
            kind=kind,
            outcome=outcome(mine),
            floors={floor: outcome(table) for floor, table in tables.items()},
            over_length=difference(
                mine, tables[LENGTH], weighting=weighting, seed=seed, resamples=resamples
            ),
        )

    lines = [line("all", suite, np.ones(len(ours.difference), np.bool_))]
    for kind, group_of in _GROUPS:
        groups = np.array([group_of(c, e) or "" for c in comparisons for e in c.better])
        if len(set(groups)) > 1:
            names = [name for name in dict.fromkeys(groups.tolist()) if name]
            if kind.endswith("style"):
                names.sort(key=lambda name: LEVELS.index(name.rpartition(", ")[2]))
            lines += [line(kind, name, groups == name) for name in names]
    return Evaluation(
        suite=suite,
        num_comparisons=len(comparisons),
        num_undecided=sum(not comparison.better for comparison in comparisons),
        seed=seed,
        resamples=resamples,
        lines=tuple(lines),
    )


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain values, ready for orjson; what `worldpm.report` reads."""
    return {"format": FORMAT, **asdict(evaluation)}
