"""Comparisons and a reward model's scores -> the edges whose margin by the model is as asked.

    for kept in rm_filter(comparisons, score, FilterSettings()): ...     # where the model agrees
    rm_filter(comparisons, score, FilterSettings(low=0.7, high=1.6))     # a bucket of the paper's

The margin is score(winner) - score(loser), in log-odds units. Mind what the paper found (appendix
D, Tables 10 to 12; WorldPM 7B): dropping the edges that a 72B reward model disagrees with moved
RewardBench from 69.0 to 85.4 on Quora, and from 84.4 to 84.9 on Stack Exchange. Trained on the
dropped edges alone, a model scored 20.3 and 15.8, the mirror of 79.7 and 84.2: they hold the same
structure in the other direction. A filter makes the set agree with its model rather than cleaner,
and the authors did not use it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from pydantic import ConfigDict

from worldpm.config import Settings
from worldpm.records import Comparison, ScoreFn

REASON = "filtered_by_model"
COMPARISONS_AT_ONCE = 256


class FilterSettings(Settings):
    """Which margins of the model of `--filter-with` an edge may have: low < margin <= high."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    low: float | None = 0.0
    """Log-odds units; 0 keeps what the model agrees with, -inf is no bound. In the paper (Table 12)
    models trained on 0 to 0.7, 0.7 to 1.6, 1.6 to 2.8 and 2.8 to 10 were alike (RewardBench 84.5,
    84.3, 85.7, 85.4), and those trained below 0 were their mirror (20.3, 15.8)."""
    high: float | None = None
    """Unset, no bound."""


def rm_filter(
    comparisons: Iterable[Comparison], score: ScoreFn, settings: FilterSettings
) -> Iterator[Comparison]:
    """Yield each comparison with the edges of low < margin <= high, maybe none; replies stay."""
    rest = iter(comparisons)
    while chunk := list(islice(rest, COMPARISONS_AT_ONCE)):
        for comparison, scores in zip(chunk, score(chunk), strict=True):
            assert len(scores) == len(comparison.replies)
            kept = tuple(
                edge
                for edge in comparison.better
                if _within(scores[edge.winner] - scores[edge.loser], settings)
            )
            yield replace(comparison, better=kept)


def _within(margin: float, settings: FilterSettings) -> bool:
    low, high = settings.low, settings.high
    return (low is None or low < margin) and (high is None or margin <= high)
