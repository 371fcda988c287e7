"""Earlier answers gather more votes because more people see them: what that is worth, and without.

    counts = ExposureCounts(); counts.add(thread); ...     # a first pass; merge() joins shards
    model = fit_exposure(counts)
    model.exposures(thread.answers, asked)                 # (1.0, 0.44): the second was seen less

The model: answer i of thread t gets Poisson(theta_t q_i e_i) votes. theta is how many readers the
thread has, q the answer's quality, and e its exposure, log-linear in two things that are known,

    log e = by_rank[order of arrival] + by_delay[age of the thread when it arrived],

each a step function. The window in which an answer is seen ends for all answers of a thread at the
dump, so that within a thread the delay is what is left of the age.

The fit. Given that a vote went to one of two answers of a thread it went to the first with
probability e_a q_a / (e_a q_a + e_b q_b), whatever theta; at equal quality that is a logistic
regression of "which got the vote" on the difference of log e, as in Bradley and Terry (1952). The
votes are summed over threads by pairs of cells (rank, delay) first: a bounded table, whatever the
number of threads. Propensities by position for pairwise learning from clicks: Joachims, Swaminathan
and Schnabel, "Unbiased learning-to-rank with biased feedback" (WSDM 2017).

What no model of votes can tell apart: early answers that are better, and early answers that are
seen more. Where the quick ones know best, this correction takes their due from them.
"""

import datetime
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from worldpm.config import Settings
from worldpm.records import Post, Thread

RANKS = (1, 2, 3, 4, 5, 7, 11, 21, 51, 101)  # the first order of arrival in each step
DELAYS = (0, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)  # seconds
# The fit takes at most so many votes of one thread (each counts for less above): popular threads
# are no independent voters, and one of 10,000 votes must not stand for 1,000 threads.
VOTES_OF_A_THREAD = 30
UNIT = 5040  # votes are counted in whole parts of this, so that sums have no order
PRIOR = 1.0  # a normal prior with deviation 1 on the rise at each step, which are rarely larger


class ExposureSettings(Settings):
    """What is done about earlier answers having had more readers. Not in the paper."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    rule: Literal["no_older", "corrected", "weighted"] | None = None
    """`no_older` keeps an edge only if its winner came no earlier than its loser, the rule of SHP
    (Ethayarajh et al. 2022): what was seen less and still won. `corrected` lets votes divided by
    the exposure fitted from rank and delay decide, and `weighted` keeps the edges of raw votes
    with weights of inverse propensity. Unset, raw votes count, as in the paper."""
    prior_votes: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Of `corrected`: votes added to both sides of votes / expected votes (the posterior mean under
    a Gamma prior), so that one vote at a tenth of the exposure does not count for ten."""
    most: float = Field(default=10.0, ge=1)
    """Exposures within a thread differ by this factor at most, a clip of rare large weights."""


