"""Cheaper scores beside exact ones on known edges: how many change sides, what the loss becomes.

    compare_precision(comparisons, exact, cheap) -> PrecisionReport; its check() is the gate

An edge is *decided* where the exact scores of its two replies differ, and *flipped* where the
cheap ones no longer agree about which is higher; a tie made of a decided edge is a flip.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldpm.errors import GateError, WorldPMError
from worldpm.evals.metrics import Scores, check_scores, edge_loss, edge_table
from worldpm.evals.resampling import Interval, wilson_interval
from worldpm.records import Comparison

MAX_FLIPPED = 0.005
MAX_LOSS_RISE_NATS = 0.005


@dataclass(frozen=True, slots=True)
class Flip:
    """A decided edge whose sides changed; differences are the winner's score less the loser's."""

    id: str
    winner: int
    loser: int
    exact: float
    cheap: float


@dataclass(frozen=True, slots=True)
class PrecisionReport:
    """What the cheaper scores cost; losses are means over the edges in nats."""

    num_edges: int
    num_decided: int
    flips: tuple[Flip, ...]
    exact_loss_nats: float
    cheap_loss_nats: float
    largest_difference: float

    @property
    def flipped(self) -> float:
        """The share of decided edges that flipped."""
        return len(self.flips) / self.num_decided

    @property
    def flipped_interval(self) -> Interval:
        """Wilson's 95 % interval of `flipped`."""
        return wilson_interval(len(self.flips), self.num_decided)

    @property
    def loss_rise_nats(self) -> float:
        """How much the mean Bradley-Terry loss rose; below zero where it fell."""
        return self.cheap_loss_nats - self.exact_loss_nats

    @property
    def passed(self) -> bool:
        """Whether it flips fewer than MAX_FLIPPED and costs less than MAX_LOSS_RISE_NATS."""
        return self.flipped < MAX_FLIPPED and self.loss_rise_nats < MAX_LOSS_RISE_NATS

    def lines(self, most: int = 20) -> list[str]:
        """The report for people, the first `most` flipped edges by name."""
        low, high = self.flipped_interval
        text = [
            f"flipped {len(self.flips)} of {self.num_decided:,} decided edges, "
            f"{self.flipped:.2%} ({low:.2%} to {high:.2%}; fewer than {MAX_FLIPPED:.1%} asked for)",
            f"loss {self.exact_loss_nats:.5f} -> {self.cheap_loss_nats:.5f} nats, "
            f"{self.loss_rise_nats:+.5f} (less than {MAX_LOSS_RISE_NATS:+.3f} asked for)",
            f"largest difference of a score {self.largest_difference:.4f}",
        ]
        text += [
            f"  {flip.id}: reply {flip.winner} over {flip.loser}: "
            f"{flip.exact:+.4f} -> {flip.cheap:+.4f}"
            for flip in self.flips[:most]
        ]
        left = len(self.flips) - most
        return [*text, f"  and {left:,} more"] if left > 0 else text

    def check(self) -> None:
        """GateError unless `passed`."""
        if not self.passed:
            raise GateError(
                f"refused: {self.flipped:.2%} of decided edges flip and the loss changes by "
                f"{self.loss_rise_nats:+.5f} nats; score with another --dtype"
            )


def compare_precision(
    comparisons: Sequence[Comparison], exact: Scores, cheap: Scores
) -> PrecisionReport:
    """How the `cheap` scores stand to the `exact` ones, both a list for each comparison.

    Raises WorldPMError as `check_scores`, and where no edge is decided.
    """
    tables = [edge_table(comparisons, scores) for scores in (exact, cheap)]
    before, after = (table.difference for table in tables)
    decided = before != 0
    if not decided.any():
        raise WorldPMError(
            "no comparison has a known edge that the exact scores decide, so a cheaper precision "
            "cannot be measured; give comparisons with better and worse replies"
        )
    edges = [(comparison.id, edge) for comparison in comparisons for edge in comparison.better]
    changed = decided & (np.sign(before) != np.sign(after))
    flips = tuple(
        Flip(edges[i][0], edges[i][1].winner, edges[i][1].loser, before[i], after[i])
        for i in np.flatnonzero(changed).tolist()
    )
    pairs = zip(check_scores(comparisons, exact), check_scores(comparisons, cheap), strict=True)
    return PrecisionReport(
        len(edges),
        int(decided.sum()),
        flips,
        float(edge_loss(before).mean()),
        float(edge_loss(after).mean()),
        max(float(np.abs(a - b).max()) for a, b in pairs),
    )
