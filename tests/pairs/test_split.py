"""Splits: the same everywhere, of the right sizes, independent of each other."""

from collections import Counter

import pytest

from worldpm.pairs.split import SplitSettings, split_of, unit_hash


def splits(number=20_000, source="s", **settings):
    chosen = SplitSettings(**settings)
    return [split_of(chosen, source, str(key)) for key in range(number)]


def test_hash_is_fixed_for_all_time():
    """Known values: a change would move every published split."""
    assert unit_hash(0, "test", "ai.stackexchange.com", "1") == pytest.approx(
        0.3919760736549203, abs=1e-15
    )
    assert unit_hash("ab", "c") != unit_hash("a", "bc")
    assert 0 <= unit_hash() < 1


def test_splits_are_fixed_for_all_time():
    """Known splits, by seed and source, of settings and of a fraction given: they never move."""
    letters = {"train": "t", "validation": "v", "test": "x"}

    def drawn(source="ai.stackexchange.com", seed=0, **given):
        settings = SplitSettings(validation=0.3, test=0.3, seed=seed)
        return "".join(letters[split_of(settings, source, str(key), **given)] for key in range(40))

    assert drawn() == "tvvtttvvtxxtxtxtvtvtttxttvtvtvtxxvtxxxtt"
    assert drawn(seed=1) == "tvtxxxvxttvttvxttttxtttxxxtvxvxvxtttvtxv"
    assert drawn(source="physics.stackexchange.com") == "tvvtxxvtxxxxvxvtxtxxxxvtttxvtxvttxtttxtx"
    assert drawn(test=0.7) == "txxxxxvxxxxxxxxxvtxxxxxxtxxxxxxxxxxxxxtx"
    assert drawn(test=0.0) == "tvvtttvvttttvtvtvtvttttttvtvtvtttvttvttt"


def test_fractions_are_met():
    """A tenth and a twentieth of many keys, within four deviations."""
    counts = Counter(splits(test=0.1, validation=0.05))
    assert abs(counts["test"] - 2000) < 170
    assert abs(counts["validation"] - 0.9 * 1000) < 120


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"test": 1.0}, {"test"}),
        ({"test": 0.0, "validation": 1.0}, {"validation"}),
        ({"test": 0.0, "validation": 0.0}, {"train"}),
        ({"held_out_sources": ("s",), "test": 0.0}, {"test"}),
    ],
)
def test_extremes_are_exact(settings, expected):
    """Fractions of 0 and 1, and held-out sources, leave no exception."""
    assert set(splits(500, **settings)) == expected


def test_growing_the_test_set_only_takes():
    """A key in the smaller test set is in the larger; validation keys never move to train."""
    small, large = splits(test=0.1), splits(test=0.3)
    for before, after in zip(small, large, strict=True):
        assert after in (before, "test")


def test_seed_and_source_matter():
    """Another seed or site draws anew; the same draws the same."""
    assert splits(200, test=0.5) == splits(200, test=0.5)
    assert splits(200, test=0.5) != splits(200, test=0.5, seed=1)
    assert splits(200, test=0.5) != splits(200, test=0.5, source="t")
