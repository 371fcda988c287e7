"""Ours beside the published: each caveat with the figure it is of, and no row lost."""

from dataclasses import replace

import orjson
from suite_folders import WRITERS, ppe_row, write_parquet, write_ppe

from worldpm.evals.baselines import longer_characters, shorter_characters
from worldpm.evals.figures import Figure, mean_figure
from worldpm.evals.protocols import EQUAL_PAIRS, protocol
from worldpm.evals.published import Published, PublishedRow, beside, find
from worldpm.evals.standing import standing
from worldpm.evals.suites import read_suite


def scored(tmp_path, *names: str) -> dict:
    found = {}
    for name in names:
        comparisons = read_suite(name, WRITERS[name](tmp_path / name))
        found[name] = (comparisons, longer_characters(comparisons))
    return found


def row(suite: str | None, figure: str = "overall", group: str = "overall", **more) -> PublishedRow:
    settings = {"protocol": "official", "control": "none", "percent": 50.0, "source": "s",
                "url": None, **more}  # fmt: skip
    return PublishedRow(figure, suite, group, **settings)


def test_a_caveat_stays_with_its_own_suite():
    """Two suites have an `overall`: what is said of one is not said of the other."""
    ours = [
        Figure("overall", "overall", "rewardbench", 0.5, 10, note="without the prior sets"),
        Figure("overall", "overall", "rmb", 0.5, 10),
    ]
    found = beside(Published("x", (row("rewardbench"), row("rmb"))), ours, protocol="official")
    assert {each.suite: between for each, _, between in found.pairs} == {
        "rewardbench": ("without the prior sets",), "rmb": ()
    }  # fmt: skip


def test_every_difference_of_a_row_is_named():
    """The table's note, our figure's note and another count stand together, in this order."""
    ours = [Figure("A", "fine-tuning", "ppe", 0.5, 9, note="ours")]
    theirs = row("ppe", "A", "fine-tuning", count=1000, note="theirs")
    ((_, _, between),) = beside(Published("x", (theirs,)), ours, protocol="official").pairs
    assert between == ("theirs", "ours", "ours over 9 pairs, theirs over 1,000")


def test_a_part_of_a_benchmark_is_a_caveat_of_its_means_too(tmp_path):
    """A mean over RewardBench's sections, of four rows in place of 2,985, says so."""
    published = [find("paper:Qwen2.5-7B-Quora"), find("paper:WorldPM-7B-RLHFLow")]
    report = standing("worldpm", scored(tmp_path, "rewardbench", "ppe"), published)
    table_1, table_8 = (
        {each["figure"]: each["caveats"] for each in column["rows"]} for column in report["against"]
    )
    part = "4 of the 2,985 that the whole of rewardbench makes"
    assert table_1["RewardBench"][-1] == part
    assert report["coverage"]["rewardbench"] == part
    assert not [text for text in table_8["RB-Chat"] if "2,985" in text]  # its own count says it


def test_what_is_published_is_shown_or_named(tmp_path):
    """Rows beside ours and unmatched ones are all rows, once each, and the whole is JSON."""
    published = find("paper:WorldPM-72B-HelpSteer2")
    report = standing("worldpm", scored(tmp_path, "rewardbench"), [published])
    (column,) = report["against"]
    assert len(column["rows"]) + len(column["unmatched"]) == len(published.rows)
    assert {each["control"] for each in column["rows"]} == {"none", "style"}
    assert all(each["reason"] for each in column["unmatched"])
    assert orjson.loads(orjson.dumps(report)) == report


def test_control_of_style_is_made_where_something_was_published_so(tmp_path):
    """Without published rows there is no controlled figure, and official has none at all."""
    suites = scored(tmp_path, "rewardbench")
    assert standing("worldpm", suites)["controlled"] == []
    assert standing("official", suites, [find("paper:WorldPM-7B-RLHFLow")])["controlled"] == []
    made = standing("worldpm", suites, [find("paper:WorldPM-7B-RLHFLow")])["controlled"]
    assert {each["name"] for each in made} >= {"RB-Chat", "RB-Safety", "RewardBench"}
    assert all(0 <= each["style_alone"] <= 1 for each in made)


def test_a_whole_suite_has_no_caveat_of_coverage(monkeypatch, tmp_path):
    """What is said of a part is not said where all comparisons are there."""
    from worldpm.evals import suite_files

    suites = scored(tmp_path, "rewardbench")
    files = {**suite_files.FILES}
    whole = files["rewardbench"]
    monkeypatch.setattr(
        suite_files, "FILES",
        {**files, "rewardbench": type(whole)(*[getattr(whole, f) for f in (
            "title", "url", "license", "files")], len(suites["rewardbench"][0]), None)},
    )  # fmt: skip
    report = standing("worldpm", suites, [find("paper:WorldPM-7B-RLHFLow")])
    assert report["coverage"] == {}
    (column,) = report["against"]
    assert not [each for each in column["rows"] for text in each["caveats"] if "whole" in text]


def test_a_mean_keeps_a_loss_or_a_floor_only_where_every_member_has_one():
    """Counts add up; half a loss is none."""
    a = Figure("a", "g", "s", 0.5, 10, 1, loss_nats=0.6, style_alone=0.7)
    b = Figure("b", "g", "s", 0.9, 30, 2, loss_nats=0.4)
    mean = mean_figure("mean", "overall", "s", [a, b], "note")
    assert (mean.percent, mean.num, mean.num_ties, mean.note) == (70.0, 40, 3, "note")
    assert (mean.loss_nats, mean.style_alone) == (0.5, None)
    assert mean_figure("mean", "overall", "s", [a]).style_alone == 0.7


def test_pairs_of_equal_replies_are_counted_where_the_paper_takes_the_whole(tmp_path):
    """PPE: a sampled pair of one text is in no figure, and is counted; the others are unmoved."""
    comparisons = read_suite("ppe", WRITERS["ppe"](tmp_path))
    at = next(n for n, c in enumerate(comparisons) if c.subset == "gpqa" and c.better)
    changed = list(comparisons)
    changed[at] = replace(changed[at], meta={**changed[at].meta, "equal_pairs": 2})
    figures = {}
    for name, data in (("plain", comparisons), ("equal", changed)):
        found = protocol("worldpm").figures({"ppe": (data, shorter_characters(data))})
        figures[name] = next(e for e in found if (e.name, e.group) == ("PPE-GPQA", "fine-tuning"))
    assert figures["equal"].left_out[EQUAL_PAIRS] == 2
    assert EQUAL_PAIRS not in figures["plain"].left_out
    assert figures["equal"].value == figures["plain"].value


def test_prompts_without_a_pair_are_counted_in_ppes_own_figure_too(tmp_path):
    """A prompt whose replies are all right has no conflict to sample: left out by that name."""
    write_ppe(tmp_path)
    row = {**ppe_row(), "scores": [True] * 4, "sampled_conflict_pairs": []}
    write_parquet(tmp_path / "PPE-GPQA-Best-of-K" / "data" / "train-1.parquet", [row] * 3)
    comparisons = read_suite("ppe", tmp_path)
    for name in ("official", "worldpm"):
        found = protocol(name).figures({"ppe": (comparisons, shorter_characters(comparisons))})
        left_out = {each.name.lower(): each.left_out for each in found}
        gpqa = left_out["gpqa" if name == "official" else "ppe-gpqa"]
        assert gpqa["all right or all wrong"] == 3
    assert "all right or all wrong" not in left_out["ppe-ifeval"]
