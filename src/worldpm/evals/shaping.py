"""The pieces that every suite builds its comparisons from.

    id, two texts, the winner      ->  pair(...)  ->  Comparison of two replies
    id, correct texts, wrong texts ->  group(...) ->  Comparison of K, each correct over each wrong

Where authors always put the better reply first, a hash of the row's id decides the order here, so
that no score function can win by position, and the order is the same on every machine.

>>> pair("1", "example", "a", user("Hi?"), ("Hello.", "No."), 0, {}, swap=False).better
(Edge(winner=0, loser=1, margin=None, weight=1.0),)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from worldpm.records import Comparison, Conversation, Edge, Message

EQUAL = "equal replies"
TIE = "labelled a tie"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that cannot become a comparison, and why; a suite yields it where the row stood."""

    reason: str


def user(text: str) -> Conversation:
    """A prompt of one turn."""
    return (Message("user", text),)


def assistant(text: str) -> Conversation:
    """A reply of one turn."""
    return (Message("assistant", text),)


def heads(identifier: str) -> bool:
    """A fair coin that is the same on every machine and in every run."""
    return bool(hashlib.sha256(identifier.encode()).digest()[0] & 1)


def shuffled(identifier: str, size: int) -> list[int]:
    """A permutation of 0 .. size - 1 drawn by the hash of the id."""
    return sorted(range(size), key=lambda i: hashlib.sha256(f"{identifier}#{i}".encode()).digest())


def pair(
    identifier: str,
    source: str,
    subset: str,
    prompt: Conversation,
    texts: tuple[str, str],
    winner: Literal[0, 1] | None,
    meta: dict[str, Any],
    *,
    swap: bool,
) -> Comparison:
    """A comparison of two replies; with `swap`, in the order that the hash of the id gives.

    Two equal replies are a tie whatever the label says, and `winner=None` is a tie by the label:
    they get no edge, and `meta["undecided"]` says which of the two it is.
    """
    if swap and heads(identifier):
        texts = (texts[1], texts[0])
        winner = None if winner is None else (0 if winner else 1)
    better: tuple[Edge, ...] = ()
    if texts[0] == texts[1]:
        meta = {**meta, "undecided": EQUAL}
    elif winner is None:
        meta = {**meta, "undecided": TIE}
    else:
        better = (Edge(winner, 1 - winner),)
    replies = tuple(assistant(text) for text in texts)
    return Comparison(identifier, source, subset, prompt, replies, better, meta)


def group(
    identifier: str,
    source: str,
    subset: str,
    prompt: Conversation,
    correct: Sequence[str],
    wrong: Sequence[str],
    meta: dict[str, Any],
) -> Comparison:
    """A comparison of K replies, shuffled by the hash: an edge from each correct to each wrong one.

    `meta["correct"]` lists the places of the correct replies. A correct and a wrong reply with the
    same text get no edge and are counted as `meta["equal_pairs"]`; where no edge is left,
    `meta["undecided"]` says so.
    """
    texts = [*correct, *wrong]
    order = shuffled(identifier, len(texts))
    right = [place for place, source_index in enumerate(order) if source_index < len(correct)]
    placed = [texts[index] for index in order]
    every = [(i, j) for i in right for j in range(len(placed)) if j not in right]
    better = tuple(Edge(i, j) for i, j in every if placed[i] != placed[j])
    meta = {**meta, "correct": right}
    if len(better) < len(every):
        meta["equal_pairs"] = len(every) - len(better)
    if not better:
        meta["undecided"] = EQUAL
    replies = tuple(assistant(text) for text in placed)
    return Comparison(identifier, source, subset, prompt, replies, better, meta)
