"""A table of observations -> the mechanisms that the WorldPM paper offers, as slopes.

    mechanisms(read_rows(Path("observations.csv")), seed=0)
    ->  [{"suite": "hh-rlhf", "measure": "phi_length", "by_data": Slope(-0.02, -0.05, 0.01), ...}]
    cancelling([0.4, -0.4], data, seed=0)   ->  losses of two dimensions, and of their mean

The paper: agreement with style falls in training, pairs whose better reply is the longer are right
early and the others later (3.3.1), control matters more with size on subjective sets, and those
average dimensions of which some rise and some fall (its discussion).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldpm.errors import DataError
from worldpm.scaling.shapes import Floats

MEASURES = ("loss", "accuracy", "phi_length", "phi_marks", "chosen_longer_accuracy",
            "chosen_shorter_accuracy", "style_gap")  # fmt: skip
GAP = ("uncontrolled_loss", "controlled_loss")  # the first less the second: what style explains
LEAST_RUNS = 6
_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Slope:
    """The change of a measure for ten times as much, with the 95 % interval over runs."""

    value: float
    low: float
    high: float


def mechanisms(rows: Iterable[tuple[int, Mapping[str, str]]], *, seed: int) -> list[dict[str, Any]]:
    """Each suite's slope of each measure by data and, with two sizes, by size at equal data.

    Least squares on log10; intervals are percentiles of fits to runs drawn with replacement, those
    of all sizes on the same draw of data together, since it misleads all of them alike. A measure
    with fewer than six draws, the same data throughout, or sizes that grow as their data do, has no
    slope and is left out. Raises DataError for a table without the columns, and for a cell that is
    not a number.
    """
    suites: dict[str, list[Mapping[str, str]]] = {}
    for line, row in rows:
        for name in ("suite", "run", "pairs", "params", *GAP):
            if name not in row:
                raise DataError(f"row {line}: no column {name!r}; `scaling run` writes them")
        _check_numbers(line, row)
        suites.setdefault(row["suite"], []).append(row)
    found = []
    for suite, own in suites.items():
        for measure in MEASURES:
            there = [(row, value) for row in own if (value := _value(row, measure)) is not None]
            slopes = _slopes(there, seed)
            if slopes is not None:
                by_data, by_size = slopes
                found.append(
                    {
                        "suite": suite, "class": own[0].get("class", ""), "measure": measure,
                        "mean": float(np.mean([value for _, value in there])),
                        "num_runs": len({row["run"] for row, _ in there}),
                        "by_data": by_data, "by_size": by_size,
                    }
                )  # fmt: skip
    return found


def _check_numbers(line: int, row: Mapping[str, str]) -> None:
    """DataError for a measure that is neither empty nor a number, and for pairs or params of 0."""
    for name in ("pairs", "params", *GAP, *MEASURES):
        counted, text = name in ("pairs", "params"), row.get(name, "")
        try:
            value = float(text) if text or counted else 0.0
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (counted and value <= 0):
            raise DataError(
                f"row {line}: {name} is {text!r}, not a number{' above 0' if counted else ''}"
            )


def _value(row: Mapping[str, str], measure: str) -> float | None:
    names = GAP if measure == "style_gap" else (measure,)
    texts = [row.get(name, "") for name in names]
    if "" in texts:
        return None
    values = [float(text) for text in texts]
    return values[0] - values[1] if len(values) == 2 else values[0]


def _slopes(
    there: Sequence[tuple[Mapping[str, str], float]], seed: int
) -> tuple[Slope, Slope | None] | None:
    drawn_as = _draws_of_data([row for row, _ in there])
    names = sorted(set(drawn_as))
    if len(names) < LEAST_RUNS:
        return None
    columns = [np.ones(len(there)), *(_log10(there, name) for name in ("pairs", "params"))]
    if np.ptp(columns[1]) == 0:
        return None
    if np.ptp(columns[2]) == 0:
        columns.pop()
    inputs, values = np.stack(columns, axis=1), np.array([value for _, value in there])
    if np.linalg.matrix_rank(inputs) < inputs.shape[1]:
        return None
    places = [np.flatnonzero(np.array(drawn_as) == name) for name in names]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_DRAWS):
        chosen = np.concatenate([places[i] for i in rng.integers(len(places), size=len(places))])
        if np.linalg.matrix_rank(inputs[chosen]) == inputs.shape[1]:
            drawn.append(_fit(inputs[chosen], values[chosen]))
    fitted, bounds = _fit(inputs, values), np.percentile(drawn, [2.5, 97.5], axis=0)
    slopes = [Slope(float(fitted[k]), *map(float, bounds[:, k])) for k in range(1, len(fitted))]
    return slopes[0], slopes[1] if len(slopes) > 1 else None


def _draws_of_data(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The draw of data, a run's last amount by its seed, of each row; without a seed its run."""
    last: dict[str, float] = {}
    for row in rows:
        last[row["run"]] = max(last.get(row["run"], 0.0), float(row["pairs"]))
    return [f"{last[row['run']]:g}, {row['seed']}" if row.get("seed") else row["run"]
            for row in rows]  # fmt: skip


def _log10(there: Sequence[tuple[Mapping[str, str], float]], name: str) -> Floats:
    return np.asarray(np.log10([float(row[name]) for row, _ in there]), np.float64)


def _fit(inputs: Floats, values: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(inputs, values, rcond=None)[0], np.float64)


def cancelling(
    slopes: Sequence[float], data: Floats, *, seed: int, pairs: int = 20_000
) -> tuple[Floats, Floats]:
    """Losses in nats by each dimension alone (dimensions, n), and of a set of them all (n,).

    A simulation: at data x the margin of a pair that dimension d decided is standard normal about
    slopes[d] log10(x / data[0]). A set whose labels are by one dimension each, as many by any, has
    the mean of their losses, in which slopes of either sign cancel.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((len(slopes), 1, pairs))
    grown = np.asarray(slopes, np.float64)[:, None] * np.log10(data / data[0])[None]
    losses = np.logaddexp(0.0, -(noise + grown[:, :, None])).mean(axis=2)
    return losses, losses.mean(axis=0)
