"""The same conversations scored alone and in eight other layouts: are the bits the same?

A layout is how conversations meet in the model: batch, order, siblings, threads. With the native
engine none of it may change a bit; torch's float32 moves the last digits.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from worldpm.records import Comparison, Conversation, Message, ScoreFn

Scored = list[float]


@dataclass(frozen=True, slots=True)
class Scoring:
    """A loaded checkpoint: `exact` if its engine promises the same bits in every layout."""

    engine: str
    dtype: str
    exact: bool
    score: ScoreFn


OpenScoring = Callable[[int | None], Scoring]
"""Loads the checkpoint for a number of threads, None for the usual."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout's scores against those of the conversations alone."""

    name: str
    identical: bool
    largest_difference: float


def filler(index: int) -> Conversation:
    """A short conversation to fill batches with, of a length that depends on `index`."""
    return (Message("user", f"Is {index} prime?"), Message("assistant", "No. " * (1 + index % 5)))


def single(conversation: Conversation, index: int = 0) -> Comparison:
    """A conversation as a comparison of one reply."""
    return Comparison(f"golden {index}", "doctor", None, conversation[:-1], (conversation[-1:],))


def score_layouts(
    open_scoring: OpenScoring, conversations: Sequence[Conversation]
) -> tuple[Scoring, Scored, list[Layout]]:
    """(what scored, the conversations' scores alone, the eight other layouts).

    Loads the checkpoint three times, one after the other: as usual, for one thread and for two.
    """
    before = torch.get_num_threads()
    try:
        scoring = open_scoring(None)
        alone = score_alone(scoring.score, conversations)
        found = in_layouts(scoring.score, conversations)
        scoring = Scoring(scoring.engine, scoring.dtype, scoring.exact, _gone)  # frees the weights
        for threads, name in ((1, "one thread"), (2, "two threads")):
            found[name] = score_alone(open_scoring(threads).score, conversations)
    finally:
        torch.set_num_threads(before)
    layouts = [
        Layout(name, scores == alone, max(abs(a - b) for a, b in zip(alone, scores, strict=True)))
        for name, scores in found.items()
    ]
    return scoring, alone, layouts


def _gone(comparisons: Sequence[Comparison]) -> Sequence[Sequence[float]]:
    raise AssertionError("the weights are no longer in memory")


def score_alone(score: ScoreFn, conversations: Sequence[Conversation]) -> Scored:
    """The scores, one call each."""
    return [score([single(each, i)])[0][0] for i, each in enumerate(conversations)]


def in_layouts(score: ScoreFn, conversations: Sequence[Conversation]) -> dict[str, Scored]:
    """The scores in six layouts: batches of 2, 8 and 64, shuffled, reversed, with siblings."""
    count = len(conversations)
    own = [single(each, i) for i, each in enumerate(conversations)]
    others = [single(filler(i), count + i) for i in range(64)]
    pairs = [score([each, other])[0][0] for each, other in zip(own, others, strict=False)]
    eight = [*own, *others[: -count % 8]]
    order = random.Random(0).sample(range(len(eight)), len(eight))
    shuffled = score([eight[i] for i in order])
    return {
        "batches of 2": pairs,
        "batches of 8": _in_batches(score, eight, 8)[:count],
        "batches of 64": _in_batches(score, [*own, *others][:64], 64)[:count],
        "shuffled": [shuffled[order.index(i)][0] for i in range(count)],
        "reversed": _in_batches(score, eight[::-1], 8)[::-1][:count],
        "with siblings": [scores[1] for scores in score([_with_siblings(each) for each in own])],
    }


def _in_batches(score: ScoreFn, comparisons: Sequence[Comparison], size: int) -> Scored:
    starts = range(0, len(comparisons), size)
    return [scores[0] for i in starts for scores in score(comparisons[i : i + size])]


def _with_siblings(comparison: Comparison) -> Comparison:
    """The reply between two others, one of which begins as it does."""
    (reply,) = comparison.replies
    longer = (Message("assistant", f"{reply[0].content} And so on."),)
    return Comparison(
        comparison.id, "doctor", None, comparison.prompt,
        ((Message("assistant", "Yes."),), reply, longer),
    )  # fmt: skip
