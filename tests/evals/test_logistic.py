"""The regression finds the least loss, and held-out margins know nothing of their own fold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldpm.evals.logistic import PRIOR, fit_logistic, folds_of, held_out_margins


def simulated(edges: int, coefficients, seed: int = 0):
    """Edges whose winner is drawn by the logistic model of the coefficients."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(edges, len(coefficients))) * [1.0, 5.0, 0.2][: len(coefficients)]
    chance = 1 / (1 + np.exp(-columns @ np.array(coefficients)))
    return columns * np.where(rng.random(edges) < chance, 1.0, -1.0)[:, None]


def test_one_column_against_the_closed_form():
    """Three right and one wrong by one unit: ln 3, but for the prior."""
    found = fit_logistic(np.array([[1.0], [1.0], [1.0], [-1.0]]), np.ones(4))[0]
    assert found == pytest.approx(math.log(3), abs=0.02)
    many = fit_logistic(np.array([[1.0], [1.0], [1.0], [-1.0]] * 5000), np.ones(20_000))[0]
    assert many == pytest.approx(math.log(3), abs=1e-4)


def test_planted_coefficients_are_recovered():
    """20,000 edges give each coefficient back to within four standard errors."""
    planted = np.array([0.8, -0.3, 2.0])
    found = fit_logistic(simulated(20_000, planted), np.ones(20_000))
    errors = 4 * np.array([0.025, 0.006, 0.1])
    assert np.all(np.abs(found - planted) < errors)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40))
def test_no_other_coefficients_have_a_lower_loss(seed, edges):
    """The gradient of the penalised loss is nothing at the answer, separable rows or not."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(edges, 2))
    weight = rng.uniform(0.5, 2.0, size=edges)
    found = fit_logistic(columns, weight)
    share = weight / weight.sum()
    scale = np.sqrt(share @ columns**2)
    wrong = 1 / (1 + np.exp(columns @ found))
    slope = -(columns / scale).T @ (share * wrong) + PRIOR / edges * found * scale
    assert np.abs(slope).max() < 1e-5
    assert np.isfinite(found).all()


def test_the_unit_of_a_column_does_not_matter():
    """A column in thousandths has a coefficient a thousand times as large."""
    columns = simulated(500, [1.0, 0.2])
    a, b = fit_logistic(columns, np.ones(500)), fit_logistic(columns * [1e-3, 1.0], np.ones(500))
    assert b == pytest.approx(a * [1e3, 1.0], rel=1e-6)


def test_a_column_of_zeros_gets_nothing():
    """What no pair differs in has the coefficient 0."""
    columns = np.column_stack([simulated(50, [1.0]), np.zeros(50)])
    assert fit_logistic(columns, np.ones(50))[1] == 0.0


def test_weights_count_as_copies():
    """An edge of weight two is two edges, but for the prior."""
    columns = simulated(400, [1.0])
    twice = fit_logistic(np.concatenate([columns, columns[:200]]), np.ones(600))
    weighed = fit_logistic(columns, np.repeat([2.0, 1.0], 200))
    assert weighed == pytest.approx(twice, abs=1e-3)


def test_folds_hold_whole_comparisons_in_equal_numbers():
    """No comparison is in two folds; folds differ by one comparison at most."""
    cluster = np.repeat(np.arange(23), 3)
    fold = folds_of(cluster, seed=1)
    assert all(len(set(fold[cluster == c].tolist())) == 1 for c in range(23))
    counts = np.bincount(fold[::3])
    assert (len(counts), counts.max() - counts.min()) == (5, 1)
    assert folds_of(np.arange(3), seed=0).max() == 2


def test_held_out_margins_do_not_see_their_own_labels():
    """Turning one fold's edges round turns its margins round and leaves their fit as it was."""
    columns = simulated(100, [1.0, -1.0])
    cluster = np.arange(100)
    before = held_out_margins(columns, cluster, np.ones(100), seed=0)
    own = folds_of(cluster, seed=0) == 2
    turned = np.where(own[:, None], -columns, columns)
    after = held_out_margins(turned, cluster, np.ones(100), seed=0)
    assert after[own] == pytest.approx(-before[own])
    assert not np.allclose(after[~own], before[~own])


def test_one_comparison_has_nothing_to_be_held_out_from():
    """Its margins are 0, so its loss is ln 2."""
    margins = held_out_margins(np.ones((3, 1)), np.zeros(3, np.int64), np.ones(3), seed=0)
    assert margins.tolist() == [0.0, 0.0, 0.0]
