"""The simulated forum: corrected pairs recover the planted order more often than raw votes."""

import pytest


@pytest.fixture(scope="module")
def rows():
    """A small run of the benchmark, by (page, world, pairs)."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[2] / "benchmarks" / "exposure.py"
    spec = importlib.util.spec_from_file_location("exposure_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.run(num_threads=300, seed=0)
    return {(row["page"], row["world"], row["pairs"]): row for row in found}


@pytest.mark.parametrize("page", ["by date", "by votes"])
@pytest.mark.parametrize("world", ["independent", "later better"])
@pytest.mark.parametrize("rule", ["no_older", "corrected", "weighted"])
def test_corrected_pairs_recover_the_planted_order(rows, page, world, rule):
    """Where early answers are no better, the interval of the gain over raw votes excludes zero."""
    row = rows[page, world, rule]
    assert row["low"] > 0
    assert row["low"] < row["gain"] < row["high"]


def test_it_is_more_than_being_choosy(rows):
    """As many edges of raw votes as the correction keeps, the surest, gain less than it does."""
    for page in ("by date", "by votes"):
        choosy = rows[page, "independent", "raw, 3 apart"]
        corrected = rows[page, "independent", "corrected"]
        assert choosy["edges"] < corrected["edges"]
        assert choosy["agreement"] < corrected["agreement"]


def test_where_the_quick_know_best_it_does_harm(rows):
    """The other way round no rule is ahead of raw votes: what the documents warn of is so."""
    for page in ("by date", "by votes"):
        for rule in ("no_older", "corrected", "weighted"):
            assert rows[page, "earlier better", rule]["gain"] < 0
