"""The grid, its looks and its nested data: pure functions of the ladder and the seed."""

import random

import pytest
from tiny import toy_comparison

from worldpm.errors import ConfigError
from worldpm.scaling.ladder import Ladder, cells, look_steps, lowest, sample

SIZES = {"1m": {"recipe": "a.toml", "shape": "a"}, "3m": {"recipe": "b.toml", "shape": "b"}}
LADDER = Ladder.model_validate({"comparisons": [40, 10], "seeds": [0, 1], "sizes": SIZES})


@pytest.fixture(scope="module")
def comparisons():
    rng = random.Random(0)
    return [toy_comparison(number, rng) for number in range(200)]


def test_cells():
    """Sizes in the ladder's order, less data first; a pattern chooses, and one of none is named."""
    names = [cell.name for cell in cells(LADDER)]
    assert names[:4] == ["1m-10-s0", "1m-10-s1", "1m-40-s0", "1m-40-s1"]
    assert len(names) == 8
    assert [cell.name for cell in cells(LADDER, ["3m-*-s1", "1m-10-s0"])] == [
        "1m-10-s0", "3m-10-s1", "3m-40-s1",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="2m"):
        cells(LADDER, ["2m-*"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"comparisons": [10, 10]}, "twice"),
        ({"seeds": [1, 1]}, "twice"),
        ({"sizes": {"../x": SIZES["1m"]}}, "letters"),
        ({"comparisons": []}, "at least 1"),
        ({"comparisons": [0]}, "greater"),
    ],
)
def test_a_ladder_that_is_none(wrong, words):
    """Amounts and seeds once, names that are fit for files."""
    with pytest.raises(ValueError, match=words):
        Ladder.model_validate({**LADDER.model_dump(), **wrong})


def test_looks_are_log_spaced():
    """The last at the end, equal ratios before it, fewer where steps are few."""
    assert look_steps(10_000, 4) == (10, 100, 1000, 10_000)
    assert look_steps(64, 1) == (64,)
    assert look_steps(3, 6) == (1, 2, 3)
    assert look_steps(1, 3) == (1,)


def test_data_are_nested_whatever_their_order(comparisons):
    """Each amount is a superset of the smaller; shuffled data give the same; seeds differ."""
    chosen = [{comparisons[i].id for i in lowest(comparisons, n, 0)} for n in (10, 50, 200)]
    assert [len(each) for each in chosen] == [10, 50, 200]
    assert chosen[0] < chosen[1] < chosen[2]
    shuffled = random.Random(1).sample(comparisons, len(comparisons))
    assert {shuffled[i].id for i in lowest(shuffled, 50, 0)} == chosen[1]
    assert {comparisons[i].id for i in lowest(comparisons, 50, 1)} != chosen[1]
    with pytest.raises(ConfigError, match="the data has 200"):
        list(lowest(comparisons, 201, 0))


def test_a_suite_is_sampled(comparisons):
    """At most so many, in their order; all of a smaller one."""
    some = sample(comparisons, 30)
    places = [int(each.id) for each in some]
    assert len(some) == 30
    assert places == sorted(places)
    assert sample(comparisons, 500) == sample(comparisons, None) == comparisons
