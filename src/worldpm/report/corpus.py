"""What a set of comparisons is like: counts and distributions, for `show`, the page and the card.

    summarise(sampled(Path("data"), Comparison))  ->  Corpus(sources=..., lengths=..., margins=...)

Distributions are counters, so that memory is bounded by the number of different values and not by
the size of the set. Of a large set a sample is read: row groups at even distances over all files.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from worldpm.errors import DataError
from worldpm.records import Comparison, Conversation, Thread
from worldpm.schema import READERS
from worldpm.store import UNREADABLE, part_files, read_manifest

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
# How many times as long the longer reply of an edge is: at least this much.
LENGTH_RATIOS = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Counts over comparisons; lengths are characters of a reply, margins in the source's units."""

    sources: Mapping[str, Counter[str]] = field(default_factory=dict)
    """Of each source its comparisons, replies and edges."""
    lengths: Counter[int] = field(default_factory=Counter)
    margins: Counter[float] = field(default_factory=Counter)
    weights: Counter[float] = field(default_factory=Counter)
    replies_each: Counter[int] = field(default_factory=Counter)
    votes: Counter[int] = field(default_factory=Counter)
    votes_by_length: Mapping[int, Counter[int]] = field(default_factory=dict)
    """Votes of the replies whose length has that many bits: 8 is 128 to 255 characters."""
    longer_wins: Mapping[float, Counter[bool]] = field(default_factory=dict)
    """By the least ratio of lengths (`LENGTH_RATIOS`), whether the longer reply won."""
    earlier_wins: Counter[bool] = field(default_factory=Counter)
    first_wins: Counter[bool] = field(default_factory=Counter)
    years: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)

    def num(self, what: str) -> int:
        """How many `comparisons`, `replies` or `edges` there are over all sources."""
        return sum(counts[what] for counts in self.sources.values())


def summarise(comparisons: Iterable[Comparison]) -> Corpus:
    """Count everything that `Corpus` holds in one pass."""
    sources: dict[str, Counter[str]] = {}
    by_length: dict[int, Counter[int]] = {}
    longer: dict[float, Counter[bool]] = {ratio: Counter() for ratio in LENGTH_RATIOS}
    found = Corpus(sources=sources, votes_by_length=by_length, longer_wins=longer)
    for comparison in comparisons:
        counts = sources.setdefault(comparison.source, Counter())
        counts["comparisons"] += 1
        counts["replies"] += len(comparison.replies)
        counts["edges"] += len(comparison.better)
        lengths = [_length(reply) for reply in comparison.replies]
        found.lengths.update(lengths)
        found.replies_each[len(lengths)] += 1
        known = of_each_reply(comparison)
        for length, reply in zip(lengths, known, strict=True):
            votes = reply.get("votes")
            if isinstance(votes, int | float):
                found.votes[int(votes)] += 1
                by_length.setdefault(length.bit_length(), Counter())[int(votes)] += 1
        for edge in comparison.better:
            if edge.margin is not None and math.isfinite(edge.margin):
                found.margins[edge.margin] += 1
            found.weights[edge.weight] += 1
            found.first_wins[edge.winner < edge.loser] += 1
            _count_length(lengths[edge.winner], lengths[edge.loser], longer)
            times = (known[index].get("created") for index in (edge.winner, edge.loser))
            if (earlier := _is_earlier(*times)) is not None:
                found.earlier_wins[earlier] += 1
        if (year := _year(comparison.meta.get("created"))) is None:
            year = next(filter(None, (_year(reply.get("created")) for reply in known)), None)
        if year is not None:
            found.years[year] += 1
        if isinstance(license_name := comparison.meta.get("license"), str):
            found.licenses[license_name] += 1
    return found


def of_each_reply(comparison: Comparison) -> list[Mapping[str, Any]]:
    """What `meta` tells of each reply: a forum's posts, or a published set's replies; else {}."""
    for key in ("posts", "replies"):
        values = comparison.meta.get(key)
        if isinstance(values, list) and len(values) == len(comparison.replies):
            return [value if isinstance(value, Mapping) else {} for value in values]
    return [{} for _ in comparison.replies]


def summarise_threads(threads: Iterable[Thread]) -> dict[str, Counter[int]]:
    """Distributions over threads: characters and score of an answer, answers of a thread."""
    found: dict[str, Counter[int]] = {"length": Counter(), "score": Counter(), "answers": Counter()}
    for thread in threads:
        answers = thread.answers
        found["answers"][len(answers)] += 1
        found["length"].update(len(answer.text) for answer in answers)
        found["score"].update(answer.score for answer in answers)
    return found


