"""Comparisons of many requests -> few calls of the score function, prompts computed once.

    batcher = Batcher(model, settings, ThreadPoolExecutor(1))
    scores = await batcher.score(comparisons, measured, deadline=time.monotonic() + 10)

Requests that wait are taken by their deadline, the earliest first, each with all others of the same
prompt, until a batch is full. Comparisons of one prompt become one comparison, whoever sent them,
so that its token tree has the prompt once. The score function runs in one thread of its own.
Those that want traces as well wait in the same queue; a batch is of one kind.
"""

import asyncio
import bisect
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from worldpm.records import Comparison, Conversation, Score
from worldpm.serve.errors import Refused
from worldpm.serve.models import Measured, ReplyTrace, ServedModel
from worldpm.serve.settings import ServeSettings

Scores = tuple[Score, ...]
Found = float | ReplyTrace  # of one reply
FORGET = 0.8  # what a batch leaves of the weight of those before it, in the measured rate
QUIET_SHARE = 0.25  # of the gathering time; without a request for so long, a batch begins


@dataclass(eq=False, slots=True)
class Job:
    """One comparison that waits; its future gets K values or the error that it met."""

    comparison: Comparison
    measured: Measured
    deadline: float  # of time.monotonic()
    number: int
    future: "asyncio.Future[list[Found]]" = field(repr=False)
    traced: bool = False
    waiting: bool = True

    @property
    def urgency(self) -> tuple[float, int]:
        """What the queue is ordered by."""
        return self.deadline, self.number


def take_batch(waiting: Sequence[Job], budget: int) -> list[list[Job]]:
    """The next batch of `waiting`, which stands by urgency: groups of one prompt each.

    The first is always taken. A job that shares the prompt of one taken costs its replies alone;
    what does not fit stays, and less urgent ones that do fit go before it.
    """
    same: dict[Conversation, list[Job]] = {}
    for job in waiting:
        same.setdefault(job.comparison.prompt, []).append(job)
    groups: list[list[Job]] = []
    used = 0
    for first in waiting:
        mates = same.get(first.comparison.prompt)
        if mates is None:  # went along with an earlier one, or was left behind by it
            continue
        if groups and used + first.measured.tree_tokens > budget:
            continue
        del same[first.comparison.prompt]
        group = [first]
        used += first.measured.tree_tokens
        for mate in mates:
            if mate is not first and used + mate.measured.reply_tokens <= budget:
                group.append(mate)
                used += mate.measured.reply_tokens
        groups.append(group)
    return groups


def merge(group: Sequence[Job]) -> Comparison:
    """The comparisons of one prompt as one."""
    replies = tuple(reply for job in group for reply in job.comparison.replies)
    return replace(group[0].comparison, replies=replies, better=())


def batch_tokens(groups: Sequence[Sequence[Job]]) -> int:
    """Tokens that a batch computes, the prompt of a group once."""
    return sum(
        group[0].measured.prompt_tokens + sum(job.measured.reply_tokens for job in group)
        for group in groups
    )


def split(comparison: Comparison, measured: Measured, budget: int) -> Iterator[tuple[int, int]]:
    """Ranges of neighbouring replies, each within the budget with the prompt, or one alone.

    So that no single request holds the thread for long: others, its deadline and its client's
    leaving are seen between two batches.
    """
    start, used = 0, measured.prompt_tokens
    for i, size in enumerate(measured.num_tokens):
        own = size - measured.prompt_tokens
        if i > start and used + own > budget:
            yield start, i
            start, used = i, measured.prompt_tokens
        used += own
    yield start, len(comparison.replies)


def compute(model: ServedModel, groups: Sequence[Sequence[Job]]) -> list[list[Found] | Exception]:
    """The K values or traces of each job of the batch, or the error that it alone is to blame for.

    Where a batch fails, its groups are scored one by one, and of one that fails, its jobs: a bad
    comparison takes nobody with it. A server behind us that is away fails once for all.
    """
    jobs = [job for group in groups for job in group]
    function = model.trace if jobs[0].traced else model.score
    assert function is not None, "whoever wants traces of a model without them is refused before"
    try:
        rows = function([merge(group) for group in groups])
        values: list[Found] = [value for row in rows for value in row]
    except Exception as error:
        if len(jobs) == 1 or (isinstance(error, Refused) and error.status >= 502):
            return [error] * len(jobs)
        if len(groups) > 1:
            return [found for group in groups for found in compute(model, [group])]
        return [found for job in jobs for found in compute(model, [[job]])]
    sizes = [len(job.comparison.replies) for job in jobs]
    assert len(values) == sum(sizes), f"{model.name} gave {len(values)} scores for {sum(sizes)}"
    found: list[list[Found] | Exception] = []
    start = 0
    for size in sizes:
        own = values[start : start + size]
        start += size
        found.append(own if all(map(_is_finite, own)) else _not_finite(model))
    return found


