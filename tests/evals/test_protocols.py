"""Each protocol's figures are those worked out by hand, through the authors' files and back."""

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from suite_folders import (
    WRITERS,
    helpsteer_row,
    judgebench_row,
    ppe_row,
    ppe_vote,
    rewardbench2_row,
    rewardbench_row,
    rmb_best,
    rmb_pair,
    write,
    write_lines,
)

from worldpm.errors import ConfigError, WorldPMError
from worldpm.evals.protocol_official import RULES, WEIGHTS, rewardbench_score
from worldpm.evals.protocol_worldpm import ROWS, SCALING, TABLE
from worldpm.evals.protocols import PROTOCOLS, protocol, select
from worldpm.evals.suites import SUITES, read_suite
from worldpm.evals.suites_rewardbench import SECTIONS
from worldpm.records import Message

KNOWN = json.loads((Path(__file__).parent / "protocol_cases.json").read_text())
CASES, SCORES = KNOWN["cases"], KNOWN["rewardbench_scores"]


def texts(name: str, scores: list) -> list[str]:
    """Texts that all differ and each end in the score that they shall have."""
    return [f"{name}{number}={score}" for number, score in enumerate(scores)]


def written_score(comparisons) -> list[list[float]]:
    """The score that stands at the end of each reply."""
    return [[float(r[-1].content.rpartition("=")[2]) for r in c.replies] for c in comparisons]


def write_rewardbench_rows(folder: Path, rows: list) -> None:
    merged = any("|" in subset for subset, *_ in rows)
    made = [
        {**rewardbench_row(i, subset), "chosen": f"c={c}", "rejected": f"r={r}"}
        for i, (subset, c, r) in enumerate(rows)
    ]
    if not merged:
        write_lines(folder / "filtered.jsonl", made)
        return
    write_lines(folder / "rewardbench_2k.jsonl", [
        {"id": str(row["id"]), "prompt": "?", "response_a": row["chosen"],
         "response_b": row["rejected"], "label": "A"} for row in made
    ])  # fmt: skip
    lines = [f"{row['id']},{row['subset']},Chat" for row in made]
    (folder / "subset.csv").write_text("\n".join(["id,subset,section", *lines]) + "\n")


def write_rm_bench_rows(folder: Path, rows: list) -> None:
    for domain in {row[0] for row in rows}:
        mine = [row for row in rows if row[0] == domain]
        write(folder / f"{domain}_filtered.json", [
            {"id": i, "prompt": "?", "subset": "s", "chosen": texts("c", chosen),
             "rejected": texts("r", rejected)} for i, (_, chosen, rejected) in enumerate(mine)
        ])  # fmt: skip


def write_rmb_rows(folder: Path, rows: list) -> None:
    for number, (section, best, *losers) in enumerate(rows):
        goal, mode = section.split()
        if mode == "pairwise":
            row = rmb_pair(str(number))
            same = best == "equal"
            row["chosen"]["answer"] = "same=1" if same else f"c={best}"
            row["reject"]["answer"] = "same=1" if same else f"r={losers[0]}"
        else:
            row = rmb_best(str(number), len(losers))
            row["bon_best"]["answer"] = f"c={best}"
            for loser, text in zip(row["loser_list"], texts("r", losers), strict=True):
                loser["answer"] = text
        part = "Pairwise_set" if mode == "pairwise" else "BoN_set"
        write(folder / part / goal.title() / f"S{number}.json", [row])


def write_judgebench_rows(folder: Path, rows: list) -> None:
    for model in {row[0] for row in rows}:
        made = [
            {
                **judgebench_row(str(i), label, source),
                "response_A": f"a={a}",
                "response_B": f"b={b}",
            }
            for i, (name, source, label, a, b) in enumerate(rows)
            if name == model
        ]
        write_lines(folder / "data" / f"dataset=judgebench,response_model={model}.jsonl", made)


def write_rewardbench2_rows(folder: Path, rows: list) -> None:
    write_lines(folder / "test.jsonl", [
        {**rewardbench2_row(name, subset, len(right), len(wrong)),
         "chosen": texts("c", right), "rejected": texts("r", wrong)}
        for subset, name, right, wrong in rows
    ])  # fmt: skip


