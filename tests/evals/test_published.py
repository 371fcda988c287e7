"""Published rows are the printed ones, and stand beside ours only where they mean the same."""

import json
import statistics
from importlib import resources

import pytest

from worldpm.errors import ConfigError
from worldpm.evals.figures import Figure
from worldpm.evals.protocol_official import RULES
from worldpm.evals.protocol_worldpm import MEANS, ROWS, TABLE
from worldpm.evals.published import beside, find, names
from worldpm.evals.suites import SUITES

FILE = resources.files("worldpm.evals") / "published.json"
TABLES = json.loads(FILE.read_bytes())["tables"]


def values(name: str, control: str) -> dict[str, float]:
    return {row.figure: row.percent for row in find(name).rows if row.control == control}


@pytest.mark.parametrize(
    ("name", "control", "mean"),
    [
        ("paper:Qwen2.5-7B-HelpSteer2", "style", 75.84),
        ("paper:WorldPM-7B-HelpSteer2", "style", 78.48),
        ("paper:Qwen2.5-7B-UltraFeedback", "style", 76.66),
        ("paper:WorldPM-7B-UltraFeedback", "style", 77.83),
        ("paper:Qwen2.5-7B-RLHFLow", "style", 78.58),
        ("paper:WorldPM-7B-RLHFLow", "style", 79.89),
        ("paper:Qwen2.5-72B-HelpSteer2", "style", 78.00),
        ("paper:WorldPM-72B-HelpSteer2", "style", 81.27),
        ("paper:WorldPM-72B-RLHFLow", "style", 82.34),
        ("paper:Qwen2.5-7B-HelpSteer2", "none", 70.48),
        ("paper:WorldPM-7B-UltraFeedback", "none", 74.83),
        ("paper:Qwen2.5-72B-UltraFeedback", "none", 77.19),
        ("paper:WorldPM-72B-HelpSteer2", "none", 79.59),
        ("paper:WorldPM-72B-RLHFLow", "none", 79.77),
    ],
)
def test_the_means_of_the_18_rows_are_those_counted_apart(name, control, mean):
    """A slip in one of the 18 numbers of a column would move its mean."""
    found = values(name, control)
    rows = [found[row.name] for row in ROWS if row.group == TABLE]
    assert statistics.fmean(rows) == pytest.approx(mean, abs=0.006)


def test_every_column_of_the_papers_tables_is_there():
    """Five rows of Table 1; two bases and two starts by three sets, controlled and not."""
    papers = [name for name in names() if name.startswith("paper:")]
    assert len(papers) == 12 + 5
    assert len(find("paper:WorldPM-72B-HelpSteer2").rows) == 22 + 18
    assert find("paper:WorldPM-7B-RLHFLow").rows[0].percent == 66.78
    assert values("paper:WorldPM-72B-HelpSteer2", "style")["AlpacaEval, length-controlled"] == 55.45
    assert values("paper:Qwen2.5-7B-StackExchange", "none")["RewardBench"] == 84.4


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table["source"])
def test_rows_are_percents_of_figures_that_exist(table):
    """As many numbers as names, from 0 to 100, each a figure that some protocol makes."""
    groups = {row.group for row in ROWS} | {group for group, _ in MEANS}
    for figure, suite, group in table["figures"]:
        assert suite in {*SUITES, "", None}
        if table["protocol"] == "worldpm" and suite is not None:
            assert group in groups
            known = {row.name for row in ROWS} | {name for _, name in MEANS}
            assert figure in known
        elif suite is not None:
            assert suite in RULES
    for numbers in table["models"].values():
        assert len(numbers) == len(table["figures"])
        assert all(0 < each <= 100 for each in numbers)


def test_the_averages_that_peers_print_are_the_means_of_their_rows():
    """RM-Bench's of three levels, RewardBench 2's of six subsets, JudgeBench's of four sections."""
    for source, parts, tolerance in (("skywork-4", 3, 0.08), ("skywork-5", 6, 0.08),
                                     ("skywork-2", 4, 0.08), ("rm-bench", 4, 0.08)):  # fmt: skip
        (table,) = (each for each in TABLES if each["source"] == source)
        for name, numbers in table["models"].items():
            mean = statistics.fmean(numbers[:parts])
            assert mean == pytest.approx(numbers[-1], abs=tolerance), (source, name)