@dataclass(slots=True)
class ExposureCounts:
    """Votes for an answer of one cell beside one of another in the same thread, over threads."""

    votes: Counter[tuple[int, int]] = field(default_factory=Counter)
    threads: int = 0

    def add(self, thread: Thread) -> None:
        """Count a thread, if its answers have dates and votes."""
        answers = thread.answers
        cells = cells_of(answers, thread.prompt[-1])
        gained = [max(p.votes, 0) if p.up is None else p.up for p in answers]
        total = sum(gained)
        if cells is None or total == 0 or len(set(cells)) < 2:
            return
        self.threads += 1
        scale = min(1.0, VOTES_OF_A_THREAD / total) / (len(answers) - 1)
        size = Counter(cells)
        votes: Counter[int] = Counter()
        for cell, count in zip(cells, gained, strict=True):
            votes[cell] += count
        for a, votes_a in votes.items():
            for b, count_b in size.items():
                if a != b and votes_a:
                    self.votes[a, b] += round(votes_a * count_b * scale * UNIT)

    def merge(self, other: "ExposureCounts") -> None:
        """Add the counts of another shard."""
        self.votes.update(other.votes)
        self.threads += other.threads

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, in an order of its own."""
        votes = [[a, b, count] for (a, b), count in sorted(self.votes.items())]
        return {"threads": self.threads, "votes": votes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(Counter({(a, b): count for a, b, count in values["votes"]}), values["threads"])


@dataclass(frozen=True, slots=True)
class ExposureModel:
    """Log exposure by order of arrival and by delay, the first step of each being 0."""

    by_rank: tuple[float, ...] = (0.0,) * len(RANKS)
    by_delay: tuple[float, ...] = (0.0,) * len(DELAYS)

    def exposures(self, answers: Sequence[Post], asked: Post) -> tuple[float, ...] | None:
        """How much each answer was seen, the most seen being 1; None if a date is missing."""
        cells = cells_of(answers, asked)
        if cells is None:
            return None
        steps = [divmod(cell, len(DELAYS)) for cell in cells]
        logs = np.array([self.by_rank[rank] + self.by_delay[delay] for rank, delay in steps])
        return tuple(np.exp(logs - logs.max()).tolist())

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: relative exposures by the first rank and the first second of a step."""
        return {
            "log_by_rank": {str(k): v for k, v in zip(RANKS, self.by_rank, strict=True)},
            "log_by_delay_seconds": {str(k): v for k, v in zip(DELAYS, self.by_delay, strict=True)},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        ranks, delays = values["log_by_rank"], values["log_by_delay_seconds"]
        return cls(tuple(ranks[str(k)] for k in RANKS), tuple(delays[str(k)] for k in DELAYS))


def fit_exposure(counts: ExposureCounts) -> ExposureModel:
    """The steps that maximise the sum over cells a, b of votes[a, b] log(e_a / (e_a + e_b)).

    Newton's method; the loss is convex, and by the prior a step that nobody reached is as high as
    the one before it.
    Raises nothing: with no votes the exposures are equal.
    """
    table = np.zeros((len(RANKS) * len(DELAYS),) * 2)
    for (a, b), count in sorted(counts.votes.items()):
        table[a, b] = count / UNIT
    first, second = np.nonzero(np.triu(table + table.T))
    won, both = table[first, second], table[first, second] + table[second, first]
    steps = np.zeros((len(table), len(RANKS) + len(DELAYS)))
    for cell in range(len(table)):
        rank, delay = divmod(cell, len(DELAYS))
        steps[cell, : rank + 1] = 1.0  # the rise at each step up to its own
        steps[cell, len(RANKS) : len(RANKS) + delay + 1] = 1.0
    free = [n for n in range(steps.shape[1]) if n not in (0, len(RANKS))]
    columns = (steps[first] - steps[second])[:, free]
    found = np.zeros(len(free))

    def loss(at: NDArray[np.float64]) -> float:
        ahead = columns @ at
        return float((both * np.logaddexp(0, ahead) - won * ahead).sum() + PRIOR / 2 * at @ at)

    for _ in range(50):
        chance = 1 / (1 + np.exp(-(columns @ found)))
        slope = columns.T @ (both * chance - won) + PRIOR * found
        curve = (columns * (both * chance * (1 - chance))[:, None]).T @ columns
        move = np.linalg.solve(curve + PRIOR * np.eye(len(found)), slope)
        while loss(found - move) > loss(found) and np.abs(move).max() > 1e-9:
            move = move / 2
        found = found - move
        if np.abs(move).max() < 1e-9:
            break
    whole = np.zeros(steps.shape[1])
    whole[free] = found
    # Rounded, so that the last bit of a sum does not show in the manifest.
    by_rank, by_delay = (
        tuple(round(float(value), 6) for value in np.cumsum(rises))
        for rises in (whole[: len(RANKS)], whole[len(RANKS) :])
    )
    return ExposureModel(by_rank, by_delay)


def corrected_scores(
    votes: Sequence[float], exposures: Sequence[float], settings: ExposureSettings
) -> list[float]:
    """Net votes as they would be had all answers been seen alike.

    At equal quality the V up-votes of K answers would be shared by exposure, E_i = V e_i / sum(e).
    The answer's quality relative to that is (votes_i + c) / (E_i + c), the posterior mean under a
    Gamma(c, c) prior (the empirical-Bayes standardised rate of Clayton and Kaldor, Biometrics
    1987), c = `prior_votes`. Back in votes, (V/K + c) times that, less c: where exposures are
    equal, exactly the votes.
    """
    seen = clipped(exposures, settings)
    c, total, whole = settings.prior_votes, sum(max(v, 0) for v in votes), sum(seen)
    fair = total / len(votes) + c
    return [(v + c) * fair / (total * e / whole + c) - c for v, e in zip(votes, seen, strict=True)]


def inverse_propensity(winner: int, loser: int, seen: Sequence[float]) -> float:
    """The weight of an edge of raw votes, 2 e_loser / (e_winner + e_loser), between 0 and 2.

    A vote falls on one of two answers with odds e_a q_a : e_b q_b. Weighing what a won by 1 / e_a
    and what b won by 1 / e_b makes the odds q_a : q_b (Joachims et al. 2017); dividing by the
    pair's mean of 1 / e, the same for both, keeps weights near 1.
    """
    return 2 * seen[loser] / (seen[winner] + seen[loser])


def clipped(exposures: Sequence[float], settings: ExposureSettings) -> list[float]:
    """Exposures of a thread's answers that differ by `most` times at most."""
    least = max(exposures) / settings.most
    return [max(e, least) for e in exposures]


def cells_of(answers: Sequence[Post], asked: Post) -> list[int] | None:
    """The step of rank and delay of each answer, as one number; None if a date is missing."""
    times = [time_of(post) for post in answers]
    known = [time for time in times if time is not None]
    start = time_of(asked)
    if len(known) < len(times) or not known:
        return None
    start = min(known) if start is None else start
    order = sorted(range(len(known)), key=lambda i: (known[i], i))
    cells = [0] * len(known)
    for place, index in enumerate(order, start=1):
        delay = max(known[index] - start, 0.0)
        rank_step = bisect_right(RANKS, place) - 1
        cells[index] = rank_step * len(DELAYS) + bisect_right(DELAYS, delay) - 1
    return cells


def time_of(post: Post) -> float | None:
    """Seconds since 1970 of a post's `created` (ISO 8601, without a zone UTC), or None."""
    if post.created is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(post.created)
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    return found.timestamp()
