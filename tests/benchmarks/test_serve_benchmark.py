"""What the benchmark of the server asks and counts, on a server whose time is known."""

import time

import pytest
from live import live
from tiny import small_model

from worldpm.records import Comparison, Message
from worldpm.score import load


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return load(small_model(tmp_path_factory.mktemp("bench-serve") / "m"), dtype="float32")


def talk(name, prompt, *replies):
    own = tuple((Message("assistant", text),) for text in replies)
    return Comparison(name, "test", None, (Message("user", prompt),), own)


def test_made_up_conversations_are_ragged_and_the_same_each_time():
    """The same by their seed, of 2 to 8 replies, with lengths over more than a factor of ten."""
    from serve import made_up

    found = list(made_up(40))
    assert found == list(made_up(40))
    assert found != list(made_up(40, seed=1))
    lengths = [len(r[-1].content) for c in found for r in c.replies]
    assert max(lengths) > 10 * min(lengths)
    assert {len(c.replies) for c in found} <= set(range(2, 9))


def test_requests_are_single_replies_and_group_back(scorer):
    """Each reply is a request with its own tokens; what is too long or of several turns is left
    out; neighbours of one prompt are one comparison for the offline scorer."""
    from serve import grouped, singles

    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    rows = [
        talk("1", "why", "a", "bb", "x" * 3000),
        talk("2", "how", "c"),
        Comparison("3", "test", None, turns, ((Message("assistant", "d"),),)),
    ]
    requests = singles(scorer, rows)
    texts = [each.comparison.replies[0][0].content for each in requests]
    assert texts == ["a", "bb", "c"]
    expected = [s.num_tokens for c in (rows[0], rows[1]) for s in _sizes(scorer, c)]
    assert [each.num_tokens for each in requests] == expected
    assert [len(c.replies) for c in grouped(requests)] == [2, 1]


def _sizes(scorer, comparison):
    short = tuple(r for r in comparison.replies if len(r[0].content) < 100)
    (found,) = scorer.iter_scores([Comparison("x", "x", None, comparison.prompt, short)])
    return found


def test_rates_on_a_server_of_known_speed(scorer, tmp_path):
    """A server that takes 50 ms a batch is measured as such: alone, under load, and K at once."""
    from serve import Client, K, Request, added_latency, eight_of_one, singles, under_load

    asked = [talk(str(i), f"q{i}", "sleep") for i in range(24)]
    requests = [Request(each.comparison, 10) for each in singles(scorer, asked)]
    with live(tmp_path, seconds=0.05) as server:
        assert Client(server.port).score(requests[0].body) == [-5.0]
        started = time.perf_counter()
        rate = under_load(server.port, requests, 8, 30)
        assert rate >= 240 / (time.perf_counter() - started)
        assert rate <= 10 * 8 / 0.05  # eight clients cannot be faster than eight a batch
        # 50 ms less what the scorer itself takes, which a busy machine makes 10 ms
        assert added_latency(scorer, server.port, requests[:3], 30) >= 25
        eights = [talk(str(i), f"q{i}", *["sleep"] * K) for i in range(3)]
        assert 0.5 < eight_of_one(server.port, eights, 30) < 4
        with pytest.raises(RuntimeError, match="422"):
            Client(server.port).score(b'{"items": []}')
