"""A thread becomes one comparison: prompt, replies, edges, and what is left out."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worldpm.pairs.sample import PairSettings, compare, prompt_text
from worldpm.records import Message, Post, Thread


def thread(*votes, accepted=None, title="T", thread_id="1"):
    """A thread with an answer for each vote count; `accepted` is the number of one of them."""
    posts = [Post("q", None, "asker", None, "body", 0)]
    for number, count in enumerate(votes):
        posts.append(
            Post(f"a{number}", "q", "me", None, f"answer {number}", count, number == accepted, "u")
        )
    return Thread(thread_id, "site", title, ("tag",), tuple(posts), "http://q", "CC BY-SA 4.0")


def run(of, **settings):
    dropped = Counter()
    comparison = compare(of, PairSettings(**settings), lambda reason: dropped.update([reason]))
    return comparison, dict(dropped)


def test_a_thread_becomes_one_comparison():
    """Title and body are the prompt, each answer is one reply, each vote difference an edge."""
    comparison, dropped = run(thread(1, 3, 3))
    assert comparison.prompt == (Message("user", "Title: T\n\nbody"),)
    assert comparison.replies == tuple((Message("assistant", f"answer {n}"),) for n in range(3))
    assert {(e.winner, e.loser, e.margin) for e in comparison.better} == {(1, 0, 2), (2, 0, 2)}
    assert (comparison.id, comparison.source) == ("1", "site")
    assert dropped == {}


def test_the_accepted_answer_counts_one_vote_more():
    """Equal votes: acceptance decides; one vote less: it makes a tie. Raw votes are kept."""
    comparison, _ = run(thread(2, 2, accepted=1))
    assert [(e.winner, e.loser, e.margin) for e in comparison.better] == [(1, 0, 1)]
    assert [(p["votes"], p["accepted"]) for p in comparison.meta["posts"]] == [
        (2, False),
        (2, True),
    ]
    assert run(thread(3, 2, accepted=1)) == (None, {"all_scores_equal": 1})


def test_attribution_is_kept():
    """Links, authors and licence travel with the comparison."""
    meta = run(thread(1, 2))[0].meta
    assert (meta["url"], meta["license"], meta["author"]) == ("http://q", "CC BY-SA 4.0", "asker")
    assert [post["id"] for post in meta["posts"]] == ["a0", "a1"]
    assert {(post["url"], post["author"]) for post in meta["posts"]} == {("u", "me")}
    assert meta["tags"] == ["tag"]


def test_the_time_of_each_post_is_kept():
    """When the question and each answer were written travels with the comparison."""
    written = thread(1, 2)
    posts = tuple(replace(p, created=f"2020-01-0{n + 1}") for n, p in enumerate(written.posts))
    meta = run(replace(written, posts=posts))[0].meta
    assert meta["created"] == "2020-01-01"
    assert [post["created"] for post in meta["posts"]] == ["2020-01-02", "2020-01-03"]


def test_a_chain_is_a_prompt_of_several_messages():
    """Below an answer the prompt is the question and the chain, none of it by the assistant."""
    root = thread(4, 1)
    below = [Post(f"b{n}", "a0", "you", None, f"reply {n}", n) for n in range(2)]
    posts = (root.question, root.answers[0], *below)
    comparison, dropped = run(replace(root, id="1/a0", posts=posts, num_prompt_posts=2))
    assert comparison.prompt == (Message("user", "Title: T\n\nbody"), Message("user", "answer 0"))
    assert comparison.replies == tuple((Message("assistant", f"reply {n}"),) for n in range(2))
    assert [(edge.winner, edge.loser) for edge in comparison.better] == [(1, 0)]
    assert comparison.meta["prompt_posts"] == [{"id": "a0", "url": "u", "author": "me"}]
    assert "prompt_posts" not in run(root)[0].meta
    assert dropped == {}


def test_a_title_alone_is_the_prompt():
    """A question without a body ends with its title."""
    root = thread(4, 1)
    bare = replace(root, posts=(replace(root.question, text=""), *root.answers))
    assert prompt_text(bare) == "Title: T"


@pytest.mark.parametrize(
    ("votes", "settings", "reason"),
    [
        ((), {}, "no_answer"),
        ((4,), {}, "only_one_answer"),
        ((2, 2, 2), {}, "all_scores_equal"),
        ((2, 3), {"min_margin": 2}, "all_margins_too_small"),
    ],
)
def test_threads_without_a_preference_are_dropped_by_reason(votes, settings, reason):
    """Each reason has its name."""
    assert run(thread(*votes), **settings) == (None, {reason: 1})


def test_no_title_no_title_line():
    """A forum without titles gives the body alone."""
    assert prompt_text(thread(title="")) == "body"


@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=30),
    st.integers(2, 6),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_sampling_keeps_an_edge_whenever_there_is_one(votes, most, margin, seed):
    """At most `max_replies` answers in thread order, and always an edge if the thread has one."""
    of = thread(*votes, thread_id=str(seed))
    comparison, dropped = run(of, max_replies=most, min_margin=margin, seed=seed)
    if max(votes) - min(votes) < margin:
        assert comparison is None
        assert sum(dropped.values()) == 1
        return
    assert len(comparison.replies) == min(most, len(votes))
    assert comparison.better
    assert all(edge.margin >= margin for edge in comparison.better)
    kept = [int(post["id"][1:]) for post in comparison.meta["posts"]]
    assert kept == sorted(kept)
    assert comparison.meta["num_answers"] == len(votes)
    for edge in comparison.better:
        assert votes[kept[edge.winner]] - votes[kept[edge.loser]] == edge.margin


def test_sampling_prefers_neither_votes_nor_age():
    """Over many threads each of 12 answers is kept about 4 times in 12."""
    counts = Counter()
    for number in range(3000):
        comparison, _ = run(thread(*range(12), thread_id=str(number)), max_replies=4)
        counts.update(post["id"] for post in comparison.meta["posts"])
    assert counts.total() == 12_000
    assert all(abs(count - 1000) < 110 for count in counts.values())  # about four deviations


def test_sampling_depends_on_the_seed_and_nothing_else():
    """The same seed draws the same answers, another seed others."""
    of = thread(*range(30))
    draws = [tuple(p["id"] for p in run(of, seed=s)[0].meta["posts"]) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_draws_are_fixed_for_all_time():
    """Known draws of answers and of pairs, by seed and source: an update moves no data set."""

    def drawn(source="site", **settings):
        of = replace(thread(*range(12)), source=source)
        comparison, _ = run(of, **settings)
        kept = [int(post["id"][1:]) for post in comparison.meta["posts"]]
        return kept, [(kept[e.winner], kept[e.loser]) for e in comparison.better]

    assert drawn(max_replies=4)[0] == [0, 4, 7, 9]
    assert drawn(max_replies=4, seed=1)[0] == [3, 5, 7, 8]
    assert drawn(max_replies=4, source="other")[0] == [0, 4, 6, 11]
    assert drawn(max_replies=12, pairs_per_thread=3)[1] == [(3, 1), (11, 5), (11, 6)]
    assert drawn(max_replies=12, pairs_per_thread=3, seed=1)[1] == [(7, 2), (8, 2), (9, 3)]


def test_a_draw_without_an_edge_gives_way_to_the_first_there_is():
    """Of 40 answers one has another score: it is kept with others drawn, as many as may be."""
    comparison, _ = run(thread(*[1] * 39, 5), max_replies=3)
    kept = [post["id"] for post in comparison.meta["posts"]]
    assert kept == ["a19", "a34", "a39"]
    assert [(e.winner, e.loser, e.margin) for e in comparison.better] == [(2, 0, 4), (2, 1, 4)]


def test_settings_out_of_range_are_refused():
    """One reply is no comparison, and a margin of zero would make ties edges."""
    for bad in ({"max_replies": 1}, {"min_margin": 0}, {"max_reply": 4}):
        with pytest.raises(ValidationError):
            PairSettings(**bad)