def sampled(
    folder: Path, record_type: type[Comparison] | type[Thread], most: int = 20_000
) -> Iterator[Any]:
    """Yield the records of an artefact: all, or about `most` of them from all over it.

    A sample is whole row groups at even distances. Raises DataError for what cannot be read.
    """
    groups = []
    for part in sorted(read_manifest(folder)["counts"]):
        for path in part_files(folder, part):
            try:
                metadata = pq.read_metadata(path)
            except UNREADABLE as error:
                raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
            for number in range(metadata.num_row_groups):
                groups.append((path, number, metadata.row_group(number).num_rows))
    total = sum(rows for _, _, rows in groups)
    wanted = max(1, round(len(groups) * most / total)) if total > most else len(groups)
    chosen = [groups[len(groups) * place // wanted] for place in range(wanted)] if groups else []
    for path, number, _ in chosen:
        try:
            rows = pq.ParquetFile(path).read_row_group(number).to_pylist()
            yield from map(READERS[record_type], rows)
        except (*UNREADABLE, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: row group {number} cannot be read: {error}") from None


def quantiles(counts: Mapping[Any, int], shares: Sequence[float] = SHARES) -> list[Any]:
    """The least value at or below which each share of the counted values lies; [] of nothing."""
    total = sum(counts.values())
    if not total:
        return []
    found: list[Any] = []
    below = 0
    wanted = list(shares)
    for value in sorted(counts):
        below += counts[value]
        while wanted and below >= wanted[0] * total:
            found.append(value)
            wanted.pop(0)
    return found


def share_of(counts: Mapping[bool, int]) -> float | None:
    """The share of True; None where nothing was counted."""
    total = sum(counts.values())
    return counts.get(True, 0) / total if total else None


BIASES = {
    "longer_reply_wins": "the longer reply wins",
    "earlier_reply_wins": "the earlier reply wins",
    "first_place_wins": "the reply in the first place wins",
}
"""What `biases` tells, in words."""


def biases(corpus: Corpus) -> dict[str, float]:
    """What wins for other reasons than its quality, as shares of the edges where it can be told."""
    longer: Counter[bool] = Counter()
    for counts in corpus.longer_wins.values():
        longer.update(counts)
    shares = {
        "longer_reply_wins": share_of(longer),
        "earlier_reply_wins": share_of(corpus.earlier_wins),
        "first_place_wins": share_of(corpus.first_wins),
    }
    return {name: share for name, share in shares.items() if share is not None}


def octaves(counts: Mapping[Any, int]) -> dict[str, int]:
    """Counts of values by powers of two, `4-7` and so on, below 1 as `< 1`, in order."""
    by_bits: Counter[int] = Counter()
    for value, count in counts.items():
        by_bits[int(value).bit_length() if value >= 1 else 0] += count
    return {octave(bits): by_bits[bits] for bits in sorted(by_bits)}


def octave(bits: int) -> str:
    """The whole numbers of that many bits: 3 is `4-7`, 12 is `2k-4k` (k is 1,024)."""
    if bits <= 1:
        return "1" if bits else "< 1"
    if bits > 10:
        return f"{2 ** (bits - 11)}k-{2 ** (bits - 10)}k"
    return f"{2 ** (bits - 1)}-{2**bits - 1}"


def _length(reply: Conversation) -> int:
    return sum(len(message.content) for message in reply)


def _count_length(winner: int, loser: int, longer: dict[float, Counter[bool]]) -> None:
    if winner != loser:
        ratio = max(winner, loser) / max(1, min(winner, loser))
        least = max(bound for bound in LENGTH_RATIOS if ratio >= bound)
        longer[least][winner > loser] += 1


def _is_earlier(first: Any, second: Any) -> bool | None:
    """Whether a time lies before another of its form; None where that cannot be told."""
    comparable = type(first) is type(second) and isinstance(first, str | int | float)
    return first < second if comparable and first != second else None


def _year(created: object) -> str | None:
    """The year of a time in the ISO form, or of seconds since 1970."""
    if isinstance(created, str) and created[:4].isdigit():
        return created[:4]
    if isinstance(created, int | float) and 0 < created < 1e11:
        return str(datetime.fromtimestamp(created, UTC).year)
    return None
