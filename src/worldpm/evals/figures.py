"""One number of a protocol, with what it was made of.

>>> Figure("Chat", "section", "rewardbench", 0.75, 4).percent
75.0
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """An accuracy or score as a fraction, higher is better.

    `group` says what it is one of: the paper's kind of row and class, or "subset", "section",
    "overall" of a benchmark; `suite` is empty where several go into it. `num` counts the pairs, or
    prompts, that it is made of; `num_ties` of them had equal scores.
    `left_out` counts the suite's other comparisons by reason. `loss_nats` is the mean
    Bradley-Terry loss of the same pairs, where the figure is of pairs. `style_alone` is what the
    style of the replies reaches without any score, where the figure is under control of style.
    """

    name: str
    group: str
    suite: str
    value: float
    num: int
    num_ties: int = 0
    loss_nats: float | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    note: str | None = None
    style_alone: float | None = None

    @property
    def percent(self) -> float:
        """The value in the unit of published tables."""
        return 100.0 * self.value


def mean_figure(
    name: str, group: str, suite: str, members: Sequence[Figure], note: str | None = None
) -> Figure:
    """The plain mean of figures, each counting once."""
    losses = [each.loss_nats for each in members if each.loss_nats is not None]
    floors = [each.style_alone for each in members if each.style_alone is not None]
    return Figure(
        name,
        group,
        suite,
        sum(each.value for each in members) / len(members),
        sum(each.num for each in members),
        sum(each.num_ties for each in members),
        sum(losses) / len(losses) if len(losses) == len(members) else None,
        note=note,
        style_alone=sum(floors) / len(floors) if len(floors) == len(members) else None,
    )
