"""Reliability bins add up to the calibration error, and the fitted factor undoes a wrong unit."""

import math

import numpy as np
import pytest

from worldpm.evals.calibration import reliability, temperature
from worldpm.evals.metrics import EdgeTable, calibration_error, edge_weights


def table(difference, cluster=None) -> EdgeTable:
    difference = np.asarray(difference, np.float64)
    cluster = np.arange(len(difference)) if cluster is None else np.asarray(cluster)
    return EdgeTable(difference, cluster, np.ones(len(difference)), None)


def honest(count: int, spread: float = 1.5, seed: int = 0) -> np.ndarray:
    """Differences whose sign is right as often as their sigmoid says."""
    rng = np.random.default_rng(seed)
    size = np.abs(rng.normal(scale=spread, size=count))
    return np.where(rng.random(count) < 1 / (1 + np.exp(-size)), size, -size)


def test_bins_worked_by_hand():
    """Claims of 0.59 and 0.91, right one time of two and always, fall into two of ten bins."""
    d6, d9 = math.log(0.59 / 0.41), math.log(0.91 / 0.09)
    low, high = reliability(table([d6, -d6, d9, d9]), weighting="edge")
    assert (low.low, low.high, low.num_edges, low.share) == pytest.approx((0.55, 0.6, 2, 0.5))
    assert (low.confidence, low.accuracy) == pytest.approx((0.59, 0.5))
    assert (high.confidence, high.accuracy) == pytest.approx((0.91, 1.0))
    assert high.accuracy_interval == pytest.approx((0.3424, 1.0), abs=1e-3)


@pytest.mark.parametrize("weighting", ["edge", "comparison"])
def test_the_mean_gap_of_the_bins_is_the_calibration_error(weighting):
    """The diagram and the number are one computation seen twice."""
    edges = table(honest(300), np.arange(300) // 3)
    bins = reliability(edges, weighting=weighting)
    gap = sum(each.share * abs(each.accuracy - each.confidence) for each in bins)
    weight = edge_weights(edges, weighting)
    assert gap == pytest.approx(calibration_error(edges.difference, weight))
    assert sum(each.share for each in bins) == pytest.approx(1.0)
    assert sum(each.num_edges for each in bins) == 300


def test_an_honest_model_lies_on_the_diagonal_and_a_boaster_below():
    """Nine of ten intervals of honest claims hold them; tripled claims miss in the upper bins."""
    bins = reliability(table(honest(6000)), weighting="edge")
    inside = [b.accuracy_interval[0] <= b.confidence <= b.accuracy_interval[1] for b in bins]
    assert sum(inside) >= 8
    boasting = reliability(table(3 * honest(6000)), weighting="edge")
    assert all(b.accuracy_interval[1] < b.confidence for b in boasting[3:])


@pytest.mark.parametrize("unit", [0.2, 1.0, 5.0])
def test_temperature_undoes_the_unit(unit):
    """Honest differences times `unit` are mended by 1 / unit, and the loss is that of unit 1."""
    difference = honest(8000)
    found = temperature(table(unit * difference), weighting="edge")
    assert found.factor * unit == pytest.approx(1.0, abs=0.06)
    plain = temperature(table(difference), weighting="edge")
    assert found.held_out_loss_nats == pytest.approx(plain.held_out_loss_nats, abs=1e-6)
    assert found.fitted_loss_nats <= found.raw_loss_nats + 1e-9
    assert found.fitted_loss_nats == pytest.approx(found.held_out_loss_nats, abs=1e-3)


def test_held_out_fits_flatter_less():
    """On small sets of noise the mean fitted loss is below ln 2, and the held-out one above."""
    rng = np.random.default_rng(5)
    found = [temperature(table(rng.normal(size=20)), weighting="edge") for _ in range(60)]
    assert np.mean([each.fitted_loss_nats for each in found]) < math.log(2) - 0.005
    assert np.mean([each.held_out_loss_nats for each in found]) > math.log(2) + 0.005


def test_a_model_that_is_wrong_gets_the_factor_zero():
    """Turning a model round is no temperature: ln 2, not a reward for being wrong."""
    found = temperature(table(-honest(500)), weighting="edge")
    assert found.factor == 0.0
    assert found.fitted_loss_nats == pytest.approx(math.log(2))


def test_one_prompt_has_no_held_out_loss():
    """Absent, not a number that means nothing."""
    found = temperature(table([1.0, -0.5], [0, 0]), weighting="comparison")
    assert found.held_out_loss_nats is None
    assert found.raw_loss_nats == pytest.approx((math.log1p(math.exp(-1)) + 0.974077) / 2, abs=1e-5)
