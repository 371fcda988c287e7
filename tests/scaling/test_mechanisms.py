"""Planted mechanisms are found with their sign and size; none are found where none were planted."""

import numpy as np
import pytest

from worldpm.errors import DataError
from worldpm.scaling.mechanisms import cancelling, mechanisms


def table(phi=-0.05, gap_by_size=0.02, noise=0.003, seed=0, sizes=(1e6, 1e7)):
    """Rows as a table has them: twelve runs of each size over two decades of data."""
    rng = np.random.default_rng(seed)
    rows = []
    for size in sizes:
        for number, pairs in enumerate(np.geomspace(100, 10_000, 12)):
            decades, bigger = np.log10(pairs / 100), np.log10(size / 1e6)
            values = {
                "phi_length": 0.5 + phi * decades, "phi_marks": None,
                "chosen_longer_accuracy": 0.8, "chosen_shorter_accuracy": 0.4 + 0.1 * decades,
                "uncontrolled_loss": 0.69 + gap_by_size * bigger, "controlled_loss": 0.66,
            }  # fmt: skip
            measured = {
                k: "" if v is None else str(v + noise * rng.standard_normal())
                for k, v in values.items()
            }
            rows.append(
                {"suite": "s", "class": "c", "run": f"{size}-{number}", "pairs": str(pairs),
                 "params": str(size), **measured}
            )  # fmt: skip
    return list(enumerate(rows, 2))


def by_measure(rows):
    return {row["measure"]: row for row in mechanisms(rows, seed=0)}


def test_planted_slopes():
    """Each interval holds what was planted and tells it from zero; what is not there is absent."""
    found = by_measure(table())
    assert "phi_marks" not in found
    for measure, planted in (("phi_length", -0.05), ("chosen_shorter_accuracy", 0.1)):
        slope = found[measure]["by_data"]
        assert slope.low < planted < slope.high
        assert slope.low * slope.high > 0
    gap = found["style_gap"]
    assert gap["by_size"].low > 0
    assert gap["by_size"].value == pytest.approx(0.02, abs=0.005)  # three standard errors
    assert gap["mean"] == pytest.approx(0.04, abs=0.003)
    assert found["phi_length"]["num_runs"] == 24


def test_intervals_hold_zero_where_nothing_was_planted():
    """Of 60 flat studies about one in twenty shows a slope, at most one in six."""
    wrong = 0
    for seed in range(20):
        found = by_measure(table(phi=0.0, gap_by_size=0.0, seed=seed))
        slopes = [found["phi_length"]["by_data"], found["style_gap"]["by_size"]]
        slopes.append(found["style_gap"]["by_data"])
        wrong += sum(slope.low * slope.high > 0 for slope in slopes)
    assert wrong <= 10


def test_too_little_is_no_slope():
    """One size has none by size, five runs have none at all; a table of something else is named."""
    assert by_measure(table(sizes=(1e6,)))["phi_length"]["by_size"] is None
    assert mechanisms(table()[:5], seed=0) == []
    with pytest.raises(DataError, match="pairs"):
        mechanisms([(2, {"suite": "s", "run": "r"})], seed=0)


def test_opposite_dimensions_cancel():
    """One falls, one rises, and their mean moves little; alike ones do not cancel."""
    data = np.geomspace(1e3, 1e6, 7)
    each, mean = cancelling([0.1, -0.1], data, seed=0)
    assert (np.diff(each[0]) < 0).all()
    assert (np.diff(each[1]) > 0).all()
    assert abs(mean[-1] - mean[0]) < 0.15 * abs(each[0][-1] - each[0][0])
    alike, together = cancelling([0.1, 0.1], data, seed=0)
    assert together[-1] - together[0] == pytest.approx(alike[0][-1] - alike[0][0], abs=0.01)


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("phi_length", "n/a", "row 4: phi_length is 'n/a', not a number"),
        ("controlled_loss", "nan", "row 4: controlled_loss is 'nan', not a number"),
        ("pairs", "0", "row 4: pairs is '0', not a number above 0"),
        ("params", "", "row 4: params is '', not a number above 0"),
    ],
)
def test_what_is_no_number_is_an_error_with_its_row(column, text, words):
    """An empty cell is a measure that does not exist; anything else must be a number."""
    rows = table()
    rows[2][1][column] = text
    with pytest.raises(DataError, match=words):
        mechanisms(rows, seed=0)


def test_sizes_that_grow_as_their_data_do_have_no_slopes():
    """What is the data's doing and what the size's cannot be told, so nothing is said."""
    rows = [(line, {**row, "params": str(50 * float(row["pairs"]))}) for line, row in table()]
    assert mechanisms(rows, seed=0) == []


def test_runs_on_fewer_than_six_draws_of_data_have_no_slope():
    """Six runs of three sizes on two draws, an amount by a seed, are two; without seeds six."""
    rows = table(sizes=(1e6, 1e7, 1e8))
    few = [(line, row) for line, row in rows if row["run"].split("-")[1] in {"0", "11"}]
    assert len(few) == 6
    assert mechanisms(few, seed=0)
    assert mechanisms([(line, {**row, "seed": "0"}) for line, row in few], seed=0) == []
