"""Requests of many clients share batches, prompts and nothing else."""

import asyncio
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.errors import DataError
from worldpm.records import Message
from worldpm.serve.batching import Batcher, Job, batch_tokens, merge, split, take_batch
from worldpm.serve.errors import Refused
from worldpm.serve.models import Measured, ServedModel, plain_model
from worldpm.serve.route import text_comparison
from worldpm.serve.settings import ServeSettings


def minus_length(comparisons):
    return [[-float(len(r[-1].content)) for r in c.replies] for c in comparisons]


class Held:
    """A score function that notes its calls, and waits for `go` in each of them."""

    def __init__(self, score=minus_length, *, open=False):
        self.calls, self.score = [], score
        self.go, self.began = threading.Event(), threading.Event()
        if open:
            self.go.set()

    def __call__(self, comparisons):
        self.calls.append(comparisons)
        self.began.set()
        assert self.go.wait(20)
        return self.score(comparisons)

    @property
    def replies(self):
        return [r[-1].content for call in self.calls for c in call for r in c.replies]


def job(prompt="p", replies=("r",), deadline=1.0, number=0):
    comparison = text_comparison(prompt, replies)
    return Job(comparison, plain_model(minus_length).measure(comparison), deadline, number, None)


def run(main, score, **settings):
    """Run `main(batcher, ask)`; `ask(prompt, *replies)` is a task that asks for scores."""

    async def whole():
        model = plain_model(score)
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(model, ServeSettings(**settings), thread)

            def ask(prompt, *replies, seconds=20.0):
                asked = text_comparison(prompt, replies)
                return asyncio.create_task(
                    batcher.score([asked], [model.measure(asked)], time.monotonic() + seconds)
                )

            try:
                return await main(batcher, ask)
            finally:
                batcher.close()
                if isinstance(score, Held):
                    score.go.set()

    return asyncio.run(whole())


async def began(held):
    while not held.began.is_set():
        await asyncio.sleep(0.001)
    held.began.clear()


def values(task):
    (row,) = task.result()
    return [score.value for score in row]


def test_one_prompt_is_one_comparison():
    """Eight clients that ask for eight replies to one prompt make one call with one comparison, and
    each gets the score of its own reply."""
    held = Held(open=True)

    async def main(batcher, ask):
        tasks = [ask("why", "x" * i) for i in range(8)]
        await asyncio.gather(*tasks)
        assert [values(task) for task in tasks] == [[-float(i)] for i in range(8)]

    run(main, held)
    assert [len(call) for call in held.calls] == [1]
    assert len(held.calls[0][0].replies) == 8


def test_prompts_are_told_apart_by_all_their_messages():
    """The same words of another role, or with a message before, are another prompt."""
    held = Held(open=True)
    talks = [
        (Message("user", "a"),),
        (Message("system", "a"),),
        (Message("system", ""), Message("user", "a")),
    ]

    async def main(batcher, ask):
        await asyncio.gather(*(ask(talk, "r") for talk in talks))

    run(main, held)
    assert sorted(len(c.replies) for c in held.calls[0]) == [1, 1, 1]


def test_the_earliest_deadline_goes_first():
    """What waits is computed by its deadline, not by its arrival."""
    held = Held()

    async def main(batcher, ask):
        first = ask("now", "first")
        await began(held)
        late, soon = ask("b", "late!", seconds=19), ask("c", "soon!", seconds=9)
        await asyncio.sleep(0.02)
        held.go.set()
        await asyncio.gather(first, late, soon)

    run(main, held, batch_tokens=6)
    assert held.replies == ["first", "soon!", "late!"]


def test_a_client_that_left_is_not_computed():
    """500 requests that are cancelled while they wait: none is computed, their room is free."""
    held = Held()

    async def main(batcher, ask):
        first = ask("now", "first")
        await began(held)
        gone = [ask(f"p{i}", "gone") for i in range(500)]
        stays = ask("p", "stays")
        await asyncio.sleep(0.05)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        assert batcher.queued_tokens == len("pstays")
        held.go.set()
        await asyncio.gather(first, stays)
        assert batcher.num_dropped == 500
        assert batcher.queued_tokens == 0

    run(main, held)
    assert held.replies == ["first", "stays"]


