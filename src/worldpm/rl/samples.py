"""A trainer's samples, each a prompt and a completion -> a reward each, in their order.

    rewards(score, [(prompt, first), (prompt, second), (other, third)])     [0.81, -1.32, 0.2]

All completions of one prompt become one comparison, which a model computes as one tree, wherever
they stand among the others.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from worldpm.calls import finite
from worldpm.errors import ConfigError, DataError, ServiceError, WorldPMError
from worldpm.records import Comparison, Conversation, ScoreFn
from worldpm.rl.remote import remote
from worldpm.rows import read_conversation

Sample = tuple[Conversation, Conversation]
OnError = Literal["raise", "abstain"]
T = TypeVar("T")
LOG = logging.getLogger("worldpm.rl")


def score_fn(source: str | Sequence[str] | ScoreFn | None) -> ScoreFn:
    """The function that is meant: itself, or one that asks the server of these addresses."""
    return source if callable(source) else remote(source)


def as_sample(prompt: object, completion: object, where: str) -> Sample:
    """Text or messages as a prompt and a completion; DataError names `where`."""
    asked = read_conversation(prompt, "prompt", where=where, role="user")
    reply = read_conversation(completion, "completion", where=where, role="assistant")
    if not reply or reply[-1].role != "assistant":
        raise DataError(f"{where}: completion: its last message must be the assistant's")
    return asked, reply


def rewards(score: ScoreFn, samples: Sequence[Sample]) -> list[float]:
    """A score for each sample; raises what `score` raises, and ServiceError for no number."""
    comparisons, places = group(samples)
    return _spread(_rows(score, comparisons), places, len(samples))


def rewards_or_none(score: ScoreFn, samples: Sequence[Sample]) -> list[float | None]:
    """The same with None for the samples of a prompt that could not be scored, which is logged."""
    comparisons, places = group(samples)
    rows: list[list[float] | list[None]] = []
    try:
        rows += _rows(score, comparisons)
    except ServiceError as error:  # asking for each alone would not help
        warn(error, len(samples))
        return [None] * len(samples)
    except WorldPMError:
        for comparison in comparisons:
            try:
                rows += _rows(score, [comparison])
            except WorldPMError as error:
                warn(error, len(comparison.replies))
                rows.append([None] * len(comparison.replies))
    return _spread(rows, places, len(samples))


def either(on_error: OnError) -> Callable[[ScoreFn, Sequence[Sample]], list[float | None]]:
    """The one of the two functions above that is meant."""
    if on_error not in ("raise", "abstain"):
        raise ConfigError(f"on_error {on_error!r} is neither 'raise' nor 'abstain'")
    return rewards_or_none if on_error == "abstain" else lambda s, samples: [*rewards(s, samples)]


def group(samples: Sequence[Sample]) -> tuple[list[Comparison], list[list[int]]]:
    """(a comparison for each different prompt, the samples that its replies are)."""
    found: dict[Conversation, list[int]] = {}
    for i, (prompt, _) in enumerate(samples):
        found.setdefault(prompt, []).append(i)
    comparisons = [
        Comparison(f"sample {places[0]}", "rl", None, prompt, tuple(samples[i][1] for i in places))
        for prompt, places in found.items()
    ]
    return comparisons, list(found.values())


def _rows(score: ScoreFn, comparisons: Sequence[Comparison]) -> list[list[float]]:
    rows = score(comparisons)
    try:
        if len(rows) != len(comparisons):
            raise ValueError(f"{len(rows)} rows of scores for {len(comparisons)} prompts")
        return [
            finite(list(row), len(each.replies))
            for row, each in zip(rows, comparisons, strict=True)
        ]
    except ValueError as error:
        raise ServiceError(f"the score function gave no rewards: {error}") from None


def _spread(rows: Sequence[Sequence[T]], places: Sequence[Sequence[int]], count: int) -> list[T]:
    found: dict[int, T] = {}
    for row, own in zip(rows, places, strict=True):
        found.update(zip(own, row, strict=True))
    return [found[i] for i in range(count)]


def warn(error: WorldPMError, count: int) -> None:
    """Log that so many samples have no reward, and why."""
    LOG.warning("%d samples without a reward: %s", count, error)
