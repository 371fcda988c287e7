"""The false discovery rate is controlled: q-values by hand, by law, and by simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.evals.multiple import benjamini_hochberg


def test_the_example_of_benjamini_and_hochberg():
    """Their 15 p-values (1995, 3.2): four stand at 5 %, where Bonferroni has three."""
    p = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip
    q = benjamini_hochberg(p)
    assert sum(value <= 0.05 for value in q) == 4
    assert sum(value <= 0.05 / 15 for value in p) == 3
    assert q[0] == pytest.approx(0.0015)
    assert q[3] == pytest.approx(0.0095 * 15 / 4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_q_is_at_least_p_keeps_its_order_and_follows_the_input(p, random):
    """A q-value is never below its p, at most 1, rises with p, and moves with it when shuffled."""
    q = benjamini_hochberg(p)
    assert all(a - 1e-15 <= b <= 1 for a, b in zip(p, q, strict=True))
    pairs = sorted(zip(p, q, strict=True))
    assert all(a[1] <= b[1] + 1e-12 for a, b in itertools.pairwise(pairs))
    order = list(range(len(p)))
    random.shuffle(order)
    assert benjamini_hochberg([p[i] for i in order]) == pytest.approx([q[i] for i in order])


def test_nothing_in_nothing_out_and_one_alone_is_itself():
    """No tests, no q-values; a single one needs no correction."""
    assert benjamini_hochberg([]) == []
    assert benjamini_hochberg([0.03]) == [0.03]


def test_false_discoveries_are_one_in_twenty_at_most():
    """In 800 families of 30 nulls and 10 real effects, 30/40 of 5 % of the calls are false."""
    rng = np.random.default_rng(0)
    shares, found = [], 0
    for _ in range(800):
        z = np.concatenate([rng.normal(size=30), rng.normal(loc=3.5, size=10)])
        p = [math.erfc(abs(value) / math.sqrt(2)) for value in z]
        called = np.array(benjamini_hochberg(p)) <= 0.05
        shares.append(called[:30].sum() / max(1, called.sum()))
        found += int(called[30:].sum())
    assert np.mean(shares) < 0.045
    assert np.mean(shares) > 0.03
    assert found > 0.7 * 800 * 10
