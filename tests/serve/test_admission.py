"""Who is let into the queue, at a known rate: whom to send away, and for how long."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from worldpm.serve.batching import Batcher
from worldpm.serve.errors import Refused
from worldpm.serve.models import ReplyTrace, plain_model
from worldpm.serve.route import text_comparison
from worldpm.serve.settings import ServeSettings


def minus_length(comparisons):
    return [[-float(len(r[-1].content)) for r in c.replies] for c in comparisons]


def traces(comparisons):
    return [[ReplyTrace((r[-1].content,), (1.0,)) for r in c.replies] for c in comparisons]


def asked(batcher, *pairs, seconds=20.0, trace=False):
    """A request's comparisons, each (prompt, length of its reply)."""
    comparisons = [text_comparison(prompt, ["x" * length]) for prompt, length in pairs]
    measured = [batcher.model.measure(each) for each in comparisons]
    way = batcher.trace if trace else batcher.score
    return asyncio.create_task(way(comparisons, measured, time.monotonic() + seconds))


def run(main, score=minus_length, **settings):
    """Run `main(batcher)` with a batcher that has seen nothing yet."""

    async def whole():
        with ThreadPoolExecutor(1) as thread:
            model = replace(plain_model(score), trace=traces)
            batcher = Batcher(model, ServeSettings(**settings), thread)
            try:
                return await main(batcher)
            finally:
                batcher.close()

    return asyncio.run(whole())


async def stopped(batcher, *pairs):
    """A request that waits, while the worker does not take it: as between two batches."""
    task = asked(batcher, *pairs)
    await asyncio.sleep(0)
    batcher.close()
    return task


def room(batcher, seconds):
    """Seconds after which to come again, or None where there is room."""
    refused = None
    try:
        batcher.check_room(time.monotonic() + seconds)
    except Refused as error:
        refused = error
    if refused is None:
        return None
    again = refused.headers["retry-after"]
    assert (refused.status, refused.kind) == (429, "overloaded")
    assert str(refused).endswith(f"tokens wait already; come again in {again} s")
    return int(again)


def test_what_waits_and_runs_must_be_done_in_time():
    """300 tokens wait and 200 run at 100 a second: under 5 seconds is refused, over it not."""

    async def main(batcher):
        task = await stopped(batcher, ("p", 299))
        assert batcher.queued_tokens == 300
        batcher._running_tokens = 200
        assert room(batcher, 25) is None  # nothing is known of the rate
        batcher._seen = (1000.0, 10.0)
        assert room(batcher, 25) is None
        assert room(batcher, 4) is None  # it would go before what waits
        batcher._waiting = [replace(each, deadline=0.0) for each in batcher._waiting]
        assert [room(batcher, seconds) for seconds in (4.5, 5.5)] == [5, None]
        task.cancel()

    run(main)


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [((0.0, 0.0), 1), ((1000.0, 10.0), 3), ((1e6, 1.0), 1), ((1.0, 10.0), 600)],
)
def test_a_full_queue_names_the_time_it_needs(seen, seconds):
    """Tokens over the rate, rounded up; a second at least and ten minutes at most."""

    async def main(batcher):
        task = await stopped(batcher, ("p", 249))
        batcher._seen = seen
        batcher._waiting = [replace(each, deadline=0.0) for each in batcher._waiting]
        assert room(batcher, 1e9) == seconds
        with pytest.raises(Refused) as refused:
            await asked(batcher, ("p", 1), seconds=1e6)
        assert refused.value.headers == {"retry-after": str(seconds)}
        task.cancel()

    run(main, max_queue_tokens=250)


def test_a_batch_without_tokens_says_nothing_of_the_rate():
    """Empty texts are computed in some time and no tokens: that is no rate to divide by."""

    async def main(batcher):
        await asked(batcher, ("", 0))
        assert batcher.rate is None
        await asyncio.gather(*(asked(batcher, ("p", 9)) for _ in range(3)))
        assert batcher.rate > 0

    run(main)


def test_all_of_a_request_leave_together():
    """A client that goes takes every comparison of its request along, each counted as dropped."""

    async def main(batcher):
        task = await stopped(batcher, ("a", 3), ("b", 4), ("c", 5))
        assert batcher.queued_tokens == 15
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (batcher.queued_tokens, batcher.num_dropped) == (0, 3)

    run(main)


def test_traces_and_scores_of_one_queue_are_told_apart():
    """Each gets what it asked for, whichever was first; the row of each comparison is its own."""

    async def main(batcher):
        tasks = [asked(batcher, ("a", 3), ("b", 4), trace=n % 2 == 1) for n in range(4)]
        found = await asyncio.gather(*tasks)
        for number, rows in enumerate(found):
            got = [[each.pieces[0] if number % 2 else each.value for each in row] for row in rows]
            assert got == ([["xxx"], ["xxxx"]] if number % 2 else [[-3.0], [-4.0]])

    run(main)


def test_messages_say_what_to_do():
    """Too large: how large, the limit and its name; too late: that it was the deadline."""

    async def main(batcher):
        with pytest.raises(Refused) as refused:
            await asked(batcher, ("p", 30))
        text = "31 tokens to compute; the limit is 20 (max_queue_tokens); send them in parts"
        assert (refused.value.status, str(refused.value)) == (413, text)
        with pytest.raises(Refused) as refused:
            await asked(batcher, ("p", 3), seconds=0)
        text = "the deadline passed before the scores were there"
        assert (refused.value.status, str(refused.value)) == (504, text)

    run(main, max_queue_tokens=20)
