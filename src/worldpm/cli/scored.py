"""What `show` says of rows of scores: of `score`, the `*.scores.jsonl` of `eval`, or elsewhere.

summarise(Path("scores.jsonl"), samples=2)  ->  {"rows", "replies", "tokens", "score", "samples"}
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldpm.errors import DataError
from worldpm.store import read_json_lines

# Comparisons may have scores too: these keys tell their rows from rows of scores alone.
_TEXTS = frozenset({"messages", "prompt", "instruction", "replies", "completions", "chosen"})


def holds_scores(path: Path) -> bool:
    """Whether the first row of a file of JSON lines is one that `score` writes, or `eval` takes."""
    _, first = next(read_json_lines(path), (0, None))
    return isinstance(first, Mapping) and _values(first) is not None


def summarise(path: Path, samples: int) -> dict[str, Any]:
    """Counts, the lowest, mean and highest score (log-odds units), and the first `samples` rows.

    `tokens` is None where a row does not tell its lengths. Raises DataError naming the line for a
    row without scores.
    """
    rows = replies = 0
    tokens: int | None = 0
    low, high, total = math.inf, -math.inf, 0.0
    first: list[Mapping[str, Any]] = []
    for number, row in read_json_lines(path):
        found = _values(row) if isinstance(row, Mapping) else None
        if found is None:
            raise DataError(
                f"{path}:{number}: has no scores as the rows before have; was it joined with "
                "another file?"
            )
        values, sizes = found
        rows, replies = rows + 1, replies + len(values)
        tokens = None if tokens is None or sizes is None else tokens + sum(sizes)
        low, high, total = min(low, *values), max(high, *values), total + sum(values)
        if len(first) < samples:
            first.append({key: value for key, value in row.items() if key != "traces"})
    score = {"lowest": low, "mean": total / replies, "highest": high}
    return {"rows": rows, "replies": replies, "tokens": tokens, "score": score, "samples": first}


def _values(row: Mapping[str, Any]) -> tuple[list[float], list[int] | None] | None:
    """(scores, lengths in tokens) of a row, one or more of each; None if it is no such row.

    The lengths are None for a row from elsewhere: an id and its scores, no text.
    """
    values, sizes = row.get("scores", row.get("score")), row.get("num_tokens")
    values = values if isinstance(values, list) else [values]
    if not values or not all(map(_number, values)):
        return None
    if sizes is None:
        return (values, None) if "id" in row and not _TEXTS & row.keys() else None
    sizes = sizes if isinstance(sizes, list) else [sizes]
    return (values, sizes) if len(sizes) == len(values) and all(map(_number, sizes)) else None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
