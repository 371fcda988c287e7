"""The intervals cover, and the tests err, as often as they say."""

import numpy as np
import pytest

from worldpm.evals.resampling import (
    bootstrap_means,
    percentiles,
    rate_interval,
    sign_flip_p,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_published_examples(successes, trials, low, high):
    """The four examples of Newcombe (1998), Table I, method 3."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_symmetric():
    """Successes and failures change places, and so do the ends."""
    low, high = wilson_interval(3, 17)
    assert wilson_interval(14, 17) == pytest.approx((1 - high, 1 - low))


def clustered(rng: np.random.Generator, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Right answers out of four correlated edges a cluster; the true mean is one half."""
    ease = rng.beta(1.0, 1.0, size=clusters)
    return rng.binomial(4, ease).astype(float), np.full(clusters, 4.0)


def test_the_cluster_bootstrap_covers_the_truth_and_the_naive_one_does_not():
    """Of 400 simulated evaluations 92 to 98 % contain the truth; edge by edge, under 85 %."""
    rng = np.random.default_rng(5)
    hits = naive_hits = 0
    for trial in range(400):
        totals, sizes = clustered(rng, 80)
        samples = bootstrap_means(totals[:, None], sizes, seed=trial, resamples=400)
        low, high = percentiles(samples[:, 0])
        hits += low <= 0.5 <= high
        share = totals.sum() / sizes.sum()
        half = 1.96 * np.sqrt(share * (1 - share) / sizes.sum())
        naive_hits += share - half <= 0.5 <= share + half
    assert 0.92 <= hits / 400 <= 0.98
    assert naive_hits / 400 < 0.85


def test_bootstrap_agrees_with_the_textbook_standard_error():
    """The spread of the resampled means is sd / sqrt(n), columns resampled together."""
    values = np.random.default_rng(1).normal(size=400)
    samples = bootstrap_means(np.column_stack([values, values + 1]), np.ones(400), seed=0)
    assert samples[:, 0].std() == pytest.approx(values.std() / 20, rel=0.06)
    assert samples[:, 1] - samples[:, 0] == pytest.approx(1.0)


def test_bootstrap_in_many_blocks_equals_itself_and_fills_every_row():
    """More clusters than fit a block at once: still `resamples` rows, none of them repeated."""
    values = np.random.default_rng(2).normal(size=30_000)
    samples = bootstrap_means(values[:, None], np.ones(30_000), seed=0, resamples=300)
    assert samples.shape == (300, 1)
    assert len(np.unique(samples)) == 300


def test_the_sign_flip_test_errs_as_often_as_it_says():
    """Under the null p < 0.05 in about 5 % of 600 trials, and p is uniform (KS at 0.1 %)."""
    rng = np.random.default_rng(3)
    p = np.sort([sign_flip_p(rng.normal(size=40), seed=i, resamples=200) for i in range(600)])
    assert 0.025 <= np.mean(p <= 0.05) <= 0.08
    steps = np.arange(1, 601) / 600
    assert np.abs(p - steps).max() < 1.95 / np.sqrt(600)


def test_the_sign_flip_test_sees_a_real_difference_and_is_never_zero():
    """A shift of one standard deviation in 40 clusters: the least p the resamples allow."""
    shifted = np.random.default_rng(4).normal(loc=1.0, size=40)
    assert sign_flip_p(shifted, seed=0, resamples=999) == pytest.approx(0.001)


def test_the_sign_flip_test_matches_full_enumeration():
    """Four clusters have 16 sign patterns; two reach the observed sum, so p is 2/16."""
    p = sign_flip_p(np.array([1.0, 2.0, 3.0, 4.0]), seed=0, resamples=20_000)
    assert p == pytest.approx(0.125, abs=0.01)


def test_clusters_that_do_not_differ_say_nothing():
    """Zeros neither help nor hurt; only zeros give p = 1."""
    totals = np.array([1.0, -0.5, 2.0])
    padded = np.concatenate([totals, np.zeros(50)])
    assert sign_flip_p(totals, seed=0) == sign_flip_p(padded, seed=0)
    assert sign_flip_p(np.zeros(5), seed=0) == 1.0


def never() -> np.ndarray:
    raise AssertionError("a plain proportion draws no samples")


def test_a_plain_proportion_has_wilsons_interval_and_draws_nothing():
    """Clusters of two rows, wholly right or wrong, are counted as clusters, not as rows."""
    right, sizes = np.array([2.0, 2.0, 2.0, 0.0]), np.full(4, 2.0)
    assert rate_interval(right, sizes, never) == wilson_interval(3, 4)
    assert rate_interval(np.ones(10), np.ones(10), never) == wilson_interval(10, 10)
    assert rate_interval(np.ones(10), np.ones(10), never)[0] < 0.75


@pytest.mark.parametrize(
    ("right", "sizes"),
    [([0.5, 1.0], [1.0, 1.0]), ([1.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [2.0, 2.0])],
)
def test_ties_and_unequal_clusters_are_no_plain_proportion(right, sizes):
    """Half a point, another weight or a cluster half right: the bootstrap's percentiles."""
    samples = np.linspace(0.0, 1.0, 201)
    found = rate_interval(np.array(right), np.array(sizes), lambda: samples)
    assert found == percentiles(samples) == pytest.approx((0.025, 0.975))


def test_rounding_of_a_sum_of_weights_does_not_hide_a_plain_proportion():
    """Nine edges of one ninth each add up to almost 1, which is 1."""
    right = np.array([sum([1 / 9] * 9), 0.0, sum([1 / 9] * 9)])
    assert rate_interval(right, np.ones(3), never) == wilson_interval(2, 3)


def test_one_cluster_has_an_interval_that_admits_how_little_it_is():
    """One right answer may come from a model that is right a fifth of the time."""
    low, high = rate_interval(np.ones(1), np.ones(1), never)
    assert low == pytest.approx(0.2065, abs=1e-4)
    assert high == 1.0


def test_samples_are_the_same_however_many_measures_share_them():
    """A column beside others has the draws that it has alone, and pairs with itself to nothing."""
    rng = np.random.default_rng(1)
    totals, sizes = rng.normal(size=(30, 3)), rng.uniform(1, 2, 30)
    together = bootstrap_means(totals, sizes, seed=4, resamples=50)
    for place in range(3):
        alone = bootstrap_means(totals[:, place : place + 1], sizes, seed=4, resamples=50)
        assert np.allclose(alone[:, 0], together[:, place])
    assert together.shape == (50, 3)
    assert not np.allclose(together, bootstrap_means(totals, sizes, seed=5, resamples=50))


def test_a_permutation_test_of_no_difference_and_of_one_cluster():
    """Nothing that differs has p = 1; one cluster cannot be told from its own mirror image."""
    assert sign_flip_p(np.zeros(5), seed=0) == 1.0
    assert sign_flip_p(np.zeros(0), seed=0) == 1.0
    assert sign_flip_p(np.array([3.0]), seed=0) == 1.0
    assert sign_flip_p(np.ones(20), seed=0, resamples=999) == 1 / 1000
    assert sign_flip_p(np.ones(20), seed=0) == sign_flip_p(-np.ones(20), seed=0)
