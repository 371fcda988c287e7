"""Comparisons -> training examples: token trees with their edges, and counts of what was left out.

DATA folders, part -> load_examples -> [Example], Counter of reasons
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldpm.errors import CheckpointError, DataError
from worldpm.records import Comparison, Edge
from worldpm.store import read_artifact, read_manifest
from worldpm.surface import FEATURES, PAPER, leads, relative, style_counts
from worldpm.tokens.encode import Encoder
from worldpm.tokens.tree import TokenTree, build_tree
from worldpm.train.loss import edge_weights
from worldpm.train.recipe import DataSettings


@dataclass(frozen=True, slots=True)
class Example:
    """One comparison ready to train on; `pairs` is what it counts in a batch."""

    source: str
    tree: TokenTree
    winners: tuple[int, ...]
    losers: tuple[int, ...]
    edge_weights: tuple[float, ...]
    margins: tuple[float, ...]  # in the source's units; 0 where it gives none
    pairs: float
    ratings: tuple[tuple[float, ...], ...] = ()  # (replies, attributes), NaN where missing
    id: str = ""  # the comparison's, to name it in messages
    style: tuple[tuple[float, float], ...] = ()  # (edges, 2): the winner's lead in length and marks


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of several examples, their replies numbered through the batch."""

    winners: Tensor  # (E,) int64
    losers: Tensor  # (E,) int64
    weights: Tensor  # (E,) float32
    margins: Tensor  # (E,) float32
    shares: Tensor  # (E,) float32: weights without those that the edges came with


def join_edges(examples: Sequence[Example]) -> Edges:
    """The edges of `examples` as they stand in one collated batch."""
    winners: list[int] = []
    losers: list[int] = []
    weights: list[float] = []
    margins: list[float] = []
    shares: list[float] = []
    first = 0
    for example in examples:
        winners += [first + index for index in example.winners]
        losers += [first + index for index in example.losers]
        weights += example.edge_weights
        margins += example.margins
        count = len(example.winners)
        shares += [example.pairs / max(1, count)] * count
        first += len(example.tree.leaves)
    numbers = (torch.tensor(each, dtype=torch.int64) for each in (winners, losers))
    return Edges(*numbers, *map(torch.tensor, (weights, margins, shares)))


def load_examples(
    folders: Sequence[Path],
    part: str,
    encoder: Encoder,
    settings: DataSettings,
    attributes: Sequence[str] = (),
) -> tuple[list[Example], Counter[str]]:
    """Read one part of every artefact folder that has it, and encode it.

    A reply whose conversation is over `max_tokens` is left out, and a comparison that then has no
    edge or is over `max_tree_tokens`; all are counted, none is cut. With `attributes` to fit, a
    comparison needs a rating of one of them, and no edge. DataError if nothing remains.
    """
    sets, dropped = load_sets(folders, part, encoder, settings, attributes, with_style=False)
    return [example for own in sets.values() for example in own], dropped


def load_sets(
    folders: Sequence[Path],
    part: str,
    encoder: Encoder,
    settings: DataSettings,
    attributes: Sequence[str] = (),
    *,
    with_style: bool = True,
) -> tuple[dict[str, list[Example]], Counter[str]]:
    """As `load_examples`, by the name of the folder, and each example with its style counted.

    Folders of one name are told apart by their place in the list ("hh", "hh-2").
    """
    sets: dict[str, list[Example]] = {}
    dropped: Counter[str] = Counter()
    for place, folder in enumerate(folders):
        name = folder.resolve().name
        if part not in read_manifest(folder)["counts"]:
            dropped[f"{folder.name}_has_no_{part}"] += 1
            continue
        comparisons = read_artifact(folder, Comparison, part)
        found = make_examples(comparisons, encoder, settings, dropped, attributes, with_style)
        sets[name if name not in sets else f"{name}-{place + 1}"] = list(found)
    sets = {name: own for name, own in sets.items() if own}
    if not sets:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items()) or "none were there"
        raise DataError(f"no comparisons to use in part {part!r} of the data: {reasons}")
    return sets, dropped


