"""The intervals of the measures cover the truth as often as they say, on models we simulated.

A prompt has an ease of its own, N(0, 1), and one to three edges; an edge's difference is 0.8 + ease
+ N(0, 1) noise. So accuracy and loss over all prompts are known from the normal distribution, and
the edges of a prompt rise and fall together, as in real sets.
"""

import math

import numpy as np
import pytest

from worldpm.evals.metrics import EdgeTable, difference, edge_accuracy, edge_loss, measure

MEAN, SPREAD = 0.8, math.sqrt(2.0)
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
ACCURACY = 0.5 * math.erfc(-MEAN / SPREAD / math.sqrt(2))
LOSS = float(WEIGHTS @ edge_loss(MEAN + SPREAD * POINTS) / WEIGHTS.sum())


def sizes_of(rng: np.random.Generator, prompts: int) -> np.ndarray:
    return np.repeat(np.arange(prompts), rng.integers(1, 4, size=prompts))


def simulated(rng: np.random.Generator, cluster: np.ndarray, ease: np.ndarray) -> EdgeTable:
    differences = MEAN + ease[cluster] + rng.normal(size=len(cluster))
    return EdgeTable(differences, cluster, np.ones(len(cluster)), None)


def covered(trials: int, prompts: int, weighting: str) -> dict[str, float]:
    """How often the 95 % intervals of accuracy and loss hold the truth."""
    rng = np.random.default_rng(17)
    hits = {"accuracy": 0, "loss": 0}
    for trial in range(trials):
        cluster = sizes_of(rng, prompts)
        edges = simulated(rng, cluster, rng.normal(size=prompts))
        found = measure("x", edges, weighting=weighting, resamples=600, seed=trial)
        for name, interval, truth in (
            ("accuracy", found.accuracy_interval, ACCURACY),
            ("loss", found.loss_interval, LOSS),
        ):
            hits[name] += interval[0] <= truth <= interval[1]
    return {name: count / trials for name, count in hits.items()}


@pytest.mark.parametrize("weighting", ["comparison", "edge"])
def test_intervals_cover_the_truth(weighting):
    """Of 2,000 intervals over 200 prompts, 93 to 97 % hold the true accuracy and loss."""
    for name, share in covered(2000, 200, weighting).items():
        assert 0.93 <= share <= 0.97, name


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["comparison", "edge"])
def test_intervals_cover_the_truth_in_many_trials(weighting):
    """The same of 5,000 intervals over 300 prompts, where chance moves the share by 0.3 points."""
    for name, share in covered(5000, 300, weighting).items():
        assert 0.93 <= share <= 0.97, name


def test_intervals_that_ignored_prompts_would_not():
    """Edges resampled one by one, as if each were a prompt, cover under 90 %."""
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(300):
        cluster = np.repeat(np.arange(100), 6)
        edges = simulated(rng, cluster, rng.normal(size=100))
        alone = EdgeTable(edges.difference, np.arange(600), edges.weight, None)
        low, high = measure("x", alone, weighting="edge", resamples=200).loss_interval
        hits += low <= LOSS <= high
    assert hits / 300 < 0.9


def test_plain_pairs_are_covered_too():
    """Where each prompt is one pair the interval is Wilson's: 93 to 97 % of 1,500."""
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(1500):
        edges = simulated(rng, np.arange(150), rng.normal(size=150))
        found = measure("x", edges, weighting="edge", resamples=20)
        hits += found.accuracy_interval[0] <= ACCURACY <= found.accuracy_interval[1]
    assert 0.93 <= hits / 1500 <= 0.97


def two_models(rng: np.random.Generator, prompts: int, better: float) -> tuple:
    """Two models that share each prompt's ease and differ in noise, A ahead by `better`."""
    cluster = sizes_of(rng, prompts)
    ease = rng.normal(size=prompts)
    a, b = (simulated(rng, cluster, ease) for _ in range(2))
    return EdgeTable(a.difference + better, cluster, a.weight, None), b


@pytest.mark.parametrize(("per_edge", "planted"), [(edge_accuracy, 0.5), (edge_loss, 0.5)])
def test_intervals_of_a_difference_cover_it(per_edge, planted):
    """Of 800 paired intervals, 93 to 97 % hold the planted difference of two models."""
    truth = {
        edge_accuracy: 0.5 * math.erfc(-(MEAN + planted) / 2) - ACCURACY,
        edge_loss: float(WEIGHTS @ edge_loss(MEAN + planted + SPREAD * POINTS) / WEIGHTS.sum())
        - LOSS,
    }[per_edge]
    rng = np.random.default_rng(9)
    hits = 0
    for trial in range(800):
        a, b = two_models(rng, 150, planted)
        found = difference(a, b, per_edge=per_edge, weighting="edge", resamples=400, seed=trial)
        hits += found.interval[0] <= truth <= found.interval[1]
    assert 0.93 <= hits / 800 <= 0.97


def test_p_values_are_uniform_under_the_null():
    """Two models that are equally good: p of the loss is uniform (Kolmogorov-Smirnov at 1 %)."""
    rng = np.random.default_rng(10)
    p = np.sort(
        [
            difference(
                *two_models(rng, 60, 0.0), per_edge=edge_loss, weighting="comparison",
                resamples=199, seed=trial,
            ).p_value
            for trial in range(800)
        ]
    )  # fmt: skip
    steps = np.arange(1, 801) / 800
    distance = max(np.abs(p - steps).max(), np.abs(p - steps + 1 / 800).max())
    assert distance < 1.63 / math.sqrt(800)
    assert 0.03 <= np.mean(p <= 0.05) <= 0.07


def test_p_values_of_accuracy_do_not_err_more_often_than_they_say():
    """Accuracy moves in steps, so its p is coarse: at most 5 % of nulls are below 0.05."""
    rng = np.random.default_rng(11)
    p = [
        difference(*two_models(rng, 60, 0.0), weighting="edge", resamples=199, seed=t).p_value
        for t in range(600)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.065
    a, b = two_models(rng, 200, 1.5)
    assert difference(a, b, weighting="edge", resamples=999).p_value < 0.01
