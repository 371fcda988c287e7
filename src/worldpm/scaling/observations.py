"""Looks of a ladder's runs -> one tidy table, in Parquet and CSV with the same rows.

    write_observations(rows, Path("out"))   ->  out/observations.parquet, out/observations.csv

A row is one suite (or class of one) at one look. Scores of a look are kept apart, in a file for
each suite, so that whatever a row says can be measured again without a model.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.errors import DataError
from worldpm.records import Comparison
from worldpm.store import write_atomic

TEXT, WHOLE, NUMBER = pa.string(), pa.int64(), pa.float64()
COLUMNS = {
    "run": TEXT, "size": TEXT, "seed": WHOLE, "params": WHOLE, "step": WHOLE, "pairs": NUMBER,
    "tokens": WHOLE, "flops": NUMBER, "suite": TEXT, "class": TEXT, "suite_comparisons": WHOLE,
    "loss": NUMBER, "accuracy": NUMBER, "controlled_loss": NUMBER, "uncontrolled_loss": NUMBER,
    "phi_length": NUMBER, "phi_marks": NUMBER, "chosen_longer_accuracy": NUMBER,
    "chosen_shorter_accuracy": NUMBER,
}  # fmt: skip


def write_observations(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write both tables, each whole or not at all; the same rows give the same bytes."""
    schema = pa.schema(list(COLUMNS.items()))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), sink)
    write_atomic(folder / "observations.parquet", sink.getvalue())
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / "observations.csv", text.getvalue().encode())


def write_scores(path: Path, scores: Sequence[Sequence[float]]) -> None:
    """Keep the scores of comparisons, one after the other, as float64."""
    sink = io.BytesIO()
    np.save(sink, np.array([value for each in scores for value in each], np.float64))
    write_atomic(path, sink.getvalue())


def read_scores(path: Path, comparisons: Sequence[Comparison]) -> list[list[float]]:
    """The scores that were kept, by comparison; DataError where they are of other ones."""
    try:
        flat = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no scores can be read: {error}") from None
    bounds = np.cumsum([len(each.replies) for each in comparisons])
    if flat.ndim != 1 or len(flat) != (bounds[-1] if len(bounds) else 0):
        raise DataError(
            f"{path}: {flat.size} scores for {bounds[-1]} replies; is the suite another?"
        )
    return [part.tolist() for part in np.split(flat, bounds[:-1])]