def test_a_full_queue_says_when_to_come_again():
    """Over max_queue_tokens a request gets 429 with Retry-After; what could never fit gets 413."""
    held = Held()

    async def main(batcher, ask):
        first = ask("now", "first")
        await began(held)
        waits = ask("p", "x" * 50)
        await asyncio.sleep(0.02)
        with pytest.raises(Refused) as full:
            await ask("q", "x" * 49)
        assert (full.value.status, full.value.kind) == (429, "overloaded")
        assert int(full.value.headers["retry-after"]) >= 1
        with pytest.raises(Refused) as never:
            await ask("q", "x" * 100)
        assert (never.value.status, never.value.kind) == (413, "too_large")
        fits = ask("q", "x" * 48)
        held.go.set()
        await asyncio.gather(first, waits, fits)

    run(main, held, max_queue_tokens=100)


def test_what_cannot_be_in_time_is_refused_at_once():
    """Once the rate is known, a request that could not be done by its deadline gets 429; what is
    less urgent than it does not count."""
    held = Held(lambda c: (time.sleep(0.02), minus_length(c))[1], open=True)

    async def main(batcher, ask):
        await ask("a", "x" * 99)  # 100 tokens in a fiftieth of a second: 5000 a second
        held.go.clear()
        held.began.clear()
        running = ask("b", "r" * 9, seconds=20)
        await began(held)
        waiting = [ask(f"c{i}", "x" * 998, seconds=15) for i in range(10)]
        await asyncio.sleep(0.05)
        assert batcher.rate <= 5000
        with pytest.raises(Refused) as refused:
            await ask("d", "x", seconds=0.5)
        assert refused.value.status == 504  # admitted, since it goes before the 10,000
        with pytest.raises(Refused) as refused:
            await ask("d", "x" * 90_000, seconds=16)
        assert refused.value.status == 429
        assert int(refused.value.headers["retry-after"]) >= 2
        held.go.set()
        await asyncio.gather(running, *waiting)

    run(main, held, batch_tokens=2000)


def test_a_flood_is_refused_unread():
    """While the queue is full, or longer than its deadline, a request is refused before it is read;
    one that goes before the others is not."""
    held = Held()

    async def main(batcher, ask):
        first = ask("now", "first")
        await began(held)
        batcher.check_room(time.monotonic() + 10)
        waits = ask("p", "x" * 99, seconds=15)
        await asyncio.sleep(0.02)
        with pytest.raises(Refused) as full:
            batcher.check_room(time.monotonic() + 16)
        assert full.value.status == 429
        batcher.check_room(time.monotonic() + 10)
        held.go.set()
        await asyncio.gather(first, waits)
        batcher.check_room(time.monotonic() + 16)

    run(main, held, max_queue_tokens=100)


def test_the_deadline_ends_the_wait():
    """At its deadline a request gets 504, and is not computed if its turn had not come."""
    held = Held()

    async def main(batcher, ask):
        first = ask("now", "first")
        await began(held)
        with pytest.raises(Refused) as late:
            await ask("p", "late", seconds=0.05)
        assert (late.value.status, late.value.kind) == (504, "deadline_exceeded")
        with pytest.raises(Refused) as late:
            await ask("p", "late", seconds=-1)
        assert late.value.status == 504
        held.go.set()
        await first

    run(main, held)
    assert held.replies == ["first"]


def test_a_bad_comparison_takes_nobody_with_it():
    """In one batch, what cannot be scored fails for its own client and for no other, and a score
    that is not finite is an error, never a number."""

    def picky(comparisons):
        for comparison in comparisons:
            for reply in comparison.replies:
                if reply[-1].content == "bad":
                    raise DataError("bad reply")
        rows = minus_length(comparisons)
        return [[math.nan if v == -13 else v for v in row] for row in rows]

    async def main(batcher, ask):
        texts = ["good", "bad", "x" * 13, "fine"]
        same = [ask("p", text) for text in texts]
        other = [ask(f"p{text}", text) for text in texts]
        found = await asyncio.gather(*same, *other, return_exceptions=True)
        for results in (found[:4], found[4:]):
            assert results[0][0][0].value == -4
            assert isinstance(results[1], DataError)
            assert (results[2].status, results[2].kind) == (500, "non_finite_score")
            assert results[3][0][0].value == -4

    run(main, picky)


