"""Comparisons -> training examples: token trees with their edges, and counts of what was left out.

DATA folders, part -> load_examples -> [Example], Counter of reasons
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worldpm.errors import DataError
from worldpm.records import Comparison
from worldpm.store import read_artifact, read_manifest
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


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of several examples, their replies numbered through the batch."""

    winners: Tensor  # (E,) int64
    losers: Tensor  # (E,) int64
    weights: Tensor  # (E,) float32
    margins: Tensor  # (E,) float32


def join_edges(examples: Sequence[Example]) -> Edges:
    """The edges of `examples` as they stand in one collated batch."""
    winners: list[int] = []
    losers: list[int] = []
    weights: list[float] = []
    margins: list[float] = []
    first = 0
    for example in examples:
        winners += [first + index for index in example.winners]
        losers += [first + index for index in example.losers]
        weights += example.edge_weights
        margins += example.margins
        first += len(example.tree.leaves)
    return Edges(*map(torch.tensor, (winners, losers, weights, margins)))


def load_examples(
    folders: Sequence[Path], part: str, encoder: Encoder, settings: DataSettings
) -> tuple[list[Example], Counter[str]]:
    """Read one part of every artefact folder that has it, and encode it.

    A reply whose conversation is over `max_tokens` is left out, and a comparison that then has no
    edge or is over `max_tree_tokens`; all are counted, none is cut. DataError if nothing remains.
    """
    examples: list[Example] = []
    dropped: Counter[str] = Counter()
    for folder in folders:
        if part not in read_manifest(folder)["counts"]:
            dropped[f"{folder.name}_has_no_{part}"] += 1
            continue
        comparisons = read_artifact(folder, Comparison, part)
        examples += make_examples(comparisons, encoder, settings, dropped)
    if not examples:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items()) or "none were there"
        raise DataError(f"no comparisons to use in part {part!r} of the data: {reasons}")
    return examples, dropped


def make_examples(
    comparisons: Iterable[Comparison],
    encoder: Encoder,
    settings: DataSettings,
    dropped: Counter[str],
) -> Iterable[Example]:
    """Encode comparisons one by one, counting in `dropped` the replies and comparisons left out.

    Raises DataError naming the comparison for what the encoder cannot read.
    """
    for comparison in comparisons:
        sequences = _encoded(comparison, encoder, dropped)
        kept = [i for i, ids in sequences.items() if len(ids) <= settings.max_tokens]
        if len(kept) < len(sequences):
            dropped["reply_over_max_tokens"] += len(sequences) - len(kept)
        place = {reply: index for index, reply in enumerate(kept)}
        edges = [e for e in comparison.better if e.winner in place and e.loser in place]
        if not edges:
            reason = "no_edge_between_kept_replies" if comparison.better else "no_edge"
            dropped[reason] += 1
            continue
        tree = build_tree([sequences[reply] for reply in kept])
        if tree.tokens.size > settings.max_tree_tokens:
            dropped["tree_over_max_tree_tokens"] += 1
            continue
        (per_edge,), (pairs,) = edge_weights([len(edges)], [len(kept)], settings.weighting)
        yield Example(
            source=comparison.source,
            tree=tree,
            winners=tuple(place[edge.winner] for edge in edges),
            losers=tuple(place[edge.loser] for edge in edges),
            edge_weights=tuple(per_edge * edge.weight for edge in edges),
            margins=tuple(max(edge.margin or 0.0, 0.0) for edge in edges),
            pairs=pairs,
        )


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
