"""A table of runs -> points to fit: params, data, loss, and which of them belong together.

    points = read_points(Path("observations.csv"), y="loss", where={"suite": "llmbar"})
    points.inputs(FORMS["joint"])           ->  log params and log data, (2, n)

CSV and Parquet. Columns beyond those asked for are kept as labels and otherwise ignored.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldpm.errors import DataError, WorldPMError
from worldpm.scaling.shapes import Floats, Form
from worldpm.store import read_parquet_rows

DATA_COLUMNS = ("data", "pairs", "tokens")  # the first of them that a table has is its data


@dataclass(frozen=True, slots=True)
class Points:
    """`params`, `data` and `value`, all (n,) and above 0, with the runs and labels of each point.

    `params` is None where the table has none; `runs` is None where no two points share a run; `x`
    is the name of the column that `data` is of.
    """

    params: Floats | None
    data: Floats
    value: Floats
    runs: tuple[str, ...] | None
    labels: tuple[Mapping[str, str], ...]
    x: str = "data"

    def __len__(self) -> int:
        return len(self.value)

    def shared_draws(self) -> tuple[str, ...] | None:
        """The draw of data, an amount by a seed, of each point where sizes have the same ones.

        None without sizes and seeds, and where a size has a draw twice or another's not.
        """
        if self.params is None or not all("seed" in labels for labels in self.labels):
            return None
        draws = tuple(
            f"{amount:g}, {labels['seed']}"
            for labels, amount in zip(self.labels, self.data, strict=True)
        )
        sizes: dict[float, list[str]] = {}
        for size, draw in zip(self.params, draws, strict=True):
            sizes.setdefault(float(size), []).append(draw)
        first, *others = [sorted(own) for own in sizes.values()]
        alike = bool(others) and all(own == first for own in others)
        return draws if alike and len(set(first)) == len(first) else None

    @property
    def target(self) -> Floats:
        """log value, (n,)."""
        return np.log(self.value)

    def inputs(self, form: Form) -> Floats:
        """The logarithms (k, n) of what the form is a function of; DataError without params."""
        if "params" not in form.inputs:
            return np.log(self.data[None])
        if self.params is None:
            raise DataError(f"{form.name} is a function of params and data; no column params")
        return np.log(np.stack([self.params, self.data]))

    def take(self, chosen: Sequence[int] | np.ndarray[Any, Any]) -> "Points":
        """The points at these places, in this order."""
        places = [int(place) for place in np.asarray(chosen)]
        return Points(
            None if self.params is None else self.params[places],
            self.data[places],
            self.value[places],
            None if self.runs is None else _shared([self.runs[i] for i in places]),
            tuple(self.labels[i] for i in places),
            self.x,
        )

    def without_highest(self, count: int) -> "Points":
        """Less the `count` points of the highest value, in the same order."""
        if count >= len(self):
            raise WorldPMError(f"{count} points cannot be dropped of {len(self)}")
        return self.take(np.sort(np.argsort(self.value, kind="stable")[: len(self) - count]))

    def groups(self, names: Sequence[str]) -> dict[tuple[str, ...], "Points"]:
        """The points apart by their labels of `names`, in order of appearance."""
        found: dict[tuple[str, ...], list[int]] = {}
        for place, labels in enumerate(self.labels):
            if missing := [name for name in names if name not in labels]:
                raise DataError(f"no column {missing[0]!r} to part the points by")
            found.setdefault(tuple(labels[name] for name in names), []).append(place)
        return {key: self.take(places) for key, places in found.items()}


def _shared(runs: Sequence[str]) -> tuple[str, ...] | None:
    """The runs of points; None where no two share one, as in one suite of a table of single looks.

    A run of one point shows no slope: a trend tested by such runs would have p = 1 whatever they
    hold.
    """
    return tuple(runs) if len(set(runs)) < len(runs) else None


def _some(values: Iterable[str], most: int = 12) -> str:
    """Those of a column, for an error; the first of many."""
    known = sorted(values)
    return ", ".join(known[:most]) + (", ..." if len(known) > most else "")


def read_points(
    path: Path, *, x: str | None = None, y: str = "loss", where: Mapping[str, str] | None = None
) -> Points:
    """The points of a CSV or Parquet table whose labels are as in `where`.

    `x` names the column of data; without it, the first of data, pairs and tokens that is there. A
    row whose `y` is empty is one without a measurement, and is left out. Raises DataError with the
    line of a row that is no positive number, and for columns that are not there.
    """
    rows = list(read_rows(path))
    if not rows:
        raise DataError(f"{path}: has no rows")
    columns = rows[0][1].keys()
    if x is None:
        x = next((name for name in DATA_COLUMNS if name in columns), "data")
    for name in (x, y, *(where or {})):
        if name not in columns:
            raise DataError(f"{path}: no column {name!r}; it has {', '.join(columns)}")
    kept = []
    for line, row in rows:
        if all(row[name] == value for name, value in (where or {}).items()) and row[y] != "":
            kept.append((line, row))
    if not kept:
        there = "".join(
            f"; {name} is {_some({row[name] for _, row in rows})}" for name in where or {}
        )
        raise DataError(f"{path}: no row is as asked for: {dict(where or {})}, with a {y}{there}")
    sized = "params" in columns

    def numbers(name: str) -> Floats:
        return np.array([positive(path, line, name, row[name]) for line, row in kept])

    runs = None
    if "run" in columns:  # a row without a name is a run of its own
        runs = _shared([row["run"] or f"\0{line}" for line, row in kept])
    return Points(
        numbers("params") if sized else None,
        numbers(x),
        numbers(y),
        runs,
        tuple(row for _, row in kept),
        x,
    )


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row as text with its line (CSV, from 2) or its number (Parquet)."""
    if path.suffix == ".parquet":
        for number, row in read_parquet_rows(path):
            yield number, {k: "" if v is None else str(v) for k, v in row.items()}
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text; points are CSV or .parquet") from None
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) != len(header):
            raise DataError(f"{path}:1: two columns of one name")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{path}:{reader.line_num}: {len(cells)} cells under {len(header)} columns"
                )
            yield reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not CSV: {error}") from None


def positive(path: Path, line: int, name: str, text: str) -> float:
    """The number above 0 that a cell holds; DataError with its line otherwise."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise DataError(f"{path}:{line}: {name} is {text!r}, not a number above 0")
    return value
