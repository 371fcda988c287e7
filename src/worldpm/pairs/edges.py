"""Which of a thread's answers beats which, by how much and with which weight.

    rated = rate(answers, asked, settings, model)      # scores, dates, exposures
    rated.edge(0, 3)                                   # Edge(winner=3, loser=0, margin=2.0)
    rated.edge(0, 1)                                   # Refusal.MARGIN_TOO_SMALL

A pair makes an edge, or is refused at the first of the checks that it fails; the order of
`Refusal` is that of the checks, so that a thread without an edge is named after its best pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations

from worldpm.pairs.exposure import (
    ExposureModel,
    clipped,
    corrected_scores,
    inverse_propensity,
    time_of,
)
from worldpm.pairs.settings import PairSettings
from worldpm.pairs.votes import probability_higher
from worldpm.records import Edge, Post


class Refusal(IntEnum):
    """Why two answers make no edge, in the order of the checks; `reason` is the ledger's word."""

    UNDATED = 0
    EQUAL = 1
    MARGIN_TOO_SMALL = 2
    MARGIN_TOO_LARGE = 3
    WINNER_OLDER = 4
    UNCERTAIN = 5

    @property
    def reason(self) -> str:
        """The reason under which a thread is dropped that has no better pair than this."""
        return _REASONS[self]


_REASONS = {
    Refusal.UNDATED: "answers_without_dates",
    Refusal.EQUAL: "all_scores_equal",
    Refusal.MARGIN_TOO_SMALL: "all_margins_too_small",
    Refusal.MARGIN_TOO_LARGE: "all_margins_too_large",
    Refusal.WINNER_OLDER: "all_winners_older",
    Refusal.UNCERTAIN: "all_votes_uncertain",
}


@dataclass(frozen=True, slots=True)
class Rated:
    """A thread's answers with what decides between them; `edge` takes their numbers."""

    answers: tuple[Post, ...]
    scores: tuple[float, ...]
    times: tuple[float | None, ...] | None
    exposures: tuple[float, ...] | None
    settings: PairSettings

    def edge(self, a: int, b: int) -> Edge | Refusal:
        """The edge between answers number a and b, or why there is none."""
        settings, rule = self.settings, self.settings.exposure.rule
        winner, loser = (a, b) if self.scores[a] > self.scores[b] else (b, a)
        # Beyond the ninth decimal a difference is one of rounding: corrected scores are quotients.
        margin = round(self.scores[winner] - self.scores[loser], 9)
        if self.times is not None and None in (self.times[a], self.times[b]):
            return Refusal.UNDATED
        if margin == 0:
            return Refusal.EQUAL
        if margin < settings.min_margin:
            return Refusal.MARGIN_TOO_SMALL
        if settings.max_margin is not None and margin > settings.max_margin:
            return Refusal.MARGIN_TOO_LARGE
        if rule == "no_older":
            assert self.times is not None
            won, lost = self.times[winner], self.times[loser]
            assert won is not None
            assert lost is not None
            if won < lost:
                return Refusal.WINNER_OLDER
        weight = 1.0
        if settings.certainty and (sure := _certainty(self.answers[winner], self.answers[loser])):
            if sure < 0:
                return Refusal.UNCERTAIN
            weight *= sure
        if rule == "weighted":
            assert self.exposures is not None
            weight *= inverse_propensity(winner, loser, self.exposures)
        return Edge(winner, loser, margin=float(margin), weight=weight)

    def first_edge(self, order: Sequence[int]) -> Edge | Refusal:
        """The first edge among the answers in this order, or the last check that a pair reached."""
        if self.times is None:  # most threads without an edge are all at one score: look no further
            spread = round(max(self.scores) - min(self.scores), 9)
            if spread < self.settings.min_margin:
                return Refusal.MARGIN_TOO_SMALL if spread else Refusal.EQUAL
        furthest = Refusal.UNDATED
        for later, b in enumerate(order):
            for a in order[:later]:
                found = self.edge(a, b)
                if isinstance(found, Edge):
                    return found
                furthest = max(furthest, found)
        return furthest

    def edges(self, kept: Sequence[int]) -> list[Edge]:
        """All edges among the answers of these numbers, still by number in the thread."""
        # Of two at one score there is none: most pairs of a site with few votes, told at once.
        scores = self.scores
        found = [self.edge(a, b) for a, b in combinations(kept, 2) if scores[a] != scores[b]]
        return [edge for edge in found if isinstance(edge, Edge)]


def rate(
    answers: tuple[Post, ...], asked: Post, settings: PairSettings, model: ExposureModel | None
) -> Rated:
    """Score the answers to `asked`; `model` is needed by the exposure rules that are fitted."""
    rule = settings.exposure.rule
    votes: list[float] = [post.votes for post in answers]
    times = None if rule is None else tuple(time_of(post) for post in answers)
    exposures = None
    if rule in ("corrected", "weighted"):
        assert model is not None, f"exposure.rule {rule} needs the findings of a first pass"
        seen = model.exposures(answers, asked)
        if seen is None:  # an order of arrival among some of the answers is none
            times = (None,) * len(answers)
        else:
            exposures = tuple(clipped(seen, settings.exposure))
            if rule == "corrected":
                votes = corrected_scores(votes, exposures, settings.exposure)
    bonus = settings.accepted_bonus
    scores = tuple(v + bonus * post.accepted for v, post in zip(votes, answers, strict=True))
    return Rated(answers, scores, times, exposures, settings)


def _certainty(winner: Post, loser: Post) -> float | None:
    """2 P - 1, P the probability that the winner's up-rate is higher; -1 where that is not over 0.

    At equal scores of a model, the soft label P and a hard label that weighs 2 P - 1 have the same
    gradient. None where votes are not known apart.
    """
    if winner.up is None or winner.down is None or loser.up is None or loser.down is None:
        return None
    sure = 2 * probability_higher(
        up_a=winner.up, down_a=winner.down, up_b=loser.up, down_b=loser.down
    ) - 1  # fmt: skip
    return sure if sure > 1e-9 else -1.0