def _is_finite(found: Found) -> bool:
    values = found.values if isinstance(found, ReplyTrace) else (found,)
    return all(map(math.isfinite, values))


def as_scores(rows: Sequence[Sequence[float]], measured: Sequence[Measured]) -> tuple[Scores, ...]:
    """The values of each comparison with the sizes of what they are of."""
    return tuple(
        tuple(map(Score, row, sizes.num_tokens, sizes.cut_tokens))
        for row, sizes in zip(rows, measured, strict=True)
    )


def _not_finite(model: ServedModel) -> Refused:
    text = (
        f"{model.name} gave a score that is not finite; the weights or the precision are at fault"
    )
    return Refused(500, "non_finite_score", text)


class Batcher:
    """The queue of one model and what empties it. Belongs to one event loop.

    `expected()` is how many requests are being read, for which a batch waits a moment;
    `on_batch(jobs, tokens, seconds)` hears of every batch. `num_dropped` counts the jobs that were
    never computed, since their client had left or their time was up.
    """

    def __init__(
        self,
        model: ServedModel,
        settings: ServeSettings,
        thread: ThreadPoolExecutor,
        *,
        expected: Callable[[], int] = lambda: 0,
        on_batch: Callable[[int, int, float], None] = lambda jobs, tokens, seconds: None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.queued_tokens = 0
        self.num_dropped = 0
        self._thread = thread
        self._expected = expected
        self._on_batch = on_batch
        self._waiting: list[Job] = []
        self._running_tokens = 0
        self._numbers = itertools.count()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._seen = (0.0, 0.0)  # (tokens, seconds) of past batches, the older the less

    @property
    def rate(self) -> float | None:
        """Tokens a second, measured; None before the first batch that has tokens."""
        tokens, seconds = self._seen
        return tokens / seconds if seconds else None

    async def score(
        self, comparisons: Sequence[Comparison], measured: Sequence[Measured], deadline: float
    ) -> tuple[Scores, ...]:
        """A row of scores for each comparison.

        Raises Refused: 429 where the queue is full or too slow for the deadline, 413 for what could
        never be queued, 504 at the deadline, and whatever the model makes of the comparisons. When
        the caller is cancelled, what it waited for is not computed.
        """
        found = await self._ask(comparisons, measured, deadline, traced=False)
        return as_scores(found, measured)

    async def trace(
        self, comparisons: Sequence[Comparison], measured: Sequence[Measured], deadline: float
    ) -> tuple[tuple[ReplyTrace, ...], ...]:
        """A row of traces for each comparison; errors as of `score`. The model must have them."""
        return await self._ask(comparisons, measured, deadline, traced=True)

    async def _ask(
        self,
        comparisons: Sequence[Comparison],
        measured: Sequence[Measured],
        deadline: float,
        *,
        traced: bool,
    ) -> tuple[tuple[Any, ...], ...]:
        jobs: list[Job] = []
        rows = []
        loop = asyncio.get_running_loop()
        for comparison, sizes in zip(comparisons, measured, strict=True):
            row = []
            for start, end in split(comparison, sizes, self.settings.batch_tokens):
                part = replace(comparison, replies=comparison.replies[start:end], better=())
                own = Measured(
                    sizes.prompt_tokens, sizes.num_tokens[start:end], sizes.cut_tokens[start:end]
                )
                number = next(self._numbers)
                row.append(Job(part, own, deadline, number, loop.create_future(), traced))
            rows.append(row)
            jobs += row
        self._admit(sum(job.measured.tree_tokens for job in jobs), deadline)
        for job in jobs:
            bisect.insort(self._waiting, job, key=lambda each: each.urgency)
            self.queued_tokens += job.measured.tree_tokens
        if self._worker is None:
            self._worker = asyncio.create_task(self._run())
        self._arrived.set()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await asyncio.gather(*(job.future for job in jobs))
        except TimeoutError:
            raise _too_late() from None
        finally:
            for job in jobs:
                self._leave(job, dropped=True)
                if not job.future.done():
                    job.future.cancel()
                elif not job.future.cancelled():
                    job.future.exception()  # seen, so that asyncio does not complain of it
        return tuple(tuple(each for job in row for each in job.future.result()) for row in rows)

    def check_room(self, deadline: float) -> None:
        """Refused (429) if nothing of this deadline could be taken now, whatever its size.

        Known before a body is read: under a flood of requests most of the work is saved.
        """
        if self._waiting and deadline >= self._waiting[-1].deadline:
            ahead = self.queued_tokens + self._running_tokens
            left = deadline - time.monotonic()
            if self.queued_tokens >= self.settings.max_queue_tokens or (
                self.rate is not None and ahead / self.rate > left
            ):
                raise self._overloaded(ahead)

    def close(self) -> None:
        """End the worker; the queue must be empty."""
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None

    def _admit(self, tokens: int, deadline: float) -> None:
        most = self.settings.max_queue_tokens
        if tokens > most:
            text = f"{tokens:,} tokens to compute; the limit is {most:,} (max_queue_tokens)"
            raise Refused(413, "too_large", text + "; send them in parts")
        left = deadline - time.monotonic()
        if left <= 0:
            raise _too_late()
        if self.queued_tokens + tokens > most:
            raise self._overloaded(self.queued_tokens)
        urgent = (
            j.measured.tree_tokens for j in self._waiting if j.waiting and j.deadline <= deadline
        )
        ahead = self._running_tokens + sum(urgent)
        # An idle server takes whatever comes: its rate may be that of a few small batches.
        if ahead and self.rate is not None and (ahead + tokens) / self.rate > left:
            raise self._overloaded(ahead)

    def _overloaded(self, ahead: int) -> Refused:
        seconds = 1 if self.rate is None else min(max(math.ceil(ahead / self.rate), 1), 600)
        text = f"{ahead:,} tokens wait already; come again in {seconds} s"
        return Refused(429, "overloaded", text, headers={"retry-after": str(seconds)})

    def _leave(self, job: Job, *, dropped: bool) -> None:
        if job.waiting:
            job.waiting = False
            self.queued_tokens -= job.measured.tree_tokens
            self.num_dropped += dropped

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._waiting = [job for job in self._waiting if job.waiting]
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            await self._gather()
            now = time.monotonic()
            ready = [job for job in self._waiting if job.waiting and job.deadline > now]
            alike = [job for job in ready if job.traced == ready[0].traced]
            groups = take_batch(alike, self.settings.batch_tokens)
            jobs = [job for group in groups for job in group]
            if not jobs:
                await asyncio.sleep(0)  # those whose time is up leave by themselves
                continue
            for job in jobs:
                self._leave(job, dropped=False)
            self._waiting = [job for job in ready if job.waiting]
            tokens = self._running_tokens = batch_tokens(groups)
            started = time.perf_counter()
            try:
                found = await loop.run_in_executor(self._thread, compute, self.model, groups)
            except Exception as error:  # a bug of ours; nobody is left waiting for it
                found = [error] * len(jobs)
            seconds = time.perf_counter() - started
            self._running_tokens = 0
            if tokens:  # empty texts tell nothing of the rate, of which 0 would be divided by
                self._seen = (FORGET * self._seen[0] + tokens, FORGET * self._seen[1] + seconds)
            self._on_batch(len(jobs), tokens, seconds)
            for job, values in zip(jobs, found, strict=True):
                if job.future.done():  # its client left meanwhile
                    continue
                if isinstance(values, Exception):
                    job.future.set_exception(values)
                else:
                    job.future.set_result(values)

    async def _gather(self) -> None:
        """Wait a moment for requests that could share this batch, unless it is full already."""
        longest = self.settings.gather_seconds
        ends = time.monotonic() + longest
        while self.queued_tokens < self.settings.batch_tokens:
            left = ends - time.monotonic()
            if left <= 0:
                return
            self._arrived.clear()
            quiet = left if self._expected() else min(left, QUIET_SHARE * longest)
            try:
                async with asyncio.timeout(quiet):
                    await self._arrived.wait()
            except TimeoutError:
                if not self._expected():
                    return


def _too_late() -> Refused:
    return Refused(504, "deadline_exceeded", "the deadline passed before the scores were there")
