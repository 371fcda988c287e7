"""`eval --scores`: scores from elsewhere in a model's place, a JSON line for each comparison.

{"id": "llmbar/Natural/3", "scores": [1.5, -0.25]}        what `score` and `eval` write is read too

read_scores(Path("mine.jsonl")).score(comparisons, "llmbar", None, quiet=True)
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldpm.cli.common import say
from worldpm.errors import DataError
from worldpm.records import Comparison, Score

MOST_SCORE = 1e100  # differences and sums of scores near 1e308 are beyond a float


@dataclass(frozen=True, slots=True)
class GivenScores:
    """A file's scores by comparison; where comparisons share an id, the rows' order tells them."""

    name: str
    path: Path
    rows: Mapping[str, Sequence[tuple[Score, ...]]]
    used: dict[str, str] = field(default_factory=dict)
    """The set that each id was asked for by."""

    def score(
        self, comparisons: Sequence[Comparison], text: str, folder: Path | None, *, quiet: bool
    ) -> list[tuple[Score, ...]]:
        """As `EvalModel.score`; `folder`, where a model's scores are kept, is not needed.

        Raises DataError if a comparison of the set called `text` has no row, if an id has too many,
        if a row has another number of scores than its comparison replies, or if another set has its
        id.
        """
        counts = Counter(each.id for each in comparisons)
        rows_of = {key: self._rows_of(key, count, text) for key, count in counts.items()}
        seen: Counter[str] = Counter()
        found: list[tuple[Score, ...]] = []
        missing: list[str] = []
        for each in comparisons:
            rows = rows_of[each.id]
            place = seen[each.id]
            seen[each.id] += 1
            if place >= len(rows):
                missing.append(each.id)
                continue
            if len(rows[place]) != len(each.replies):
                raise DataError(
                    f"{self.path}: {each.id!r} has {len(rows[place])} scores, but "
                    f"{len(each.replies)} replies in {text}"
                )
            if self.used.setdefault(each.id, text) != text:
                raise DataError(
                    f"{self.path}: {each.id!r} is in {self.used[each.id]} and in {text}; evaluate "
                    "one of them by itself"
                )
            found.append(rows[place])
        if missing:
            raise DataError(
                f"{self.path}: {len(missing):,} of {len(comparisons):,} comparisons of {text} have "
                f"no scores, the first is {missing[0]!r}; `worldpm export` writes all to be scored"
            )
        return found

    def _rows_of(self, key: str, count: int, text: str) -> Sequence[tuple[Score, ...]]:
        """The rows of `count` comparisons of one id, of which a repeated row may be one too many.

        Rows of another set or part, where the same id is another comparison, are no choice to make.
        """
        rows = self.rows.get(key, ())
        different = list(dict.fromkeys(rows))
        if len(rows) <= count or len(different) == 1:
            return rows[:count]
        if len(different) == count:  # `eval` leaves out comparisons that repeat another one
            return different
        raise DataError(
            f"{self.path}: {key!r} has {len(rows)} rows of scores, {len(different)} of them "
            f"different, and {text} has {count} of that id; keep the rows of this set alone"
        )

    def tell_unused(self, *, quiet: bool) -> None:
        """Say on stderr how many rows belong to none of the sets."""
        unused = sum(len(rows) for key, rows in self.rows.items() if key not in self.used)
        if unused:
            say(f"{self.path}: {unused:,} rows are of none of these sets", quiet=quiet)


def read_scores(path: Path) -> GivenScores:
    """All rows of a file, called after it; lengths in tokens are 0 where it does not tell them.

    Raises DataError naming the line of a row without an id or without finite scores, and of one
    beyond `MOST_SCORE`.
    """
    from worldpm.rows import set_name
    from worldpm.store import read_json_lines

    rows: dict[str, list[tuple[Score, ...]]] = {}
    for number, row in read_json_lines(path):
        key, scores = _read(row, f"{path}:{number}")
        rows.setdefault(key, []).append(scores)
    if not rows:
        raise DataError(f"{path}: holds no row")
    name = set_name(path).removesuffix(".scores")
    return GivenScores(name, path, rows)


def _read(row: Any, where: str) -> tuple[str, tuple[Score, ...]]:
    key = row.get("id") if isinstance(row, Mapping) else None
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise DataError(f'{where}: a row is {{"id": ..., "scores": [...]}}, and this has no id')
    # `score` gives a number back as a number, and a conversation by itself one score.
    values = row.get("scores", [row["score"]] if "score" in row else None)
    if not isinstance(values, list) or not values or not all(_finite(value) for value in values):
        raise DataError(f"{where}: {key!r} has no list of finite numbers as scores")
    if abs(largest := max(values, key=abs)) > MOST_SCORE:
        raise DataError(
            f"{where}: {key!r} has the score {largest:g}, and {MOST_SCORE:g} is the most in size"
        )
    lengths = row.get("num_tokens")
    lengths = lengths if isinstance(lengths, list) else [lengths]
    if [type(each) for each in lengths] != [int] * len(values):
        lengths = [0] * len(values)
    return str(key), tuple(map(Score, map(float, values), lengths))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
