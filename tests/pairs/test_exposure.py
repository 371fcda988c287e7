"""What being early is worth in votes: fitted from threads, and taken out again."""

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worldpm.pairs.exposure import (
    DELAYS,
    RANKS,
    ExposureCounts,
    ExposureModel,
    ExposureSettings,
    cells_of,
    clipped,
    corrected_scores,
    fit_exposure,
    inverse_propensity,
    time_of,
)
from worldpm.records import Post, Thread


def date(seconds):
    return str(np.datetime64("2020-01-01T00:00:00") + np.timedelta64(int(seconds), "s"))


def thread(votes, delays, number=0):
    """A thread with an answer for each vote count, so many seconds after the question."""
    posts = [Post("q", None, None, date(0), "q", 0)]
    for n, (count, delay) in enumerate(zip(votes, delays, strict=True)):
        created = None if delay is None else date(delay)
        posts.append(Post(f"a{n}", "q", None, created, "a", count))
    return Thread(str(number), "s", "", (), tuple(posts), None, None)


def counted(threads):
    counts = ExposureCounts()
    for each in threads:
        counts.add(each)
    return counts


def planted(by_rank, by_delay, num_threads=4000, spread=1.5, quality=0.0):
    """Threads of very different popularity whose votes follow the model."""
    rng = np.random.default_rng(7)
    model = ExposureModel(by_rank, by_delay)
    for number in range(num_threads):
        delays = np.sort(np.exp(rng.uniform(np.log(60), np.log(2e8), rng.integers(2, 6))))
        bare = thread([0] * len(delays), delays, number)
        seen = np.array(model.exposures(bare.answers, bare.question))
        mean = rng.lognormal(0.5, spread) * seen * rng.lognormal(0, quality, len(delays))
        yield thread(rng.poisson(mean).tolist(), delays, number)


BY_RANK = (0.0, -0.5, -0.8, -1.0, -1.2, *(0.0,) * 5)
BY_DELAY = (0.0, -0.1, -0.2, -0.3, -0.6, -0.9, -1.2, -1.5)


@pytest.mark.parametrize("quality", [0.0, 0.6])
def test_the_planted_exposure_is_found(quality):
    """Steps of rank and delay come back, whatever the threads' popularity and equal in the mean."""
    model = fit_exposure(counted(planted(BY_RANK, BY_DELAY, quality=quality)))
    assert model.by_rank[:5] == pytest.approx(BY_RANK[:5], abs=0.2)
    assert model.by_delay == pytest.approx(BY_DELAY, abs=0.2)
    assert model.by_rank[0] == model.by_delay[0] == 0


def test_equal_exposure_is_found_too():
    """Where neither rank nor delay matters, nothing is corrected: no step beyond its noise."""
    even = planted((0.0,) * len(RANKS), (0.0,) * len(DELAYS))
    model = fit_exposure(counted(even))
    assert np.abs(model.by_rank[:5]).max() < 0.12
    assert np.abs(model.by_delay).max() < 0.15


def test_a_step_that_nobody_reached_is_as_high_as_the_one_before():
    """Nothing is known of it, and to be seen like the very first would be the oddest guess."""
    model = fit_exposure(counted(planted(BY_RANK, BY_DELAY, num_threads=500)))
    assert model.by_rank[4] < -0.5
    assert set(model.by_rank[5:]) == {model.by_rank[4]}


def test_popular_threads_do_not_pass_for_early_ones():
    """Many answers come to popular threads: votes by rank alone would rise, the fit does not."""
    threads = []
    for n in range(300):
        threads.append(thread([2, 2], [60, 7200], n))
        threads.append(thread([20] * 6, [60 * 1.01**k for k in range(5)] + [7200], n))
    model = fit_exposure(counted(threads))
    assert np.abs(model.by_rank).max() < 0.01


def test_nothing_to_fit():
    """No thread, or none with dates and votes: exposures are equal, and there is no error."""
    empty = counted([thread([0, 0], [1, 4000]), thread([3, 1], [None, 5]), thread([4], [9])])
    assert empty == ExposureCounts()
    assert fit_exposure(empty) == ExposureModel()


def test_up_votes_count_where_they_are_known():
    """A net count of nothing may be ten up and ten down: ten readers at least."""
    base = thread([0, 0], [60, 7200])
    posts = (base.posts[0], replace(base.posts[1], up=10, down=10), base.posts[2])
    counts = counted([replace(base, posts=posts)])
    assert counts.threads == 1
    assert len(counts.votes) == 1


def test_one_thread_stands_for_one_thread():
    """A front page of 100,000 votes says no more than 30 do."""
    huge, fair = (counted([thread([3 * k, k], [60, 7200])]) for k in (30_000, 30))
    assert sum(huge.votes.values()) == pytest.approx(sum(fair.votes.values()), rel=1e-3)


@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_shards_add_up_in_any_order(rng, shards):
    """Counted in parts and merged in any order, or written down between: the same counts."""
    threads = [
        thread([rng.randrange(9) for _ in range(3)], sorted(rng.sample(range(10**7), 3)), n)
        for n in range(12)
    ]
    parts = [counted(threads[n::shards]) for n in range(shards)]
    rng.shuffle(parts)
    merged = ExposureCounts()
    for part in parts:
        merged.merge(ExposureCounts.from_dict(part.as_dict()))
    whole = counted(threads)
    assert merged.as_dict() == whole.as_dict()
    assert fit_exposure(merged) == fit_exposure(whole)


def test_the_model_comes_back_from_the_manifest():
    """What is written there is the model, with the steps' names."""
    model = ExposureModel(BY_RANK, BY_DELAY)
    assert ExposureModel.from_dict(model.as_dict()) == model
    assert model.as_dict()["log_by_rank"]["2"] == -0.5
    assert model.as_dict()["log_by_delay_seconds"]["86400"] == BY_DELAY[4]


