"""The files have the keys and the rules that RewardBench's own scripts write."""

import json
from dataclasses import replace

import pytest
from suite_folders import WRITERS

from worldpm.evals.baselines import shorter_characters
from worldpm.evals.leaderboard import rewardbench_results, write_rewardbench
from worldpm.evals.protocols import protocol
from worldpm.evals.suites import read_suite
from worldpm.records import Comparison, Edge, Message


def row(number: int, subset: str, edges, replies: int = 2) -> Comparison:
    texts = tuple((Message("assistant", f"r{k}"),) for k in range(replies))
    prompt = (Message("user", f"q{number}"),)
    better = tuple(Edge(*edge) for edge in edges)
    return Comparison(f"rewardbench/{number}", "rewardbench", subset, prompt, texts, better)


PAIRS = [row(1, "refusals", [(0, 1)]), row(2, "refusals", [(1, 0)]), row(3, "xstest", [(0, 1)])]
SCORES = [[2.0, 1.0], [2.0, 1.0], [1.0, 1.0]]


def test_pairs_by_hand():
    """Right, wrong, and a tie that counts as wrong; means by subset."""
    means, columns = rewardbench_results(PAIRS, SCORES, model="org/model")
    about = {"model": "org/model", "model_type": "Seq. Classifier", "chat_template": "tokenizer"}
    assert means == {"refusals": 0.5, "xstest": 0.0, **about}
    assert columns["results"] == [1, 0, 0]
    assert columns["id"] == ["1", "2", "3"]
    assert columns["subset"] == ["refusals", "refusals", "xstest"]
    assert columns["scores_chosen"] == [2.0, 1.0, 1.0]
    assert columns["scores_rejected"] == [1.0, 2.0, 1.0]
    assert columns["text_chosen"][1] == [
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "r1"},
    ]
    assert {key: columns[key] for key in about} == about
    assert set(columns) - set(about) == {
        "text_chosen", "text_rejected", "scores_chosen", "scores_rejected", "results", "subset",
        "id",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "credit"),
    [([0, 9, 1, 2], 1.0), ([9, 9, 1, 2], 0.5), ([9, 9, 9, 9], 0.25), ([9, 1, 1, 1], 0.0)],
)
def test_best_of_four_shares_credit_with_ties(scores, credit):
    """The right reply on top alone, tied with one and with three, and below: 1, 1/2, 1/4, 0."""
    best = row(1, "Focus", [(1, 0), (1, 2), (1, 3)], replies=4)
    means, columns = rewardbench_results([best], [scores], model="m")
    assert means["Focus"] == credit
    assert columns["num_correct"] == [1]
    assert columns["scores"] == [[scores[1], scores[0], scores[2], scores[3]]]


@pytest.mark.parametrize(
    ("model", "place"),
    [("org/model", "org/model.json"), ("tiny-1.5", "local/tiny-1.5.json"),
     ("../../x", "local/x.json"),
     ("/", "local/model.json")],
)  # fmt: skip
def test_files_stand_where_the_leaderboard_looks(tmp_path, model, place):
    """eval-set/ORG/MODEL.json and its scores; no name leads out of the folder."""
    written = write_rewardbench(tmp_path, "rewardbench", PAIRS, SCORES, model=model)
    assert written == [tmp_path / "eval-set" / place, tmp_path / "eval-set-scores" / place]
    assert json.loads(written[0].read_text())["refusals"] == 0.5
    assert len(json.loads(written[1].read_text())["results"]) == 3


def test_undecided_rows_take_no_part():
    """A pair without an edge has no result; of equal replies it is a wrong one, as with them."""
    means, columns = rewardbench_results(
        [*PAIRS, row(4, "x", [])], [*SCORES, [0.0, 0.0]], model="m"
    )
    assert "x" not in means
    assert len(columns["id"]) == 3
    equal = replace(row(4, "x", []), meta={"undecided": "equal replies"})
    means, columns = rewardbench_results([*PAIRS, equal], [*SCORES, [0.0, 0.0]], model="m")
    assert means["x"] == 0.0
    assert (columns["id"][-1], columns["results"][-1]) == ("4", 0)


def test_ties_have_the_official_score(tmp_path):
    """RewardBench 2's Ties stand in eval-set/ by their formula, the other subsets as means."""
    WRITERS["rewardbench2"](tmp_path / "data")
    comparisons = read_suite("rewardbench2", tmp_path / "data")
    scores = shorter_characters(comparisons)
    written = write_rewardbench(tmp_path, "rewardbench2", comparisons, scores, model="org/model")
    means = json.loads(written[0].read_text())
    figures = protocol("official").figures({"rewardbench2": (comparisons, scores)})
    ties = next(each.value for each in figures if each.name == "Ties")
    plain, _ = rewardbench_results(comparisons, scores, model="org/model")
    assert means["Ties"] == ties != plain["Ties"]
    assert {key: means[key] for key in means if key != "Ties"} == {
        key: plain[key] for key in plain if key != "Ties"
    }
