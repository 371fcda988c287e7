"""`show --why` judges a thread by what the first pass found, where the manifest has it."""

from pathlib import Path

from worldpm.cli.why import _of_thread
from worldpm.pairs.exposure import DELAYS, RANKS, ExposureModel, ExposureSettings
from worldpm.pairs.sample import PairSettings
from worldpm.pairs.survey import Findings
from worldpm.records import Post, Thread


def why(findings):
    """What is told of two answers of 8 and 6 votes if corrected scores must be 3 apart."""
    posts = [Post("q", None, None, "2020-01-01", "q", 0)]
    posts += [Post(f"a{n}", "q", None, f"2020-01-0{2 + n}", "a", 8 - 2 * n) for n in range(2)]
    thread = Thread("1", "s", "", (), tuple(posts), None, None)
    settings = PairSettings(exposure=ExposureSettings(rule="corrected"), min_margin=3)
    manifest = {"settings": settings.model_dump(mode="json"), **findings}
    return _of_thread(thread, Path("threads"), manifest, "1", None)["what"]


def test_the_findings_decide():
    """Seen a quarter as much, the second is ahead by 5; with no findings 2 votes are too few."""
    seen_less = ExposureModel((0.0, *(-1.4,) * (len(RANKS) - 1)), (0.0,) * len(DELAYS))
    found = {"findings": Findings(exposure=seen_less).as_dict()}
    assert "makes a comparison of 2 replies" in why(found)
    even = {"findings": Findings(exposure=ExposureModel()).as_dict()}
    assert "all_margins_too_small" in why(even)
    assert "all_margins_too_small" in why({})