def test_cells_are_order_of_arrival_and_delay():
    """Rank is by date and not by place in the thread; without a date there are no cells."""
    of = thread([0, 0, 0], [7200, 30, 90_000])
    steps = [divmod(cell, len(DELAYS)) for cell in cells_of(of.answers, of.question)]
    assert steps == [(1, 2), (0, 0), (2, 4)]
    undated = thread([0, 0], [10, None])
    assert cells_of(undated.answers, undated.question) is None
    assert ExposureModel().exposures(undated.answers, undated.question) is None
    many = thread([0] * 22, range(22))
    ranks = [cell // len(DELAYS) for cell in cells_of(many.answers, many.question)]
    assert ranks == [0, 1, 2, 3, 4, 4, *[5] * 4, *[6] * 10, 7, 7]


def test_an_answer_before_its_question_has_no_delay():
    """Clocks and merged threads: a negative delay is none, and a missing start the first answer."""
    of = thread([0, 0], [-500, 700])
    assert [c % len(DELAYS) for c in cells_of(of.answers, of.question)] == [0, 1]
    assert [c % len(DELAYS) for c in cells_of(of.answers, replace(of.question, created=None))] == [
        0,
        1,
    ]


@given(
    st.lists(st.integers(-20, 200), min_size=2, max_size=6),
    st.floats(0.1, 5),
)
def test_equal_exposure_leaves_votes_as_they_are(votes, prior):
    """With nothing to correct the corrected scores are the net votes."""
    scores = corrected_scores(votes, [1.0] * len(votes), ExposureSettings(prior_votes=prior))
    assert scores == pytest.approx(votes, abs=1e-9)


def test_less_seen_counts_for_more():
    """Equal votes at half the exposure score higher, and more votes still win at equal exposure."""
    scores = corrected_scores([6, 6, 7], [1.0, 0.5, 0.5], ExposureSettings())
    assert scores[0] < 6 < scores[1] < scores[2]


@given(st.permutations([(9, 1.0), (4, 0.5), (4, 0.2), (0, 0.1)]))
def test_the_order_of_answers_does_not_matter(answers):
    """Each answer keeps its score wherever it stands: of 17 votes at 1 in 1.8 9.44 are expected,
    and 5.25 (9 + 1) / (9.44 + 1) - 1 is 4.03."""
    votes, seen = zip(*answers, strict=True)
    found = dict(zip(answers, corrected_scores(votes, seen, ExposureSettings()), strict=True))
    known = {(9, 1.0): 4.03, (4, 0.5): 3.59, (4, 0.2): 8.09, (0, 0.1): 1.7}
    assert {k: round(v, 2) for k, v in found.items()} == known


def test_few_votes_decide_little():
    """One vote at a tenth of the exposure is worth less, the larger the prior; none beats none."""
    ahead = []
    for prior in (0.1, 1.0, 10.0):
        settings = ExposureSettings(prior_votes=prior)
        seen_much, seen_little = corrected_scores([3, 1], [1.0, 0.1], settings)
        ahead.append(seen_little - seen_much)
        unvoted = corrected_scores([3, 0], [1.0, 0.1], settings)
        assert unvoted[0] > unvoted[1]
    assert ahead[0] > ahead[1] > ahead[2]
    assert corrected_scores([0, 0], [1.0, 0.1], ExposureSettings()) == pytest.approx([0, 0])


def test_weights_undo_the_odds_of_exposure():
    """The weighted wins of two answers over each other are in the odds of their qualities."""
    seen, quality = [1.0, 0.25], [1.0, 3.0]
    odds = [e * q for e, q in zip(seen, quality, strict=True)]
    first = odds[0] * inverse_propensity(0, 1, seen)
    second = odds[1] * inverse_propensity(1, 0, seen)
    assert second / first == pytest.approx(3.0)
    assert inverse_propensity(0, 1, [0.4, 0.4]) == 1


@given(st.lists(st.floats(1e-9, 1), min_size=2, max_size=5), st.floats(1, 50))
def test_no_exposure_is_beyond_the_clip(seen, most):
    """The most and the least seen differ by the factor at most, and weights stay within (0, 2)."""
    kept = clipped(seen, ExposureSettings(most=most))
    assert max(kept) <= min(kept) * most * (1 + 1e-12)
    assert all(a >= b for a, b in zip(kept, seen, strict=True))
    for a, b in itertools.permutations(range(len(kept)), 2):
        assert 0 < inverse_propensity(a, b, kept) < 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00", 60),
        ("1970-01-01T00:01:00.250", 60.25),
        ("1970-01-01T01:01:00+01:00", 60),
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-02", 86_400),
        ("two years ago", None),
        ("", None),
        (None, None),
    ],
)
def test_dates_are_read_as_forums_write_them(text, seconds):
    """Without a zone UTC, wherever the machine stands; what is no date is none."""
    assert time_of(Post("1", None, None, text, "", 0)) == seconds


def test_settings_out_of_range_are_refused():
    """No unknown rule, no prior of nothing, no clip below one."""
    for bad in (
        {"rule": "shp"},
        {"prior_votes": 0},
        {"prior_votes": math.inf},
        {"most": 0.5},
        {"rules": None},
    ):
        with pytest.raises(ValidationError):
            ExposureSettings(**bad)


def test_the_fit_does_not_depend_on_which_threads_came_first():
    """Whole counts have no order: to the last digit."""
    threads = list(planted(BY_RANK, BY_DELAY, num_threads=200))
    turned = random.Random(1).sample(threads, len(threads))
    assert fit_exposure(counted(threads)) == fit_exposure(counted(turned))