def write_ppe_rows(folder: Path, rows: list) -> None:
    votes = [row for row in rows if row[0] == "human-preference"]
    if votes:
        write_lines(folder / "human-preference.jsonl", [
            {**ppe_vote(winner), "response_1": f"a={a}", "response_2": f"b={b}"}
            for _, winner, a, b in votes
        ])  # fmt: skip
    for subset in {row[0] for row in rows} - {"human-preference"}:
        write_lines(folder / subset / "train.jsonl", [
            {**ppe_row(len(scores), pairs), "model_name": model,
             "scores": [flag == "T" for flag in flags],
             **{f"response_{i + 1}": text for i, text in enumerate(texts("x", scores))}}
            for name, model, scores, flags, pairs in rows if name == subset
        ])  # fmt: skip


def write_helpsteer2_rows(folder: Path, rows: list) -> None:
    ((_, a, b),) = rows
    made = [helpsteer_row("?", f"a={a}", 4), helpsteer_row("?", f"b={b}", 1)]
    write_lines(folder / "validation.jsonl", made)


def write_offsetbias_rows(folder: Path, rows: list) -> None:
    write_lines(folder / "train.jsonl", [
        {"instruction": f"{i}?", "output_1": f"b={b}", "output_2": f"a={a}", "label": 2}
        for i, (a, b) in enumerate(rows)
    ])  # fmt: skip


ROW_WRITERS = {
    "rewardbench": write_rewardbench_rows,
    "rm-bench": write_rm_bench_rows,
    "rmb": write_rmb_rows,
    "judgebench": write_judgebench_rows,
    "rewardbench2": write_rewardbench2_rows,
    "ppe": write_ppe_rows,
    "helpsteer2": write_helpsteer2_rows,
    "offsetbias": write_offsetbias_rows,
}


def number(expected: float | str) -> float:
    return float(Fraction(expected)) if isinstance(expected, str) else expected


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['suite']}, {c['protocol']}: {c['name']}")
def test_a_figure_is_the_one_worked_out_by_hand(case, tmp_path):
    """Written as the authors' file, read as a suite, scored, and put together by the protocol."""
    ROW_WRITERS[case["suite"]](tmp_path, case["rows"])
    comparisons = read_suite(case["suite"], tmp_path)
    scored = {case["suite"]: (comparisons, written_score(comparisons))}
    figures = protocol(case["protocol"]).figures(scored)
    for key, expected in case["expected"].items():
        group, _, name = key.rpartition("|")
        found = [f for f in figures if f.name == name and (not group or f.group == group)]
        if expected is None:
            assert found == [], key
            continue
        assert len(found) == 1, key
        assert found[0].value == pytest.approx(number(expected), abs=1e-12), key


@pytest.mark.parametrize("case", SCORES, ids=lambda c: c["name"])
def test_the_leaderboards_score_weighs_the_prior_sets_by_half(case):
    """Four sections, and the prior sets where there are any."""
    sections = dict(zip(SECTIONS, case["sections"], strict=True))
    score = rewardbench_score(sections, case["prior"])
    assert score == pytest.approx(number(case["expected"]))


def test_there_are_at_least_sixty_cases_and_every_formula_is_among_them():
    """Each suite with a formula of its own has cases under both protocols where both use it."""
    assert len(CASES) + len(SCORES) >= 60
    tried = {(case["suite"], case["protocol"]) for case in CASES}
    assert {suite for suite, kind in tried if kind == "official"} >= {
        "rewardbench", "rewardbench2", "rm-bench", "rmb", "judgebench", "ppe"
    }  # fmt: skip
    assert {suite for suite, kind in tried if kind == "worldpm"} == set(protocol("worldpm").suites)


def test_the_paper_has_12_scaling_sets_and_18_rows():
    """As many of each class as its tables have, each on a suite that can be read."""
    assert [sum(row.group == kind for row in ROWS) for kind in (SCALING, TABLE)] == [12, 18]
    assert {row.suite for row in ROWS} <= set(SUITES)
    assert len({(row.group, row.name) for row in ROWS}) == 30


def test_weights_are_the_published_counts():
    """23 subsets; with math-prm's own 447 they add up to the 2,985 pairs of the set."""
    published = {name for names in SECTIONS.values() for name in names}
    assert len(published) == 23
    assert sum(WEIGHTS[name] for name in published) - 984 + 447 == 2985


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_has_official_figures_within_bounds(name, tmp_path):
    """Any scores give fractions, and what counts and what is left out make up the rows."""
    comparisons = read_suite(name, WRITERS[name](tmp_path / "x"))
    scores = [[float(len(r[0].content)) for r in c.replies] for c in comparisons]
    figures = protocol("official").figures({name: (comparisons, scores)})
    assert figures
    assert all(-0.01 <= figure.value <= 1.01 for figure in figures)
    assert all(figure.suite == name and figure.num > 0 for figure in figures)
    assert all(0 <= figure.num_ties <= figure.num for figure in figures)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.group}: {row.name}")
