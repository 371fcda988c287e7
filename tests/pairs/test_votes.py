"""How sure it is that one answer's up-rate is higher: against quadrature and known answers."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.pairs import votes as module
from worldpm.pairs.votes import probability_higher

counts = st.integers(0, 60)


def by_quadrature(up_a, down_a, up_b, down_b, points=40_001):
    """The integral of the first density times the second distribution function, by trapezoids."""
    x = np.linspace(0, 1, points)

    def density(up, down):
        with np.errstate(divide="ignore", invalid="ignore"):
            log = up * np.log(x) + down * np.log1p(-x)
        found = np.where(np.isnan(log), 0.0, np.exp(log - np.nanmax(log)))  # 0 * log 0 is 0
        if up == 0:
            found[0] = found[1] if down else 1.0
        if down == 0:
            found[-1] = found[-2] if up else 1.0
        return found / np.trapezoid(found, x)

    second = density(up_b, down_b)
    steps = (second[1:] + second[:-1]) / 2 * np.diff(x)
    below = np.concatenate([[0.0], np.cumsum(steps)])
    return float(np.trapezoid(density(up_a, down_a) * below, x))


@given(counts, counts, counts, counts)
def test_the_sum_is_the_integral(up_a, down_a, up_b, down_b):
    """Whichever of the four sums is taken, the probability is that of the two posteriors."""
    found = probability_higher(up_a=up_a, down_a=down_a, up_b=up_b, down_b=down_b)
    assert found == pytest.approx(by_quadrature(up_a, down_a, up_b, down_b), abs=2e-4)


@given(counts, counts, counts, counts)
def test_one_of_the_two_is_higher(up_a, down_a, up_b, down_b):
    """P(a > b) + P(b > a) = 1, and up votes of the one are worth down votes of the other."""
    there = probability_higher(up_a=up_a, down_a=down_a, up_b=up_b, down_b=down_b)
    back = probability_higher(up_a=up_b, down_a=down_b, up_b=up_a, down_b=down_a)
    upside_down = probability_higher(up_a=down_a, down_a=up_a, up_b=down_b, down_b=up_b)
    assert there + back == pytest.approx(1, abs=1e-10)
    assert upside_down == pytest.approx(back, abs=1e-10)


@pytest.mark.parametrize(
    ("votes", "known"),
    [
        ((0, 0, 0, 0), 0.5),
        ((1, 0, 0, 0), 2 / 3),  # E of Beta(2, 1)
        ((1, 0, 0, 1), 5 / 6),
        ((9, 1, 0, 0), 10 / 12),
        ((0, 5, 0, 0), 1 / 7),
    ],
)
def test_known_answers(votes, known):
    """Fractions worked by hand: against a uniform rate P is the posterior's mean."""
    up_a, down_a, up_b, down_b = votes
    found = probability_higher(up_a=up_a, down_a=down_a, up_b=up_b, down_b=down_b)
    assert found == pytest.approx(known, abs=1e-12)


def test_against_a_library():
    """scipy's integral of the same posteriors, where scipy is installed, to nine decimals."""
    stats, integrate = pytest.importorskip("scipy.stats"), pytest.importorskip("scipy.integrate")
    for up_a, down_a, up_b, down_b in [(3, 1, 2, 2), (40, 3, 11, 0), (7, 30, 5, 4), (0, 8, 9, 2)]:
        first, second = stats.beta(1 + up_a, 1 + down_a), stats.beta(1 + up_b, 1 + down_b)

        def both(x, first=first, second=second):
            return first.pdf(x) * second.cdf(x)

        expected = integrate.quad(both, 0, 1, epsabs=1e-12)[0]
        found = probability_higher(up_a=up_a, down_a=down_a, up_b=up_b, down_b=down_b)
        assert found == pytest.approx(expected, abs=1e-9)


def test_many_votes_are_no_trouble():
    """Counts of a front page neither overflow nor leave the unit interval, and decide."""
    sure = probability_higher(up_a=90_000, down_a=1_000, up_b=80_000, down_b=2_000)
    assert 0.999999 < sure <= 1
    assert probability_higher(up_a=50_000, down_a=50_000, up_b=50_000, down_b=50_000) == (
        pytest.approx(0.5, abs=1e-8)
    )
    assert 0 <= probability_higher(up_a=0, down_a=10**6, up_b=10**6, down_b=0) < 1e-9


VOTES = [(10_500, 40_000, 21_000, 81_000), (12_000, 12_000, 12_100, 11_900), (90_000, 11_000) * 2]


@pytest.mark.parametrize("votes", VOTES)
def test_the_series_is_the_sum(votes, monkeypatch):
    """Where one takes the place of the other, they are the same to eight decimals."""
    up_a, down_a, up_b, down_b = votes
    there = probability_higher(up_a=up_a, down_a=down_a, up_b=up_b, down_b=down_b)
    back = probability_higher(up_a=up_b, down_a=down_b, up_b=up_a, down_b=down_a)
    assert there + back == pytest.approx(1, abs=1e-14)
    monkeypatch.setattr(module, "MAX_TERMS", 10**6)
    summed = probability_higher(up_a=up_a, down_a=down_a, up_b=up_b, down_b=down_b)
    assert there == pytest.approx(summed, abs=1e-8)
    assert there != summed


def test_any_number_of_votes_is_decided_at_once():
    """A pair costs no more for votes that no forum has, and the probability is in bounds."""
    start = time.process_time()
    for size in (10**6, 10**9, 10**12, 2**62):
        even = probability_higher(up_a=size, down_a=size, up_b=size, down_b=size)
        assert even == pytest.approx(0.5, abs=1e-12)
        assert probability_higher(up_a=2 * size, down_a=size, up_b=size, down_b=size) == 1
        assert probability_higher(up_a=size, down_a=2 * size, up_b=size, down_b=size) == 0
    assert time.process_time() - start < 0.1
