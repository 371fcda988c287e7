"""The order of training as a pure function of data and seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.train.order import plan_steps

WEIGHTS = st.lists(st.sampled_from([1.0, 1.5, 3.0, 7.0]), min_size=1, max_size=40)
SIZES = dict(batch_pairs=st.integers(1, 12), epochs=st.integers(1, 3), seed=st.integers(0, 9))


@given(pairs=WEIGHTS, data=st.data(), **SIZES)
def test_each_comparison_as_often_as_asked(pairs, data, batch_pairs, epochs, seed):
    """Each index stands `repeats` times `epochs` times in the plan, neither lost nor doubled."""
    repeats = data.draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)))
    steps = plan_steps(pairs, repeats, batch_pairs, epochs, seed)
    seen = Counter(index for step in steps for index in step)
    assert seen == {i: n * epochs for i, n in enumerate(repeats) if n}


@given(pairs=WEIGHTS, **SIZES)
def test_sizes_of_steps(pairs, batch_pairs, epochs, seed):
    """A step ends with the comparison that fills it; only the last one may hold less or more."""
    steps = plan_steps(pairs, [1] * len(pairs), batch_pairs, epochs, seed)
    held = [[pairs[index] for index in step] for step in steps]
    for step in held[:-1]:
        assert sum(step) >= batch_pairs > sum(step[:-1])
    if len(held) > 1:
        assert batch_pairs / 2 <= sum(held[-1]) < 1.5 * batch_pairs + 7


@given(pairs=WEIGHTS, **SIZES)
def test_pure_function_of_the_seed(pairs, batch_pairs, epochs, seed):
    """The same arguments give the same plan, so that resuming needs no replay."""
    arguments = (pairs, [1] * len(pairs), batch_pairs, epochs, seed)
    assert plan_steps(*arguments) == plan_steps(*arguments)


def test_seeds_and_epochs_shuffle_anew():
    """Another seed or another epoch is another order, and none is that of the files."""
    ones = [1.0] * 50
    first, second = plan_steps(ones, [1] * 50, 50, 2, seed=0)
    (other,) = plan_steps(ones, [1] * 50, 50, 1, seed=1)
    orders = [tuple(order) for order in (first, second, other, range(50))]
    assert len(set(orders)) == 4
    assert plan_steps(ones, [1] * 50, 50, 1, seed=0) == [first]  # more epochs keep the first ones


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (3, [3]), (1, [1])],
)
def test_last_step(count, sizes):
    """A last step under half full joins the one before; a lone one stands."""
    steps = plan_steps([1.0] * count, [1] * count, 4, 1, seed=0)
    assert [len(step) for step in steps] == sizes


def test_known_plan():
    """A plan written down: it must never change, or runs could not be resumed or repeated."""
    assert plan_steps([1.0] * 6, [1, 1, 1, 1, 1, 2], 3, 1, seed=7) == KNOWN


KNOWN = [[0, 5, 5], [2, 4, 1, 3]]
