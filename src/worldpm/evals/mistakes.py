"""Scores and known edges -> the pairs a model is most wrong about, worst first.

>>> from worldpm.records import Edge
>>> pair = Comparison("1", "example", None, (), ((), ()), (Edge(0, 1),))
>>> worst_mistakes([pair], [[0.0, 2.0]])
(Mistake(index=0, id='1', winner=0, loser=1, difference=-2.0),)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worldpm.evals.metrics import Scores, check_scores
from worldpm.records import Comparison


@dataclass(frozen=True, slots=True)
class Mistake:
    """The better reply `winner` scored `difference` (log-odds, below 0) less `loser`.

    `index` is the comparison's place, from 0: an id is unique within its source only.
    """

    index: int
    id: str
    winner: int
    loser: int
    difference: float


def worst_mistakes(
    comparisons: Sequence[Comparison], scores: Scores, most: int = 20
) -> tuple[Mistake, ...]:
    """The most wrong edge of each of the `most` worst comparisons. Raises as `check_scores`."""
    found = []
    checked = check_scores(comparisons, scores)
    for index, (comparison, values) in enumerate(zip(comparisons, checked, strict=True)):
        wrong = [
            Mistake(index, comparison.id, edge.winner, edge.loser, float(gap))
            for edge in comparison.better
            if (gap := values[edge.winner] - values[edge.loser]) < 0
        ]
        if wrong:
            found.append(min(wrong, key=lambda each: each.difference))
    return tuple(sorted(found, key=lambda each: each.difference)[:most])