def test_a_row_takes_or_leaves_every_comparison(row, tmp_path):
    """One for one, replies untouched; the taken and the left-out add up."""
    comparisons = read_suite(row.suite, WRITERS[row.suite](tmp_path / "x"))
    taken, left_out = select(row, comparisons)
    assert [c.replies for c in taken] == [c.replies for c in comparisons]
    assert sum(bool(c.better) for c in taken) + sum(left_out.values()) == len(comparisons)
    for before, after in zip(comparisons, taken, strict=True):
        assert set(after.better) <= set(before.better)


def test_the_papers_figure_carries_its_loss_and_what_was_left_out(tmp_path):
    """ln 2 at a tie; of four rows one is chat."""
    comparisons = read_suite("rewardbench", WRITERS["rewardbench"](tmp_path))
    figures = protocol("worldpm").figures({"rewardbench": (comparisons, [[0.0, 0.0]] * 4)})
    chat = next(figure for figure in figures if figure.name == "RB-Chat")
    assert chat.loss_nats == pytest.approx(np.log(2))
    assert (chat.value, chat.num, chat.num_ties) == (0.5, 1, 1)
    assert chat.left_out == {"of another section": 3}
    assert chat.percent == 50.0


def test_a_perfect_and_a_useless_model_stand_at_the_ends(tmp_path):
    """Right everywhere is 1 under every official figure but the ties', wrong everywhere is 0."""
    for name in RULES:
        comparisons = read_suite(name, WRITERS[name](tmp_path / name))
        comparisons = [c for c in comparisons if c.better]
        best = []
        for comparison in comparisons:
            correct = comparison.meta.get("correct") or [comparison.better[0].winner]
            best.append([float(i in correct) for i in range(len(comparison.replies))])
        good = protocol("official").figures({name: (comparisons, best)})
        bad = protocol("official").figures({name: (comparisons, [[-x for x in b] for b in best])})
        assert all(f.value == pytest.approx(1.0, abs=0.011) for f in good), name
        assert all(f.value == pytest.approx(0.0, abs=0.011) for f in bad), name


def test_scores_that_do_not_fit_are_refused_by_name(tmp_path):
    """Too few scores and a score that is not a number, under either protocol."""
    comparisons = read_suite("llmbar", WRITERS["llmbar"](tmp_path))
    for scores, message in (([[1.0, 2.0]], "1 score lists"), ([[np.nan, 1.0]] * 10, "scored nan")):
        with pytest.raises(WorldPMError, match=message):
            protocol("official").figures({"llmbar": (comparisons, scores)})


def test_an_unknown_protocol_names_the_nearest():
    """A slip of the finger gets the name that was meant, nonsense the list."""
    with pytest.raises(ConfigError, match="did you mean 'official'"):
        protocol("oficial")
    with pytest.raises(ConfigError, match="choose from worldpm, official"):
        protocol("zzz")
    assert {PROTOCOLS[name].name for name in PROTOCOLS} == set(PROTOCOLS)
    assert set(protocol("official").about) == set(protocol("official").suites) == set(SUITES)


def test_control_takes_the_papers_style_out_of_its_rows(tmp_path):
    """Right on content, wrong by length: controlled, a long wrong reply no longer wins."""
    rows = [["donotanswer", 0, 0]] * 40
    write_rewardbench_rows(tmp_path, rows)
    comparisons = read_suite("rewardbench", tmp_path)
    styled, scores = [], []
    for number, comparison in enumerate(comparisons):
        winner = comparison.better[0].winner
        words = [3, 3]
        words[winner if number % 2 else 1 - winner] = 30
        replies = tuple((Message("assistant", "a " * count),) for count in words)
        styled.append(dataclasses.replace(comparison, replies=replies))
        quality = [1.0 if reply == winner else 0.0 for reply in range(2)]
        scores.append([q + 0.1 * count for q, count in zip(quality, words, strict=True)])
    scored = {"rewardbench": (styled, scores)}
    chosen = protocol("worldpm")
    plain = next(f for f in chosen.figures(scored) if f.name == "RB-Safety")
    controlled = next(f for f in chosen.controlled(scored) if f.name == "RB-Safety")
    assert plain.value == 0.5
    assert controlled.value == 1.0
    assert controlled.loss_nats < plain.loss_nats
    assert "as in the paper" in controlled.note
    assert (plain.style_alone, controlled.style_alone) == (None, 0.5)
    assert protocol("official").controlled is None
