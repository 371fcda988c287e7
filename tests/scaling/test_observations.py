"""The table and the kept scores: what was written is read, and what does not fit is refused."""

import csv
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny import toy_comparison

from worldpm.errors import DataError
from worldpm.scaling.observations import COLUMNS, read_scores, write_observations, write_scores
from worldpm.scaling.points import read_points

ROW = {
    "run": "1m-10-s0", "size": "1m", "seed": 0, "params": 1000, "step": 3, "pairs": 30.0,
    "tokens": 900, "flops": 1e6, "suite": "llmbar", "class": "adversarial",
    "suite_comparisons": 5, "loss": 0.1 + 0.2, "accuracy": 0.6, "controlled_loss": 0.68,
    "uncontrolled_loss": 0.69, "phi_length": None, "phi_marks": -0.5,
    "chosen_longer_accuracy": 0.8, "chosen_shorter_accuracy": None,
}  # fmt: skip


def test_both_tables(tmp_path):
    """Every digit comes back from both, a measure that does not exist is empty; bytes repeat."""
    write_observations([ROW, {**ROW, "pairs": 60.0}], tmp_path)
    assert pq.read_table(tmp_path / "observations.parquet").to_pylist()[0] == ROW
    text = (tmp_path / "observations.csv").read_text()
    first = next(csv.DictReader(text.splitlines()))
    assert (float(first["loss"]), first["phi_length"]) == (ROW["loss"], "")
    before = (tmp_path / "observations.parquet").read_bytes()
    write_observations([ROW, {**ROW, "pairs": 60.0}], tmp_path)
    assert (tmp_path / "observations.parquet").read_bytes() == before
    points = read_points(tmp_path / "observations.csv")
    assert (points.x, points.data.tolist()) == ("pairs", [30, 60])
    assert list(COLUMNS) == list(ROW)


def test_an_empty_table(tmp_path):
    """A ladder without a finished cell has the columns and no row."""
    write_observations([], tmp_path)
    assert (tmp_path / "observations.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert pq.read_table(tmp_path / "observations.parquet").column_names == list(COLUMNS)


def test_scores_come_back(tmp_path):
    """By comparison, to the bit; other comparisons or a damaged file are refused by name."""
    rng = random.Random(0)
    comparisons = [toy_comparison(number, rng) for number in range(9)]
    scores = [[rng.gauss(0, 1) for _ in each.replies] for each in comparisons]
    path = tmp_path / "a.npy"
    write_scores(path, scores)
    assert read_scores(path, comparisons) == scores
    with pytest.raises(DataError, match="is the suite another"):
        read_scores(path, comparisons[:-1])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"a\.npy"):
        read_scores(path, comparisons)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy"):
        read_scores(path, comparisons)