def make_examples(
    comparisons: Iterable[Comparison],
    encoder: Encoder,
    settings: DataSettings,
    dropped: Counter[str],
    attributes: Sequence[str] = (),
    with_style: bool = False,
) -> Iterable[Example]:
    """Encode comparisons one by one, counting in `dropped` the replies and comparisons left out.

    Style is counted on request: it takes about as long as the tokens do.
    Raises DataError naming the comparison for what the encoder cannot read.
    """
    for comparison in comparisons:
        sequences = _encoded(comparison, encoder, dropped)
        kept = [i for i, ids in sequences.items() if len(ids) <= settings.max_tokens]
        if len(kept) < len(sequences):
            dropped["reply_over_max_tokens"] += len(sequences) - len(kept)
        place = {reply: index for index, reply in enumerate(kept)}
        edges = [e for e in comparison.better if e.winner in place and e.loser in place]
        ratings = tuple(_ratings(comparison, reply, attributes) for reply in kept)
        if attributes:
            if not any(value == value for own in ratings for value in own):
                dropped["no_rating_of_kept_replies"] += 1
                continue
        elif not edges:
            reason = "no_edge_between_kept_replies" if comparison.better else "no_edge"
            dropped[reason] += 1
            continue
        tree = build_tree([sequences[reply] for reply in kept])
        if tree.tokens.size > settings.max_tree_tokens:
            dropped["tree_over_max_tree_tokens"] += 1
            continue
        counted = max(1, len(edges))  # ratings without an edge count as one pair would
        (per_edge,), (pairs,) = edge_weights([counted], [len(kept)], settings.weighting)
        yield Example(
            source=comparison.source,
            tree=tree,
            winners=tuple(place[edge.winner] for edge in edges),
            losers=tuple(place[edge.loser] for edge in edges),
            edge_weights=tuple(per_edge * edge.weight for edge in edges),
            margins=tuple(max(edge.margin or 0.0, 0.0) for edge in edges),
            pairs=pairs or 1.0,  # a single rated reply has no other to be compared with
            ratings=ratings if attributes else (),
            id=comparison.id,
            style=_style(comparison, edges) if with_style else (),
        )


def check_tokens(examples: Iterable[Example], vocab_size: int, base: Path) -> None:
    """CheckpointError for a token that the base has no embedding of."""
    for example in examples:
        largest = int(example.tree.tokens.max())
        if largest >= vocab_size:
            raise CheckpointError(
                f"{base}: the tokenizer makes the id {largest:,} of {example.source} {example.id}, "
                f"and there are {vocab_size:,} embeddings; the tokenizer is of another model"
            )


def _style(comparison: Comparison, edges: Sequence[Edge]) -> tuple[tuple[float, float], ...]:
    """The leads of the winners in length and in marks, relative, as evaluation counts them."""
    counts = style_counts(comparison.replies, {name: FEATURES[name] for name in PAPER})
    found = leads(relative(edges, counts), PAPER)
    return tuple(zip(found["length"].tolist(), found["marks"].tolist(), strict=True))


def _ratings(comparison: Comparison, reply: int, attributes: Sequence[str]) -> tuple[float, ...]:
    """What `meta["replies"][reply]["ratings"]` has of the attributes, NaN for what it lacks."""
    replies = comparison.meta.get("replies")
    known: Any = None
    if (
        isinstance(replies, Sequence)
        and reply < len(replies)
        and isinstance(replies[reply], Mapping)
    ):
        known = replies[reply].get("ratings")
    if not isinstance(known, Mapping):
        return (math.nan,) * len(attributes)
    found = (known.get(name) for name in attributes)
    return tuple(float(v) if isinstance(v, int | float) else math.nan for v in found)


def _encoded(
    comparison: Comparison, encoder: Encoder, dropped: Counter[str]
) -> dict[int, list[int]]:
    """Token ids by reply, without those that are too long for the encoder, which are counted."""
    conversations = dict(enumerate(comparison.conversations()))
    for reply, messages in list(conversations.items()):
        if sum(len(message.content) for message in messages) > encoder.max_chars:
            dropped["conversation_too_long"] += 1
            del conversations[reply]
    try:
        sequences = encoder.encode_batch(list(conversations.values()))
    except DataError as error:
        raise DataError(f"{comparison.source} {comparison.id}: {error}") from None
    return dict(zip(conversations, sequences, strict=True))
