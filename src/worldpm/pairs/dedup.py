"""Which threads are the same text, or nearly: clusters, and which of a cluster stays.

    clusters = Clusters(n); clusters.join(0, 7)         # union-find
    choose(members, DedupSettings(), held_out=())       # {row: Twin("near_duplicate", "s:1")}

Two texts are alike by the Jaccard similarity of their sets of three-word runs, estimated by MinHash
(Broder 1997) over 256 permutations; candidates are texts that agree in all eight of one of 32 bands
(locality-sensitive hashing, Leskovec et al., Mining of Massive Datasets, chapter 3). At a
similarity of 0.8 a pair is a candidate with probability 1 - (1 - 0.8^8)^32 = 0.997. Whatever links
two texts links all that they are linked to: a cluster, of which one question is kept.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from worldpm.config import Settings
from worldpm.pairs.shingles import key_hash

Text = Literal["prompt", "whole"]
TEXTS: tuple[Text, ...] = ("prompt", "whole")
NUM_BANDS, BAND_ROWS = 32, 8
NUM_PERMUTATIONS = NUM_BANDS * BAND_ROWS


class DedupSettings(Settings):
    """What is done about threads of the same text, of one source or of several."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    drop: Literal["whole", "prompt", "nothing"] = "whole"
    """Of threads alike in this text one question is kept: of `whole`, the prompt with all its
    answers, so that a question that was asked twice keeps the votes of both; of `prompt`, whatever
    the answers are; of `nothing`, all are. In any case threads alike in prompt or whole never
    straddle splits."""
    threshold: float = Field(default=0.8, ge=0.75, le=1)
    """The Jaccard similarity of three-word runs from which texts are alike; with 1 only the same
    words in the same order are, which takes no signatures."""
    keep: Literal["edges", "hash"] = "edges"
    """Of a cluster the thread with the most edges is kept, and a hash decides among equals; or a
    hash alone decides."""

    @property
    def near(self) -> bool:
        """Whether near duplicates are looked for."""
        return self.threshold < 1


def least_agreement(threshold: float) -> float:
    """The share of equal minima from which a pair is taken: two standard errors below `threshold`.

    So that 97 % of pairs at the threshold pass, and 16 % at 0.05 below it (at 0.8: 0.75).
    """
    return threshold - 2 * math.sqrt(threshold * (1 - threshold) / NUM_PERMUTATIONS)


class Clusters:
    """Union-find over rows 0 to n - 1, in 8 bytes a row; the order of joins changes nothing."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int64)

    def find(self, row: int) -> int:
        """The least row of the cluster."""
        parent = self._parent
        root = row
        while parent[root] != root:
            root = int(parent[root])
        while parent[row] != root:
            parent[row], row = root, int(parent[row])
        return root

    def join(self, a: int, b: int) -> bool:
        """Make one cluster of two; whether they were two."""
        a, b = sorted((self.find(a), self.find(b)))
        self._parent[b] = a
        return a != b

    def join_equal(self, values: NDArray[np.uint64]) -> None:
        """Join all rows of equal values."""
        order = np.argsort(values, kind="stable")
        same = np.flatnonzero(values[order][1:] == values[order][:-1])
        for place in same:
            self.join(int(order[place]), int(order[place + 1]))

    def several(self) -> list[list[int]]:
        """The clusters of more than one row, rows in order."""
        moved = np.flatnonzero(self._parent != np.arange(len(self._parent)))
        found: dict[int, list[int]] = defaultdict(list)
        for row in moved.tolist():
            found[self.find(row)].append(row)
        return [[root, *rows] for root, rows in sorted(found.items())]


@dataclass(frozen=True, slots=True)
class Member:
    """A comparison in a cluster: `row` is its number among all, `question` what it stands below."""

    row: int
    source: str
    id: str
    question: str
    num_edges: int
    text: int
    """The hash of the text by which the cluster is one."""

    @property
    def key(self) -> str:
        """How the ledger names it."""
        return f"{self.source}:{self.id}"


@dataclass(frozen=True, slots=True)
class Twin:
    """Why a comparison is dropped, and for which that is kept."""

    reason: str
    key: str


def choose(
    members: Iterable[Member], settings: DedupSettings, held_out: Sequence[str] = ()
) -> dict[int, Twin]:
    """Of a cluster, the rows to drop: all that are not below the question that is kept.

    A source that is held out goes before others, or what is tested would be what was trained on.
    """
    questions: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for member in members:
        questions[member.source, member.question].append(member)

    def order(question: tuple[str, str]) -> tuple[bool, int, int, tuple[str, str]]:
        edges = sum(each.num_edges for each in questions[question])
        least = -edges if settings.keep == "edges" else 0
        return question[0] not in held_out, least, key_hash(*question), question

    best = min(questions, key=order)
    kept = sorted(questions.pop(best), key=lambda each: (-each.num_edges, each.id))
    texts = {each.text: each.key for each in reversed(kept)}
    found = {}
    for each in (each for rest in questions.values() for each in rest):
        exact = each.text in texts
        reason = "exact_duplicate" if exact else "near_duplicate"
        found[each.row] = Twin(reason, texts.get(each.text, kept[0].key))
    return found


def split_key(questions: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The (source, question) by which a cluster's split is drawn: that of the smallest hash."""
    return min(questions, key=lambda each: (key_hash(*each), each))


def keep_apart(members: Sequence[Member], held_out: Sequence[str]) -> Mapping[int, Twin]:
    """Of a cluster that is of one split, what is like a thread of a held-out source and of another.

    It can be neither trained on nor tested with.
    """
    inside = sorted((each for each in members if each.source in held_out), key=lambda m: m.key)
    if not inside:
        return {}
    return {
        each.row: Twin("near_held_out", inside[0].key)
        for each in members
        if each.source not in held_out
    }
