"""Posts by their numbers: sets and votes that agree with plain ones, in little memory."""

import random
import tracemalloc

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worldpm.forum.numbered import Seen, Votes

_numbers = st.integers(0, 5000) | st.integers(0, 10**18 - 1)


@given(st.lists(_numbers))
def test_a_set_of_numbers_is_a_set(numbers):
    """`add` says whether a number is new; `in` whether it is there."""
    seen, plain = Seen(), set()
    for number in numbers:
        assert (number in seen) == (number in plain)
        assert seen.add(number) == (number not in plain)
        plain.add(number)
        assert number in seen


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_numbers, st.booleans())), st.lists(_numbers, max_size=20))
def test_votes_are_counted_up_and_down(tmp_path, votes, others):
    """Of any numbers, with votes and without, in any order."""
    counted, plain = Votes(), {}
    for number, up in votes:
        plain.setdefault(number, [0, 0])[not up] += 1
    for start in range(0, len(votes), 7):
        for way in (True, False):
            some = [number for number, up in votes[start : start + 7] if up == way]
            counted.add_many(some, up=way)
    counted.save(tmp_path)
    wanted = [*plain, *others]
    found = Votes.counts(tmp_path, wanted)
    assert found == {number: tuple(plain[number]) for number in wanted if number in plain}
    assert all(type(count) is int for pair in found.values() for count in pair)


def test_no_votes_no_file(tmp_path):
    """Where nothing was saved, and of no numbers, nothing is found."""
    assert Votes.counts(tmp_path, [1]) == {}
    Votes().save(tmp_path)
    assert Votes.counts(tmp_path, [1]) == Votes.counts(tmp_path, []) == {}
    assert np.load(tmp_path / "votes.npy").shape == (3, 0)


def test_many_posts_take_little_memory():
    """A bit and eight bytes each; a hundred wild numbers a block more each."""
    chance = random.Random(0)
    numbers = [*range(200_000), *(chance.randrange(10**15) for _ in range(100))]
    tracemalloc.start()
    seen, votes = Seen(), Votes()
    for number in numbers:
        seen.add(number)
    votes.add_many(numbers[::10], up=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000 * 9 + 100 * 10_000
