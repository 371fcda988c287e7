"""Replies become threads: the right chain, every reply in one thread or dropped with its reason."""

import itertools
import random
import time
from collections import Counter

import pytest

from worldpm.forum.tree import grow
from worldpm.records import Post, Thread


def post(name, parent):
    return Post(name, parent, None, None, f"text {name}", 1)


OPENING = Thread("T", "s", "t", (), (post("q", None),), None, None)
#   q - a - c - f, g ; d ; e
#     - b - h
REPLIES = [post(*pair) for pair in ("aq", "bq", "ca", "da", "ea", "fc", "gc", "hb")]


def threads(depth, replies=REPLIES, lost=()):
    dropped = Counter()
    found = list(grow(OPENING, replies, depth=depth, drop=lambda r: dropped.update([r]), lost=lost))
    return {each.id: [p.id for p in each.posts] for each in found}, dropped, found


def test_depth_one_is_the_question_and_its_answers():
    """What replies to answers is counted, nothing more."""
    assert threads(1)[:2] == ({"T": ["q", "a", "b"]}, {"reply_below_depth": 6})


def test_deeper_threads_have_the_chain_as_prompt():
    """A post with two replies becomes a thread; one with a single reply has nothing to compare."""
    found, dropped, made = threads(2)
    assert found == {"T": ["q", "a", "b"], "T/a": ["q", "a", "c", "d", "e"]}
    assert dropped == {"only_reply": 1, "reply_below_depth": 2}
    assert [p.id for p in made[1].prompt] == ["q", "a"]
    assert [p.id for p in made[1].answers] == ["c", "d", "e"]
    found, dropped, made = threads(3)
    assert found["T/c"] == ["q", "a", "c", "f", "g"]
    assert dropped == {"only_reply": 1}
    assert (made[-1].num_prompt_posts, made[-1].question.id) == (3, "q")


def test_orphans_and_cycles_have_their_own_reasons():
    """Below a dropped post, below none, and in circles: each reply is dropped once."""
    more = [post(*pair) for pair in ("xl", "yx", "zm", "wz", "12", "21", "33", "41")]
    _, dropped, _ = threads(3, REPLIES + more, lost={"l"})
    assert dropped == {
        "only_reply": 1,
        "reply_to_dropped_post": 2,
        "parent_missing": 2,
        "parent_cycle": 4,
    }


@pytest.mark.parametrize("depth", [1, 2, 3, 10])
def test_every_reply_is_an_answer_once_or_dropped_once(depth):
    """On 200 random forests with missing parents and cycles."""
    for seed in range(200):
        chance = random.Random(seed)
        names = [str(n) for n in range(chance.randrange(30))]
        replies = [post(n, chance.choice([*names, "q", "q", "gone"])) for n in names]
        _, dropped, found = threads(depth, replies)
        answers = [answer.id for each in found for answer in each.answers]
        assert len(answers) == len(set(answers))
        assert len(answers) + dropped.total() == len(replies)
        for each in found:
            chain = each.prompt
            assert all(low.parent == high.id for high, low in itertools.pairwise(chain))
            assert chain[0].id == "q"
            assert len(chain) <= depth


def test_a_chain_of_a_hundred_thousand_replies_is_linear():
    """Depth of nesting costs neither the stack nor the square of the time."""
    replies = [post("0", "q"), *(post(str(n), str(n - 1)) for n in range(1, 100_000))]
    start = time.process_time()
    _, dropped, _ = threads(10, replies)
    assert dropped == {"only_reply": 9, "reply_below_depth": 99_990}
    assert time.process_time() - start < 5
