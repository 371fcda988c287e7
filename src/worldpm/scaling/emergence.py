"""Loss and accuracy of the same runs -> is a bend the model's, or its metric's?

    compare_metrics(loss_points, accuracy_points, seed=0)   ->  Emergence(verdict="metric", ...)
    item_view([("q7", 1e5, 0.3), ("q7", 1e4, -0.1), ...])   ->  ItemView(gained=("q7",), ...)

Schaeffer et al. (2023): a sharp rise under a metric with a threshold, such as accuracy, often is a
smooth one under a metric without. Accuracy says of a pair only which side of 0 its margin is on.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from worldpm.errors import DataError
from worldpm.scaling.points import Points, positive, read_rows
from worldpm.scaling.select import Choice, choose

BENT = frozenset({"logistic", "broken"})
VERDICTS = {
    "none": "accuracy has no bend: nothing emerges",
    "metric": "accuracy bends where the loss of the same runs falls smoothly: the metric's doing",
    "model": "accuracy and loss both bend: not the metric's doing alone",
    "unclear": "accuracy bends and the loss shows no trend: the points do not say why",
}


@dataclass(frozen=True, slots=True)
class Emergence:
    """A key of `VERDICTS`, and the shapes that loss and accuracy follow."""

    verdict: str
    loss: Choice
    accuracy: Choice

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        return VERDICTS[self.verdict]


def compare_metrics(loss: Points, accuracy: Points, *, seed: int) -> Emergence:
    """Whether a bend of accuracy is in the loss of the same runs, too.

    Raises DataError unless both are of the same amounts of data, point by point.
    """
    if len(loss) != len(accuracy) or (loss.data != accuracy.data).any():
        raise DataError("loss and accuracy must be of the same runs, row by row")
    by_loss, by_accuracy = choose(loss, seed=seed), choose(accuracy, seed=seed)
    if by_accuracy.form not in BENT:
        verdict = "none"
    elif by_loss.form in BENT:
        verdict = "model"
    else:
        verdict = "metric" if by_loss.trend.is_there else "unclear"
    return Emergence(verdict, by_loss, by_accuracy)


@dataclass(frozen=True, slots=True)
class ItemView:
    """Items by what scale did to them: `gained` were wrong at small scale and are right at large.

    `p` is McNemar's, exact and two-sided: as uneven a split of gained and lost by chance alone.
    """

    gained: tuple[str, ...]
    lost: tuple[str, ...]
    always_right: tuple[str, ...]
    always_wrong: tuple[str, ...]
    p: float


def item_view(observations: Iterable[tuple[str, float, float]]) -> ItemView:
    """Items from (item, scale, margin), a margin above 0 being right and 0 worth one half.

    The scales are split in a lower and an upper half (the middle one left out where their number is
    odd); of each half the mean of right answers counts, so that one unsteady run changes nothing.
    An item right in exactly half of them is wrong. Raises DataError for fewer than two scales.
    """
    rows = list(observations)
    scales = sorted({scale for _, scale, _ in rows})
    if len(scales) < 2:
        raise DataError("items need at least two scales to change between")
    half = len(scales) // 2
    low, high = set(scales[:half]), set(scales[-half:])
    sums: dict[str, list[float]] = {}
    for item, scale, margin in rows:
        worth = 0.5 if margin == 0 else float(margin > 0)
        each = sums.setdefault(item, [0.0, 0.0, 0.0, 0.0])
        for start, part in ((0, low), (2, high)):
            if scale in part:
                each[start] += worth
                each[start + 1] += 1
    found: dict[tuple[bool, bool], list[str]] = {}
    for item, (right_low, num_low, right_high, num_high) in sums.items():
        if not num_low or not num_high:
            raise DataError(f"item {item!r} was not observed at both small and large scale")
        found.setdefault((right_low > num_low / 2, right_high > num_high / 2), []).append(item)
    gained, lost = (tuple(found.get(key, ())) for key in ((False, True), (True, False)))
    right, wrong = (tuple(found.get(key, ())) for key in ((True, True), (False, False)))
    return ItemView(gained, lost, right, wrong, _mcnemar(len(gained), len(lost)))


def _mcnemar(gained: int, lost: int) -> float:
    number = gained + lost
    tail = sum(math.comb(number, k) for k in range(min(gained, lost) + 1)) / 2**number
    return float(min(1.0, 2 * tail))


def read_items(path: Path) -> list[tuple[str, float, float]]:
    """(item, data, margin) of each row of a CSV or Parquet table; DataError names a bad line."""
    found = []
    for line, row in read_rows(path):
        if missing := [name for name in ("item", "data", "margin") if name not in row]:
            raise DataError(f"{path}: no column {missing[0]!r}")
        try:
            margin = float(row["margin"])
        except ValueError:
            margin = math.nan
        if math.isnan(margin):
            raise DataError(f"{path}:{line}: margin is {row['margin']!r}, not a number")
        found.append((row["item"], positive(path, line, "data", row["data"]), margin))
    return found
