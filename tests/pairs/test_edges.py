"""Each choice of which answers make an edge: what it keeps, weighs, and is called when it drops."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worldpm.pairs.edges import Refusal, rate
from worldpm.pairs.exposure import DELAYS, RANKS, ExposureModel, ExposureSettings
from worldpm.pairs.sample import PairSettings, compare
from worldpm.pairs.survey import Findings, Survey, needs_survey
from worldpm.pairs.topics import TagWeights, TopicSettings
from worldpm.pairs.votes import probability_higher
from worldpm.records import Post, Thread

# Who comes second is seen half as much, the third a quarter.
HALVED = ExposureModel((0.0, *(-0.693147 * n for n in range(1, len(RANKS)))), (0.0,) * len(DELAYS))


def thread(*votes, accepted=None, thread_id="1", order=None, ups=None, dates=True, tags=()):
    """An answer for each vote count; `order` are the days they came on, `ups` their up votes."""
    order = order or range(len(votes))
    posts = [Post("q", None, None, "2020-01-01", "body", 0)]
    for n, (count, day) in enumerate(zip(votes, order, strict=True)):
        created = f"2020-02-{day + 1:02}" if dates else None
        up = None if ups is None else ups[n]
        down = None if up is None else up - count
        post = Post(f"a{n}", "q", None, created, f"answer {n}", count, n == accepted)
        posts.append(replace(post, up=up, down=down))
    return Thread(thread_id, "site", "T", tags, tuple(posts), None, None)


def run(of, findings=None, **settings):
    """The edges as {(winner, loser): (margin, weight)} by numbers of answers, and the drops."""
    dropped = Counter()
    chosen = PairSettings(**settings)
    comparison = compare(of, chosen, lambda reason: dropped.update([reason]), findings)
    if comparison is None:
        return None, dict(dropped)
    assert not dropped
    kept = [int(post["id"][1:]) for post in comparison.meta["posts"]]
    assert kept == sorted(kept)
    assert [r[0].content for r in comparison.replies] == [f"answer {n}" for n in kept]
    edges = {(kept[e.winner], kept[e.loser]): (e.margin, e.weight) for e in comparison.better}
    return edges, kept


def test_margin_buckets_share_the_edges_out():
    """The paper's four buckets: every edge is in exactly one, both ends belong to it."""
    of = thread(0, 1, 3, 6, 16, 30)
    buckets = [(1, 2), (3, 5), (6, 10), (11, None)]
    found = [run(of, min_margin=low, max_margin=high)[0] for low, high in buckets]
    whole = run(of)[0]
    assert sum(map(len, found)) == len(whole) == 15
    assert {k: v for each in found for k, v in each.items()} == whole
    assert set(found[0]) == {(1, 0), (2, 1)}


@pytest.mark.parametrize(
    ("votes", "settings", "reason"),
    [
        ((2, 2), {}, "all_scores_equal"),
        ((2, 3), {"min_margin": 2}, "all_margins_too_small"),
        ((2, 9), {"max_margin": 5}, "all_margins_too_large"),
        ((2, 3, 30), {"min_margin": 3, "max_margin": 5}, "all_margins_too_large"),
        ((9, 2), {"exposure": ExposureSettings(rule="no_older")}, "all_winners_older"),
        ((2, 2), {"exposure": ExposureSettings(rule="no_older")}, "all_scores_equal"),
    ],
)
def test_a_thread_without_edges_is_named_after_its_best_pair(votes, settings, reason):
    """The reason is the last check that one of its pairs came to."""
    assert run(thread(*votes), **settings) == (None, {reason: 1})


def test_the_accepted_bonus_is_a_number():
    """1 makes a tie an edge, 0 leaves acceptance out, 0.5 can break ties but make none."""
    assert run(thread(2, 2, accepted=1))[0] == {(1, 0): (1.0, 1.0)}
    assert run(thread(2, 2, accepted=1), accepted_bonus=0)[1] == {"all_scores_equal": 1}
    half = {"accepted_bonus": 0.5, "min_margin": 0.5}
    assert run(thread(2, 2, accepted=1), **half)[0] == {(1, 0): (0.5, 1.0)}
    assert run(thread(3, 2, accepted=1), **half)[0] == {(0, 1): (0.5, 1.0)}
    assert run(thread(3, 2, accepted=1))[1] == {"all_scores_equal": 1}
    assert set(run(thread(4, 2, accepted=1), accepted_bonus=9)[0]) == {(1, 0)}


@given(st.lists(st.integers(0, 4), min_size=2, max_size=7), st.integers(1, 6), st.integers(0, 9))
def test_so_many_pairs_a_thread_and_no_answer_beside_them(votes, most, seed):
    """At most `pairs_per_thread` of the thread's own edges, and exactly the answers they join."""
    every, _ = run(thread(*votes, thread_id=str(seed)))
    some, kept = run(thread(*votes, thread_id=str(seed)), pairs_per_thread=most)
    if every is None:
        assert some is None
        return
    assert len(some) == min(most, len(every))
    assert some.items() <= every.items()
    assert set(kept) == {number for edge in some for number in edge}


