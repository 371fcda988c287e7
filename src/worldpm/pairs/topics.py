"""Topics that few threads have, over-sampled: tags of all threads -> a weight for each thread.

    counts = TagCounts(); counts.add(thread); ...      # a first pass; merge() joins shards
    weights = TagWeights.of(counts, TopicSettings(power=0.5))
    weights.weight(thread)                             # 2.4 for a rare topic, 0.6 for a common one

A weight, not a repetition: the weight multiplies the loss of the thread's edges, which has the same
expected gradient as reading the thread that many times, but keeps ids unique and the files small,
takes fractions, and cannot be mistaken for a duplicate.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ConfigDict, Field

from worldpm.config import Settings
from worldpm.records import Thread

# A thread is one unit, shared by its tags: 720,720 is divisible by every number up to 16, so the
# shares are whole, and their sum is the same in whatever order shards are added.
UNIT = 720_720
UNTAGGED = ""


class TopicSettings(Settings):
    """Over-sampling of rare tags, as weights of edges."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    power: float | None = Field(default=None, gt=0, le=1)
    """A thread weighs (threads of its tag) ** -power, averaged over its tags, 1 in the mean over
    threads; unset, all weigh the same. 1 makes all tags of a site count the same, 0.5 halves the
    imbalance in logarithms. In the paper (Table 6) re-sampling Stack Overflow by tag moved the five
    benchmarks by -0.9, -0.2, +0.3, +1.5 and -1.3 points: topic hardly matters."""
    floor: int = Field(default=10, ge=1)
    """A tag of fewer threads counts as this many: one thread of a misspelt tag is no topic."""


@dataclass(slots=True)
class TagCounts:
    """How many threads a tag has, by source; a thread of three tags is a third of one for each."""

    units: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, thread: Thread) -> None:
        """Count a thread, once for each of its tags."""
        tags = _tags(thread)
        counts = self.units.setdefault(thread.source, Counter())
        for tag in tags:
            counts[tag] += UNIT // len(tags)

    def merge(self, other: "TagCounts") -> None:
        """Add the counts of another shard."""
        for source, counts in other.units.items():
            self.units.setdefault(source, Counter()).update(counts)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, in an order of its own."""
        return {s: dict(sorted(counts.items())) for s, counts in sorted(self.units.items())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls({source: Counter(counts) for source, counts in values.items()})


@dataclass(frozen=True, slots=True)
class TagWeights:
    """The weight of each tag, by source; a thread weighs the mean over its tags."""

    weights: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, counts: TagCounts, settings: TopicSettings) -> Self:
        """Weights with mean 1 over the counted threads of each source.

        With m threads of a tag, f = max(m, floor) ** -power. A thread's weight is the mean of f
        over its tags, so the sum over threads is the sum over tags of m f: its mean is known from
        the counts alone. Sources keep their own share, whatever their tags.
        """
        assert settings.power is not None
        found: dict[str, dict[str, float]] = {}
        for source, units in sorted(counts.units.items()):
            threads = {tag: count / UNIT for tag, count in sorted(units.items())}
            raw = {tag: max(m, settings.floor) ** -settings.power for tag, m in threads.items()}
            mean = sum(m * raw[tag] for tag, m in threads.items()) / sum(threads.values())
            found[source] = {tag: weight / mean for tag, weight in raw.items()}
        return cls(found)

    def weight(self, thread: Thread) -> float:
        """What the thread's edges weigh; 1 in a source that was not counted."""
        known = self.weights.get(thread.source, {})
        tags = _tags(thread)
        return sum(known.get(tag, 1.0) for tag in tags) / len(tags)


def _tags(thread: Thread) -> list[str]:
    return sorted(set(thread.tags)) or [UNTAGGED]