def test_a_server_behind_that_is_away_is_asked_once():
    """A refusal of 502 to 504 holds for the whole batch: it is not asked again for each job."""
    held = Held(open=True)

    def away(comparisons):
        held.calls.append(comparisons)
        raise Refused(503, "backend_unavailable", "away")

    async def main(batcher, ask):
        found = await asyncio.gather(*(ask(f"p{i}", "r") for i in range(9)), return_exceptions=True)
        assert {each.status for each in found} == {503}

    run(main, away)
    assert len(held.calls) == 1


def test_a_wrong_number_of_scores_is_a_bug():
    """A function that gives too few scores fails every request of the batch: none is shifted."""

    async def main(batcher, ask):
        found = await asyncio.gather(ask("p", "a"), ask("q", "b"), return_exceptions=True)
        assert all(isinstance(each, AssertionError) for each in found)
        assert await asyncio.gather(ask("p", "a"), return_exceptions=True)  # and it goes on

    run(main, lambda comparisons: [[0.0]] * (len(comparisons) - 1))


def test_a_large_request_is_computed_in_parts():
    """One comparison over the budget is split, so that an urgent one comes between its parts."""
    held = Held()

    async def main(batcher, ask):
        large = ask("p", *(f"{i:09}" for i in range(10)), seconds=15)
        await began(held)
        urgent = ask("q", "urgent", seconds=10)
        await asyncio.sleep(0.02)
        held.go.set()
        await asyncio.gather(large, urgent)
        assert values(large) == [-9.0] * 10

    run(main, held, batch_tokens=20)
    assert [len(call[0].replies) for call in held.calls] == [2, 1, 2, 2, 2, 2]


replies = st.lists(st.text("ab", max_size=6), min_size=1, max_size=5)


@given(st.lists(st.tuples(st.sampled_from("pqr"), replies, st.integers(0, 3)), min_size=1),
       st.integers(1, 30))  # fmt: skip
def test_batches_hold_everything_once_and_keep_the_budget(asked, budget):
    """Batch after batch takes every job exactly once, the most urgent first; a batch is over the
    budget only if it is one job alone, and a group's merged comparison is its jobs' replies."""
    jobs = [job(p, r, d, i) for i, (p, r, d) in enumerate(asked)]
    waiting = sorted(jobs, key=lambda each: each.urgency)
    taken = []
    while waiting:
        groups = take_batch(waiting, budget)
        batch = [each for group in groups for each in group]
        assert batch[0] is waiting[0]
        assert batch_tokens(groups) <= budget or len(batch) == 1
        prompts = [group[0].comparison.prompt for group in groups]
        assert len(set(prompts)) == len(prompts)
        for group in groups:
            merged = merge(group)
            assert merged.prompt == group[0].comparison.prompt
            assert merged.replies == sum((each.comparison.replies for each in group), ())
        taken += batch
        waiting = [each for each in waiting if each not in batch]
    assert sorted(each.number for each in taken) == list(range(len(jobs)))


@given(st.integers(0, 9), st.lists(st.integers(1, 9), min_size=1), st.integers(1, 30))
def test_parts_of_a_comparison(prompt, sizes, budget):
    """The parts are neighbours, hold every reply, and keep the budget unless they are one reply."""
    whole = Measured(prompt, tuple(prompt + n for n in sizes), (0,) * len(sizes))
    parts = list(split(text_comparison("p", ["r"] * len(sizes)), whole, budget))
    assert [i for start, end in parts for i in range(start, end)] == list(range(len(sizes)))
    for start, end in parts:
        assert end == start + 1 or prompt + sum(sizes[start:end]) <= budget


def test_scores_carry_their_sizes():
    """A score knows its conversation's tokens, and how many were cut off."""
    model = ServedModel("m", minus_length, lambda c: Measured(3, (7, 9), (0, 2)))

    async def main():
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(model, ServeSettings(), thread)
            asked = text_comparison("p", ["abc", "de"])
            (row,) = await batcher.score([asked], [model.measure(asked)], time.monotonic() + 9)
            batcher.close()
            return [(s.value, s.num_tokens, s.cut_tokens) for s in row]

    assert asyncio.run(main()) == [(-3.0, 7, 0), (-2.0, 9, 2)]
