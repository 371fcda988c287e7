"""A first pass over all threads, for the choices that need to know them all.

    if needs_survey(settings):
        survey = Survey(); survey.add(thread); ...      # by file; merge() joins them, in any order
        findings = survey.findings(settings)
    compare(thread, settings, drop, findings)

What is gathered is whole numbers in bounded tables (a number a tag; 6,400 of exposure), so that the
findings do not depend on how the threads were shared out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from worldpm.pairs.exposure import ExposureCounts, ExposureModel, fit_exposure
from worldpm.pairs.settings import PairSettings
from worldpm.pairs.topics import TagCounts, TagWeights
from worldpm.records import Thread

_FITTED = ("corrected", "weighted")


@dataclass(frozen=True, slots=True)
class Findings:
    """What was learnt from all threads: what `compare` needs beside a thread and the settings."""

    exposure: ExposureModel | None = None
    topics: TagWeights | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the manifest, where `from_dict` finds it again."""
        return {
            "exposure": None if self.exposure is None else self.exposure.as_dict(),
            "topics": None if self.topics is None else self.topics.weights,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` gave; nothing found where there is nothing."""
        exposure, topics = values.get("exposure"), values.get("topics")
        return cls(
            None if exposure is None else ExposureModel.from_dict(exposure),
            None if topics is None else TagWeights(topics),
        )


@dataclass(slots=True)
class Survey:
    """The counts of a first pass, over the threads of one file or of many."""

    exposure: ExposureCounts = field(default_factory=ExposureCounts)
    tags: TagCounts = field(default_factory=TagCounts)

    def add(self, thread: Thread) -> None:
        """Count a thread; those without two answers can make no edge, and say nothing."""
        if len(thread.answers) >= 2:
            self.exposure.add(thread)
            self.tags.add(thread)

    def merge(self, other: "Survey") -> None:
        """Add the counts of another file."""
        self.exposure.merge(other.exposure)
        self.tags.merge(other.tags)

    def findings(self, settings: PairSettings) -> Findings:
        """What the settings ask for, and nothing else."""
        return Findings(
            fit_exposure(self.exposure) if settings.exposure.rule in _FITTED else None,
            TagWeights.of(self.tags, settings.topics) if settings.topics.power else None,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: what one worker hands to another."""
        return {"exposure": self.exposure.as_dict(), "tags": self.tags.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(
            ExposureCounts.from_dict(values["exposure"]), TagCounts.from_dict(values["tags"])
        )


def needs_survey(settings: PairSettings) -> bool:
    """Whether `compare` needs findings with these settings."""
    return settings.exposure.rule in _FITTED or settings.topics.power is not None
