"""Published preference sets, as their authors publish them -> comparisons.

    PUBLISHED["hh-rlhf"](Path("hh-rlhf"), drop)  ->  Comparison, Comparison, ...
    ABOUT["hh-rlhf"]                             ->  where it is, its licence, its files on the hub

Two tables. The readers are in `dialogue_sets` (pairs), `ranked_sets` (several answers, ranked) and
`rated_sets` (answers with ratings, one of which decides). `docs/guides/data.md` says which of them
have met their authors' real files and which only fixtures of the published form.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worldpm.pairs import dialogue_sets, ranked_sets, rated_sets
from worldpm.records import Comparison
from worldpm.rows import HELPSTEER2_RATINGS

Reader = Callable[..., Iterator[Comparison]]
"""(path, drop), and `rating` where `About.ratings` lists some."""

PUBLISHED: dict[str, Reader] = {
    "hh-rlhf": dialogue_sets.read_hh_rlhf,
    "helpsteer2": rated_sets.read_helpsteer2,
    "helpsteer2-preference": rated_sets.read_helpsteer2_preference,
    "oasst": ranked_sets.read_oasst,
    "oasst-zh": ranked_sets.read_oasst_zh,
    "pairs": dialogue_sets.read_pairs,
    "qa-feedback": ranked_sets.read_qa_feedback,
    "rlhflow": dialogue_sets.read_rlhflow,
    "shp": dialogue_sets.read_shp,
    "skywork": dialogue_sets.read_skywork,
    "tldr": dialogue_sets.read_tldr,
    "ukpconvarg": ranked_sets.read_ukpconvarg,
    "ultrafeedback": rated_sets.read_ultrafeedback,
}


@dataclass(frozen=True, slots=True)
class About:
    """What an import records of a set, and which of its files it takes from the hub."""

    url: str
    license: str | None
    """As its authors state it; None where they state none."""
    hub_files: tuple[str, ...] = ()
    """Patterns; none where the set is not on the hub in the form that is read."""
    ratings: tuple[str, ...] = ()
    """What may decide, the default first."""


_HUB = "https://huggingface.co/datasets"
ABOUT: dict[str, About] = {
    "hh-rlhf": About(
        f"{_HUB}/Anthropic/hh-rlhf", "MIT", ("harmless-*/*.jsonl.gz", "helpful-*/*.jsonl.gz")
    ),
    "helpsteer2": About(
        f"{_HUB}/nvidia/HelpSteer2",
        "CC-BY-4.0",
        ("train.jsonl.gz", "validation.jsonl.gz"),
        HELPSTEER2_RATINGS,
    ),
    "helpsteer2-preference": About(
        f"{_HUB}/nvidia/HelpSteer2", "CC-BY-4.0", ("preference/preference.jsonl.gz",)
    ),
    "oasst": About(f"{_HUB}/OpenAssistant/oasst1", "Apache-2.0", ("*_ready.trees.jsonl.gz",)),
    "oasst-zh": About("https://github.com/hiyouga/LlamaFactory", "Apache-2.0"),
    "pairs": About("", None, ("*.parquet", "*.jsonl", "*.jsonl.gz")),
    "qa-feedback": About("https://github.com/allenai/FineGrainedRLHF", "Apache-2.0"),
    "rlhflow": About(f"{_HUB}/RLHFlow/pair_data_v2_80K_wsafety", None, ("*.parquet",)),
    "shp": About(f"{_HUB}/stanfordnlp/SHP", None, ("*/*.json",)),
    "skywork": About(f"{_HUB}/Skywork/Skywork-Reward-Preference-80K-v0.2", None, ("*.parquet",)),
    "tldr": About("https://github.com/openai/summarize-from-feedback", "MIT"),
    "ukpconvarg": About("https://github.com/UKPLab/acl2016-convincing-arguments", "CC-BY-4.0"),
    "ultrafeedback": About(
        f"{_HUB}/openbmb/UltraFeedback", "MIT", ("*.jsonl",), rated_sets.ULTRAFEEDBACK_RATINGS
    ),
}