def test_one_pair_a_post_is_any_of_its_pairs_alike():
    """Of 3,000 threads of the same six edges each edge is drawn about 500 times, by the seed."""

    def drawn(seed):
        found = [
            next(iter(run(thread(1, 2, 3, 4, thread_id=str(n)), pairs_per_thread=1, seed=seed)[0]))
            for n in range(3000)
        ]
        return found

    counts = Counter(drawn(0))
    assert len(counts) == 6
    assert all(abs(count - 500) < 90 for count in counts.values())  # over four deviations
    assert drawn(0)[:50] == drawn(0)[:50] != drawn(1)[:50]


def test_no_older_keeps_what_won_though_seen_less():
    """A later answer with more votes is an edge, an earlier one none; the same time is no older."""
    rule = {"exposure": ExposureSettings(rule="no_older")}
    assert set(run(thread(5, 9, 1), **rule)[0]) == {(1, 0)}
    assert set(run(thread(5, 9, 1, order=(2, 1, 0)), **rule)[0]) == {(0, 2), (1, 2)}
    assert set(run(thread(9, 5, order=(3, 3)), **rule)[0]) == {(0, 1)}
    assert run(thread(5, 9, dates=False), **rule)[1] == {"answers_without_dates": 1}


def test_one_date_missing_loses_its_own_edges_only():
    """By no_older the dated answers still make theirs."""
    of = thread(1, 2, 3)
    posts = (*of.posts[:2], replace(of.posts[2], created="long ago"), of.posts[3])
    rule = {"exposure": ExposureSettings(rule="no_older")}
    assert set(run(replace(of, posts=posts), **rule)[0]) == {(2, 0)}
    fitted = {"exposure": ExposureSettings(rule="weighted")}
    found = run(replace(of, posts=posts), Findings(exposure=HALVED), **fitted)
    assert found == (None, {"answers_without_dates": 1})  # who came first is not known either


def test_corrected_scores_decide():
    """Six votes at half the exposure beat eight, and the bonus comes after the correction."""
    rule = {"exposure": ExposureSettings(rule="corrected")}
    findings = Findings(exposure=HALVED)
    assert set(run(thread(8, 6))[0]) == {(0, 1)}
    edges, _ = run(thread(8, 6), findings, **rule)
    assert set(edges) == {(1, 0)}
    # E = 14 (2/3, 1/3): 8 (6 + 1) / (4.67 + 1) - 8 (8 + 1) / (9.33 + 1)
    assert edges[1, 0] == (pytest.approx(7 * 8 / (14 / 3 + 1) - 9 * 8 / (28 / 3 + 1), abs=1e-4), 1)
    assert set(run(thread(8, 6, accepted=0), findings, accepted_bonus=5, **rule)[0]) == {(0, 1)}
    swapped, _ = run(thread(8, 6, order=(1, 0)), findings, **rule)
    assert set(swapped) == {(0, 1)}


def test_weighted_edges_are_those_of_raw_votes():
    """The same edges and margins; what an early answer won weighs less than what a late one won."""
    rule = {"exposure": ExposureSettings(rule="weighted")}
    raw, _ = run(thread(3, 5, 1))
    edges, _ = run(thread(3, 5, 1), Findings(exposure=HALVED), **rule)
    assert {k: m for k, (m, _) in edges.items()} == {k: m for k, (m, _) in raw.items()}
    weights = {k: w for k, (_, w) in edges.items()}
    known = {(1, 0): 4 / 3, (0, 2): 2 / 5, (1, 2): 2 / 3}
    assert weights == pytest.approx(known, abs=1e-4)


def test_certainty_weighs_by_up_and_down_votes():
    """2 P - 1 where both are known; net votes against the up-rate make no edge."""
    of = thread(9, 1, ups=(10, 2))
    sure = 2 * probability_higher(up_a=10, down_a=1, up_b=2, down_b=1) - 1
    assert run(of, certainty=True)[0] == {(0, 1): (8.0, pytest.approx(sure))}
    assert run(of)[0] == {(0, 1): (8.0, 1.0)}
    against = thread(20, 5, ups=(60, 5))  # 60 up 40 down, and 5 up 0 down
    assert run(against, certainty=True) == (None, {"all_votes_uncertain": 1})
    assert run(thread(9, 1), certainty=True)[0] == {(0, 1): (8.0, 1.0)}


def test_certainty_needs_all_four_counts():
    """Where one of them is not known, the edge weighs 1; equal counts settle nothing."""
    of = thread(9, 1, ups=(10, 2))
    for number, lost in ((1, "up"), (1, "down"), (2, "up"), (2, "down")):
        posts = list(of.posts)
        posts[number] = replace(posts[number], **{lost: None})
        partly = replace(of, posts=tuple(posts))
        assert run(partly, certainty=True)[0] == {(0, 1): (8.0, 1.0)}
    alike = run(thread(2, 2, accepted=0, ups=(5, 5)), certainty=True)
    assert alike == (None, {"all_votes_uncertain": 1})