def test_every_row_has_its_source():
    """A title each; the file is small enough to ship."""
    for name in names():
        assert all(row.source for row in find(name).rows)
    assert len(FILE.read_bytes()) < 200_000


def test_a_name_is_found_in_any_case_and_without_its_prefix():
    """The paper's own spelling of RLHFlow need not be remembered."""
    assert find("PAPER:worldpm-72b-rlhflow").name == "paper:WorldPM-72B-RLHFLow"
    assert find("Skywork-Reward-V2-Llama-3.1-8B-40M").name.startswith("skywork:")
    with pytest.raises(ConfigError, match=r"say which: paper:ArmoRM-.*, skywork:ArmoRM-"):
        find("ArmoRM-Llama3-8B-v0.1")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("paper:WorldPM-72B-HelpSteer", "paper:WorldPM-72B-HelpSteer2"),
        ("paper:WorldPM72BHelpSteer2", "paper:WorldPM-72B-HelpSteer2"),
        ("WorldPM-7B-UltraFeedbak", "paper:WorldPM-7B-UltraFeedback"),
        ("skywork:Skywork-Reward-V2-Qwen-8B", "skywork:Skywork-Reward-V2-Qwen3-8B"),
    ],
)
def test_a_near_miss_gets_the_name_that_was_meant(name, meant):
    """The suggestion is among the first three."""
    with pytest.raises(ConfigError, match=rf"did you mean .*{meant}"):
        find(name)


def test_nonsense_gets_an_example():
    """Nothing near: the message shows what names look like."""
    with pytest.raises(ConfigError, match="names are like paper:"):
        find("zzzz")


def figure(name: str, suite: str, num: int, group: str = TABLE, note: str | None = None) -> Figure:
    return Figure(name, group, suite, 0.5, num, note=note)


def test_rows_stand_beside_ours_or_say_why_not():
    """Nothing is lost: matched and unmatched are all 40 rows, and each reason is the right one."""
    published = find("paper:WorldPM-72B-HelpSteer2")
    ours = [figure("RB-Chat", "rewardbench", 233), figure("RM-B-Code", "rm-bench", 228, note="n")]
    found = beside(published, ours, protocol="worldpm")
    assert len(found.pairs) + len(found.unmatched) == len(published.rows)
    assert {row.figure: row.percent for row, *_ in found.pairs} == {
        "RB-Chat": 98.88, "RM-B-Code": 69.30
    }  # fmt: skip
    assert {row.figure: between for row, _, between in found.pairs} == {
        "RB-Chat": ("ours over 233 pairs, theirs over 358",), "RM-B-Code": ("n",)
    }  # fmt: skip
    reasons = {(row.figure, row.control): reason for row, reason in found.unmatched}
    assert reasons["Arena Hard", "style"] == "no suite here makes this figure"
    assert reasons["RB-Chat", "style"] == "style-controlled, and these figures are not"
    assert reasons["PPE-MATH", "none"] == "ppe was not evaluated"
    assert reasons["RM-B-Math", "none"] == "a part of what it is made of was not evaluated"


def test_controlled_figures_meet_the_controlled_table():
    """The same name under control gets Table 3's number instead of Table 9's."""
    published = find("paper:WorldPM-72B-HelpSteer2")
    found = beside(
        published, [figure("RB-Chat-Hard", "rewardbench", 456)], protocol="worldpm", control="style"
    )
    assert [(row.percent, row.control, between) for row, _, between in found.pairs] == [
        (87.28, "style", ())
    ]


def test_the_official_protocol_does_not_meet_the_papers_rows():
    """Another protocol's figure of the same suite is no match, and peers' rows are."""
    ours = [figure("overall", "rewardbench", 2985, "overall", "without the prior sets")]
    none = beside(find("paper:WorldPM-7B-HelpSteer2"), ours, protocol="official")
    assert none.pairs == ()
    assert "by the protocol worldpm, not official" in {reason for _, reason in none.unmatched}
    found = beside(find("skywork:Skywork-Reward-V2-Qwen3-8B"), ours, protocol="official")
    ((row, _, between),) = found.pairs
    assert row.percent == 93.7
    assert "without the prior sets" in between
