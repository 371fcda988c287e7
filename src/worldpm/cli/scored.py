"""What `show` says of the rows that `score` wrote, and of the `*.scores.jsonl` of `eval`.

summarise(Path("scores.jsonl"), samples=2)  ->  {"rows", "replies", "tokens", "score", "samples"}
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldpm.errors import DataError
from worldpm.store import read_json_lines


def holds_scores(path: Path) -> bool:
    """Whether the first row of a file of JSON lines is one that `score` writes."""
    _, first = next(read_json_lines(path), (0, None))
    return isinstance(first, Mapping) and _values(first) is not None


def summarise(path: Path, samples: int) -> dict[str, Any]:
    """Counts, the lowest, mean and highest score (log-odds units), and the first `samples` rows.

    Raises DataError naming the line for a row that is not one of `score`.
    """
    rows = replies = tokens = 0
    low, high, total = math.inf, -math.inf, 0.0
    first: list[Mapping[str, Any]] = []
    for number, row in read_json_lines(path):
        found = _values(row) if isinstance(row, Mapping) else None
        if found is None:
            raise DataError(
                f"{path}:{number}: has no score and num_tokens, as the rows before have; was it "
                "joined with another file?"
            )
        values, sizes = found
        rows, replies, tokens = rows + 1, replies + len(values), tokens + sum(sizes)
        low, high, total = min(low, *values), max(high, *values), total + sum(values)
        if len(first) < samples:
            first.append({key: value for key, value in row.items() if key != "traces"})
    score = {"lowest": low, "mean": total / replies, "highest": high}
    return {"rows": rows, "replies": replies, "tokens": tokens, "score": score, "samples": first}


def _values(row: Mapping[str, Any]) -> tuple[list[float], list[int]] | None:
    """(scores, lengths in tokens) of a row, one or more of each; None if it is no such row."""
    values, sizes = row.get("scores", row.get("score")), row.get("num_tokens")
    values = values if isinstance(values, list) else [values]
    sizes = sizes if isinstance(sizes, list) else [sizes]
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in values + sizes)
    return (values, sizes) if numbers and values and len(values) == len(sizes) else None
