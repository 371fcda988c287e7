"""Comparisons and a score function -> outcomes by group, with the floors beside each.

    read_suite(...) -> evaluate(comparisons, score_fn) -> Evaluation -> to_json -> report

Every comparison is scored once; each group is then a choice among its edges.

>>> from worldpm.evals.baselines import longer_characters
>>> from worldpm.records import Edge, Message
>>> pair = Comparison("1", "example", None, (), ((Message("assistant", "No."),), ()), (Edge(0, 1),))
>>> evaluate([pair], longer_characters, suite="example").overall.outcome.accuracy
1.0
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from worldpm.evals.baselines import BASELINES, LENGTH
from worldpm.evals.bestofn import BestOfN, best_of_n
from worldpm.evals.calibration import Bin, Temperature, reliability, temperature
from worldpm.evals.groups import Group, class_of, groups_of
from worldpm.evals.metrics import (
    Difference,
    Outcome,
    Weighting,
    difference,
    edge_table,
    measure_all,
    select,
)
from worldpm.evals.mistakes import Mistake, worst_mistakes
from worldpm.evals.resampling import RESAMPLES
from worldpm.evals.style import StyleReport, style_edges, style_only, style_report
from worldpm.records import Comparison, ScoreFn
from worldpm.surface import PAPER

FORMAT = "worldpm-evaluation/1"
STYLE_ONLY = "style only"  # the floor whose weights are fitted, on other prompts
DETAILED = ("all", "class", "section", "style")  # kinds of groups with a style report and a diagram


@dataclass(frozen=True, slots=True)
class Line:
    """One group of a suite: the model's outcome, the floors', and the distance to length.

    `kind` says what the group is one of: "all", "class", "section", "subset", "style" or
    "subset style".
    `over_length` is the model's accuracy less that of the longer reply, paired. `floors` holds
    those of `BASELINES` and "style only", fitted on other prompts than the one it judges. `style`
    and `reliability` are there for the kinds in `DETAILED`.
    """

    kind: str
    outcome: Outcome
    floors: Mapping[str, Outcome]
    over_length: Difference
    temperature: Temperature
    style: StyleReport | None
    reliability: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A suite under one score function; `lines[0]` is the whole of it.

    `classes` are those of the comparisons with an edge, in order of appearance; `num_undecided`
    comparisons have no edge and were scored but not measured.
    """

    suite: str
    num_comparisons: int
    num_undecided: int
    classes: tuple[str, ...]
    style_features: tuple[str, ...]
    seed: int
    resamples: int
    lines: tuple[Line, ...]
    best_of_n: tuple[BestOfN, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def overall(self) -> Line:
        """The line of all comparisons."""
        return self.lines[0]


def evaluate(
    comparisons: Sequence[Comparison],
    score_fn: ScoreFn,
    *,
    suite: str,
    weighting: Weighting = "comparison",
    style_features: Sequence[str] = PAPER,
    count_tokens: Callable[[str], int] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Score every comparison once; measure the whole, and each class, section, subset and style.

    `count_tokens` gives the length that style is fitted on; without it, words. Subset and section
    figures are plain means over their comparisons (the paper's way), not RewardBench's reweighted
    ones; a tie is worth one half, where RM-Bench's own script gives it nothing. Raises WorldPMError
    for scores that are not finite or too few, or if no comparison has an edge.
    """
    scores = score_fn(comparisons)
    ours = edge_table(comparisons, scores)
    floors = {name: edge_table(comparisons, rule(comparisons)) for name, rule in BASELINES.items()}
    style = style_edges(comparisons, style_features, count_tokens=count_tokens)
    if len(ours.difference):
        floors[STYLE_ONLY] = style_only(ours, style, weighting=weighting, seed=seed)

    def line(group: Group) -> Line:
        mine = select(ours, group.keep)
        tables = {floor: select(table, group.keep) for floor, table in floors.items()}
        outcomes = measure_all(
            group.name,
            {"": mine, **tables},
            weighting=weighting,
            seed=seed,
            resamples=resamples,
        )
        detailed = group.kind in DETAILED
        return Line(
            kind=group.kind,
            outcome=outcomes.pop(""),
            floors=outcomes,
            over_length=difference(
                mine, tables[LENGTH], weighting=weighting, seed=seed, resamples=resamples
            ),
            temperature=temperature(mine, weighting=weighting, seed=seed),
            style=(
                style_report(
                    mine,
                    style[group.keep],
                    style_features,
                    weighting=weighting,
                    seed=seed,
                    resamples=resamples,
                )
                if detailed
                else None
            ),
            reliability=reliability(mine, weighting=weighting, seed=seed) if detailed else (),
        )

    whole = Group("all", suite, np.ones(len(ours.difference), np.bool_))
    return Evaluation(
        suite=suite,
        num_comparisons=len(comparisons),
        num_undecided=sum(not comparison.better for comparison in comparisons),
        classes=tuple(
            dict.fromkeys(name for c in comparisons if c.better and (name := class_of(c)))
        ),
        style_features=tuple(style_features),
        seed=seed,
        resamples=resamples,
        lines=tuple(line(group) for group in [whole, *groups_of(comparisons)]),
        best_of_n=best_of_n(comparisons, scores, seed=seed, resamples=resamples),
        mistakes=worst_mistakes(comparisons, scores),
    )


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain values, ready for orjson; what `worldpm.report` reads."""
    return {"format": FORMAT, **asdict(evaluation)}
