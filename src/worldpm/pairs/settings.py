"""The choices of `worldpm pairs`: which answers make an edge, and with which weight.

    PairSettings()                                            # the paper's rule
    PairSettings(min_margin=3, max_margin=5, pairs_per_thread=1)
    PairSettings(exposure=ExposureSettings(rule="no_older"))

Under each field stands what the paper found where it tried the choice (WorldPM, appendix A.2; five
benchmarks, 800,000 pairs, a 7B model).
"""

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from worldpm.config import Settings
from worldpm.pairs.decontaminate import DecontaminateSettings
from worldpm.pairs.dedup import DedupSettings
from worldpm.pairs.exposure import ExposureSettings
from worldpm.pairs.modelfilter import FilterSettings
from worldpm.pairs.split import SplitSettings
from worldpm.pairs.topics import TopicSettings


class PairSettings(Settings):
    """How threads become comparisons."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    max_replies: int = Field(default=8, ge=2)
    """Answers kept of one thread, drawn by a hash. The paper states no limit."""
    pairs_per_thread: int | None = Field(default=None, ge=1)
    """Edges kept of one thread, drawn by a hash, with the answers that they join; unset, all. The
    paper draws two answers of a post and does not say how often; 1 is one random pair a post."""
    min_margin: float = Field(default=1, gt=0, allow_inf_nan=False)
    """Least difference of scores that makes an edge; 1 is the paper's rule, any difference."""
    max_margin: float | None = Field(default=None, gt=0)
    """Greatest difference of scores that makes an edge; unset, any. The paper (Table 5) trained on
    differences of 1-2, 3-5, 6-10 and 11 or more, and found no clear order: 63.1 to 62.3 on PPE's
    human set, 79.9 (1-2) against 84.2 to 85.5 on RewardBench, 75.2 falling to 71.1 on RM-Bench."""
    accepted_bonus: float = Field(default=1, ge=0, allow_inf_nan=False)
    """Votes that the asker's acceptance is worth; 1 is the paper's, 0 leaves it out, 0.5 with
    min_margin = 0.5 lets it break ties only. The paper tried no other value."""
    certainty: bool = False
    """Where up and down votes are known apart, weigh an edge by 2 P - 1, P the probability that the
    winner's up-rate is the higher one (Beta posteriors), and leave it out where P is 1/2 or less.
    Edges between other answers keep their weight. Not in the paper."""
    exposure: ExposureSettings = ExposureSettings()
    topics: TopicSettings = TopicSettings()
    filter: FilterSettings = FilterSettings()
    dedup: DedupSettings = DedupSettings()
    decontaminate: DecontaminateSettings = DecontaminateSettings()
    seed: int = 0
    split: SplitSettings = SplitSettings()

    @field_validator("max_margin")
    @classmethod
    def _not_below_min(cls, value: float | None, info: ValidationInfo) -> float | None:
        least = info.data.get("min_margin")
        if value is not None and least is not None and value < least:
            raise ValueError(f"must not be below min_margin, {least:g}")
        return value