def test_certainty_and_exposure_multiply():
    """An edge of both choices weighs their product."""
    of, rule = thread(1, 9, ups=(2, 10)), {"exposure": ExposureSettings(rule="weighted")}
    findings = Findings(exposure=HALVED)
    sure = run(of, certainty=True)[0][1, 0][1]
    seen = run(of, findings, **rule)[0][1, 0][1]
    assert 0 < sure < 1 < seen
    assert run(of, findings, certainty=True, **rule)[0][1, 0][1] == pytest.approx(sure * seen)


def test_a_difference_of_rounding_is_none():
    """Scores that part after the ninth decimal are one score; the ninth itself counts."""
    settings = PairSettings(min_margin=1)
    posts = thread(0, 0).answers
    rated = rate(posts, thread(0, 0).question, settings, None)
    for by, reason in ((4e-10, Refusal.EQUAL), (2e-9, Refusal.MARGIN_TOO_SMALL)):
        apart = replace(rated, scores=(1.0, 1.0 + by))
        assert apart.edge(0, 1) == apart.first_edge([0, 1]) == reason


def test_topics_weigh_all_edges_of_a_thread():
    """The thread's weight multiplies each edge's own."""
    findings = Findings(topics=TagWeights({"site": {"rare": 3.0, "common": 0.5}}))
    settings = {"topics": TopicSettings(power=1)}
    edges, _ = run(thread(1, 2, 3, tags=("rare", "common")), findings, **settings)
    assert {w for _, w in edges.values()} == {1.75}
    both = {**settings, "exposure": ExposureSettings(rule="weighted")}
    edges, _ = run(thread(1, 2, tags=("rare",)), replace(findings, exposure=HALVED), **both)
    assert edges[1, 0][1] == pytest.approx(3 * 4 / 3, abs=1e-4)


@given(
    st.lists(st.integers(-3, 12), min_size=2, max_size=14),
    st.sampled_from([None, "no_older", "corrected", "weighted"]),
    st.sampled_from([None, 2, 5]),
    st.integers(2, 5),
    st.randoms(use_true_random=False),
)
def test_an_edge_is_kept_whenever_there_is_one(votes, rule, high, most, rng):
    """However few answers are drawn: a thread is dropped if none of all its pairs makes an edge."""
    order = [rng.randrange(28) for _ in votes]
    of = thread(*votes, order=order, thread_id=str(rng.random()))
    settings = {"max_margin": high, "exposure": ExposureSettings(rule=rule)}
    findings = Findings(exposure=HALVED)
    every, _ = run(of, findings, max_replies=50, **settings)
    some, kept = run(of, findings, max_replies=most, **settings)
    if every is None:
        assert some is None
        assert sum(kept.values()) == 1
        return
    assert len(kept) <= most
    assert some
    assert some.items() <= every.items()


def test_every_refusal_has_a_reason():
    """The ledger's words, each once, in the order of the checks."""
    reasons = [refusal.reason for refusal in sorted(Refusal)]
    assert len(set(reasons)) == len(reasons)
    rated = rate(thread(1, 1).answers, thread(1, 1).question, PairSettings(), None)
    assert rated.edge(0, 1) is Refusal.EQUAL


def test_a_survey_finds_what_the_settings_ask_for():
    """Nothing by the paper's rule; else the fit, the weights, or both, the same from any shards."""
    threads = [thread(n % 5, n % 3, thread_id=str(n), tags=("t" * (1 + n % 2),)) for n in range(40)]
    threads.append(thread(7, tags=("alone",)))
    survey, first, second = Survey(), Survey(), Survey()
    for number, each in enumerate(threads):
        survey.add(each)
        (first, second)[number % 2].add(each)
    second.merge(Survey.from_dict(first.as_dict()))
    assert second.as_dict() == survey.as_dict()
    assert "alone" not in survey.tags.units["site"]
    plain, no_older = PairSettings(), PairSettings(exposure=ExposureSettings(rule="no_older"))
    assert not needs_survey(plain)
    assert not needs_survey(no_older)
    assert survey.findings(plain) == survey.findings(no_older) == Findings()
    both = PairSettings(
        exposure=ExposureSettings(rule="corrected"), topics=TopicSettings(power=0.5)
    )
    assert needs_survey(both)
    found = survey.findings(both)
    assert found.exposure is not None
    assert found.topics is not None
    assert Findings.from_dict(found.as_dict()) == found
    assert Findings.from_dict({}) == Findings.from_dict(Findings().as_dict()) == Findings()


def test_settings_that_exclude_each_other_are_refused():
    """A bucket with its ends the wrong way round would silently keep nothing."""
    with pytest.raises(ValidationError, match="must not be below min_margin, 3"):
        PairSettings(min_margin=3, max_margin=2)
    endless = ({"accepted_bonus": math.inf}, {"accepted_bonus": math.nan}, {"min_margin": math.inf})
    for bad in ({"accepted_bonus": -1}, {"pairs_per_thread": 0}, {"max_margin": 0}, *endless):
        with pytest.raises(ValidationError):
            PairSettings(**bad)
