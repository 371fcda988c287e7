"""The suites that come as tables, from the hub or a repository: each row read, or named."""

import json
from collections import Counter
from pathlib import Path

import pytest
from suite_folders import (
    helpsteer_row,
    judgebench_row,
    ppe_row,
    ppe_vote,
    rewardbench2_row,
    rewardbench_row,
    rmb_best,
    rmb_pair,
    write,
    write_hh_rlhf,
    write_judgebench,
    write_lines,
    write_offsetbias,
    write_parquet,
    write_ppe,
    write_rewardbench_set,
    write_rm_bench,
    write_rmb,
)

from worldpm.errors import DataError
from worldpm.evals.suites import read_counted, read_suite
from worldpm.records import Edge


def words(comparison, reply: int) -> str:
    return comparison.replies[reply][0].content


def winner(comparison) -> str:
    return words(comparison, comparison.better[0].winner)


def test_rewardbench_reads_the_filtered_rows_of_the_hub(tmp_path):
    """Sections follow from subsets; the raw rows beside them are passed over."""
    found = read_suite("rewardbench", write_rewardbench_set(tmp_path))
    assert [c.meta["section"] for c in found] == ["Chat", "Chat Hard", "Safety", "Reasoning"]
    assert [c.id for c in found] == [f"rewardbench/{i}" for i in range(4)]
    assert all(winner(c).startswith("good") for c in found)


def test_rewardbench_reads_json_lines_too_and_refuses_two_forms(tmp_path):
    """The same row from JSON lines; Parquet beside it would count every row twice."""
    rows = [rewardbench_row(i) for i in range(3)]
    write_lines(tmp_path / "filtered.jsonl", rows)
    assert len(read_suite("rewardbench", tmp_path)) == 3
    write_parquet(tmp_path / "filtered.parquet", rows)
    with pytest.raises(DataError, match=r"stand there as \.jsonl and \.parquet"):
        read_suite("rewardbench", tmp_path)


def test_rewardbench2_puts_every_correct_over_every_wrong_reply(tmp_path):
    """One over three, three over four in Ties; the places of the correct ones are drawn by hash."""
    rows = [rewardbench2_row(str(i), "Math") for i in range(80)]
    rows.append(rewardbench2_row("tied:3", "Ties", 3, 4))
    write_parquet(tmp_path / "test.parquet", rows)
    *plain, tied = read_suite("rewardbench2", tmp_path)
    places = Counter(c.meta["correct"][0] for c in plain)
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) < 40
    assert all(len(c.better) == 3 and winner(c) == "right 0" for c in plain)
    assert (len(tied.better), tied.meta["ties"]) == (12, "tied:3")
    assert {words(tied, i) for i in tied.meta["correct"]} == {"right 0", "right 1", "right 2"}


def test_rmb_reads_both_sets_and_hides_the_best(tmp_path):
    """Sections by goal and mode; one best over two to six; the best may stand anywhere."""
    found = read_suite("rmb", write_rmb(tmp_path / "rmb"))
    assert Counter(c.meta["section"] for c in found) == {
        "helpfulness pairwise": 2, "harmlessness pairwise": 1,
        "helpfulness best-of-n": 2, "harmlessness best-of-n": 1,
    }  # fmt: skip
    assert all(winner(c) == "Hi!" for c in found)
    assert sorted(len(c.better) for c in found) == [1, 1, 1, 2, 4, 6]
    assert found[0].subset == "helpfulness pairwise, open-qa"
    write(tmp_path / "x" / "BoN_set" / "Harmlessness" / "S1.json",
          [rmb_best(str(i)) for i in range(60)])  # fmt: skip
    places = Counter(c.meta["correct"][0] for c in read_suite("rmb", tmp_path / "x"))
    assert set(places) == {0, 1, 2}
    assert max(places.values()) < 35


def test_rmb_leaves_out_an_edge_between_equal_replies(tmp_path):
    """The best against its copy says nothing; its other edges stay, and the loss is counted."""
    row = rmb_best("1", 3)
    row["loser_list"][1]["answer"] = "Hi!"
    write(tmp_path / "BoN_set" / "Harmlessness" / "S1.json", [row])
    found = read_suite("rmb", tmp_path)[0]
    assert (len(found.better), found.meta["equal_pairs"]) == (2, 1)


def test_ppe_weighs_a_pair_that_was_sampled_twice(tmp_path):
    """The right reply wins in either order of the pair; 0-1 stands there twice."""
    found = read_suite("ppe", write_ppe(tmp_path / "ppe"))
    best = next(c for c in found if c.subset == "mmlu-pro")
    assert best.better == (Edge(0, 1, weight=2.0), Edge(2, 3, weight=1.0))
    assert best.meta["correct"] == [0, 2]
    assert best.meta["model"].startswith("claude-3-haiku")
    votes = [c for c in found if c.subset == "human-preference"]
    assert [c.better[0].winner for c in votes] == [0, 1, 1]


def test_ppe_keeps_ties_without_an_edge(tmp_path):
    """tie and tie (bothbad) are rows that decide nothing, by name."""
    path = tmp_path / "PPE-Human-Preference-V1" / "test.jsonl"
    write_lines(path, [ppe_vote(), ppe_vote("tie"), ppe_vote("tie (bothbad)")])
    reading = read_counted("ppe", tmp_path)
    assert [len(c.better) for c in reading.comparisons] == [1, 0, 0]
    assert reading.undecided == {"labelled a tie": 2}


def test_judgebench_takes_the_repository_and_its_data_folder(tmp_path):
    """Sections by source, models by file name; outputs of judges are not data."""
    folder = write_judgebench(tmp_path / "JudgeBench")
    found = read_suite("judgebench", folder)
    assert found == read_suite("judgebench", folder / "data")
    assert [c.meta["section"] for c in found] == ["Coding", "Knowledge", "Math", "Reasoning"]
    assert [winner(c)[0] for c in found] == ["A", "A", "B", "B"]
    assert {c.meta["response_model"] for c in found} == {
        "gpt-4o-2024-05-13", "claude-3-5-sonnet-20240620"
    }  # fmt: skip


def test_offsetbias_takes_lines_in_a_json_file_and_a_list(tmp_path):
    """Label 2 wins with output 2, wherever the hash put it."""
    folder = write_offsetbias(tmp_path)
    texts = [winner(c) for c in read_suite("offsetbias", folder)]
    assert texts == ["Fixed.", "No fix, but long.", "Fixed."]
    write(folder / "train.json", [json.loads(x) for x in (folder / "train.json").open()])
    assert [winner(c) for c in read_suite("offsetbias", folder)] == texts


def test_hh_rlhf_drops_what_compares_nothing_and_the_totals_add_up(tmp_path):
    """Equal dialogues and ones that end with the user are counted; train files are not read."""
    folder = write_hh_rlhf(tmp_path)
    bad = [{"chosen": "\n\nHuman: Hi\n\nAssistant: A", "rejected": "\n\nHuman: Hi\n\nAssistant: A"},
           {"chosen": "\n\nHuman: Hi\n\nAssistant: A",
            "rejected": "\n\nHuman: Hi\n\nAssistant: B\n\nHuman: ?"}]  # fmt: skip
    write_lines(folder / "helpful-online" / "test.jsonl.gz", bad)
    reading = read_counted("hh-rlhf", folder)
    assert reading.dropped == {"equal replies": 1, "ends with the user": 1}
    assert len(reading.comparisons) + sum(reading.dropped.values()) == 24
    assert {c.meta["class"] for c in reading.comparisons} == {"safety", "subjective"}
    assert {c.better[0].winner for c in reading.comparisons} == {0, 1}
    assert all(winner(c) == "Hello." for c in reading.comparisons)


def test_helpsteer2_compares_each_attribute_of_neighbours(tmp_path):
    """Correctness ties, coherence turns round; a lone answer and equal answers are told."""
    rows = [helpsteer_row("Alone?", "Yes."),
            helpsteer_row("Hi<extra_id_1>Assistant\nYes?<extra_id_1>User\nWhy?", "Because."),
            helpsteer_row("Hi<extra_id_1>Assistant\nYes?<extra_id_1>User\nWhy?", "No idea.", 1),
            helpsteer_row("Same?", "Same."), helpsteer_row("Same?", "Same.", 0)]  # fmt: skip
    write_lines(tmp_path / "validation.jsonl", rows)
    reading = read_counted("helpsteer2", tmp_path)
    first = {c.subset: c for c in reading.comparisons[:5]}
    assert reading.dropped == {"only one answer": 1}
    assert 2 * len(reading.comparisons) // 5 + 1 == len(rows)
    assert winner(first["helpfulness"]) == "Because."
    assert winner(first["coherence"]) == "No idea."
    assert first["correctness"].meta["undecided"] == "labelled a tie"
    assert reading.undecided == {"labelled a tie": 1, "equal replies": 5}
    assert [m.role for m in first["verbosity"].prompt] == ["user", "assistant", "user"]


def broken_table(folder: Path, name: str, row: dict, **change) -> Path:
    good = {key: value for key, value in {**row, **change}.items() if value is not None}
    write_lines(folder / name, [row, good])
    return folder


BROKEN_TABLES = [
    ("rewardbench", "filtered.jsonl", rewardbench_row(1), {"subset": "poetry"},
     r"filtered\.jsonl:2: subset 'poetry' is none of RewardBench's 23"),
    ("rewardbench", "filtered.jsonl", rewardbench_row(1), {"chosen": None, "id": 2},
     r"filtered\.jsonl:2: chosen: field required"),
    ("rewardbench", "filtered.jsonl", rewardbench_row(1), {}, "'rewardbench/1' twice"),
    ("rewardbench2", "t.jsonl", rewardbench2_row("1", "Math"), {"num_correct": 2},
     r"t\.jsonl:2: num_correct and total_completions are \(2, 4\), but there are \(1, 4\)"),
    ("rewardbench2", "t.jsonl", rewardbench2_row("1", "Math"), {"subset": "Maths"},
     "subset 'Maths' is none of"),
    ("rewardbench2", "t.jsonl", rewardbench2_row("ref:1", "Ties"), {"id": "both:1"},
     "id 'both:1' of Ties must be ref:NUMBER or tied:NUMBER"),
    ("rewardbench2", "t.jsonl", rewardbench2_row("ref:1", "Ties"), {"id": "tied:1"},
     "'tied:1' has one correct reply"),
    ("rewardbench2", "t.jsonl", rewardbench2_row("1", "Math"), {},
     "'rewardbench2/1' twice"),
    ("ppe", "ppe-math/t.jsonl", ppe_row(), {"scores": [True]},
     r"t\.jsonl:2: 1 scores for 4 responses"),
    ("ppe", "ppe-math/t.jsonl", ppe_row(), {"sampled_conflict_pairs": [[0, 9]]},
     r"\[0, 9\] of 4 responses"),
    ("ppe", "ppe-math/t.jsonl", ppe_row(), {"sampled_conflict_pairs": [[0, 2]]},
     r"\[0, 2\] are both right, so neither is better"),
    ("ppe", "human_preference/t.jsonl", ppe_vote(), {"winner": "model_c"},
     "winner should be model_a, model_b or a tie, not 'model_c'"),
    ("judgebench", "dataset=judgebench,response_model=m.jsonl", judgebench_row("1"),
     {"label": "A=B"}, r"m\.jsonl:2: label: input should be 'A>B' or 'B>A'"),
    ("judgebench", "dataset=judgebench,response_model=m.jsonl", judgebench_row("1"),
     {"source": "poems"}, "source 'poems' belongs to none of"),
    ("judgebench", "dataset=judgebench,response_model=m.jsonl", judgebench_row("1"),
     {"response_B": None}, r"m\.jsonl:2: response_B: field required"),
    ("judgebench", "dataset=judgebench,response_model=m.jsonl", judgebench_row("1"), {},
     "'judgebench/m/1' twice"),
    ("offsetbias", "train.jsonl", {"instruction": "a", "output_1": "b", "output_2": "c",
     "label": 1}, {"label": 0}, r"train\.jsonl:2: label: input should be 1 or 2"),
    ("helpsteer2", "validation.jsonl", helpsteer_row("a", "b"), {"verbosity": 7},
     r"validation\.jsonl:2: verbosity: input should be less than or equal to 4"),
    ("hh-rlhf", "helpful-base/test.jsonl",
     {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
     {"chosen": "no turn"}, r"test\.jsonl:2: does not begin with a Human"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "row", "change", "message"), BROKEN_TABLES)
def test_a_malformed_row_of_a_table_is_named(name, file, row, change, message, tmp_path):
    """Missing fields, labels out of range and ids seen before name the file, the line, the key."""
    with pytest.raises(DataError, match=message):
        read_suite(name, broken_table(tmp_path, file, row, **change))


@pytest.mark.parametrize(
    ("part", "row", "change", "message"),
    [
        ("Pairwise_set", rmb_pair("1"), {"conversation_input": []}, "must end in the user's turn"),
        ("Pairwise_set", rmb_pair("1"), {"reject": {}}, r"S1\.json\[1\]: reject\.answer: field"),
        ("Pairwise_set", rmb_pair("1"), {}, "'rmb/pair/1' twice"),
        ("BoN_set", rmb_best("1"), {"loser_list": []}, "loser_list is empty"),
    ],
)
def test_a_malformed_row_of_rmb_is_named(part, row, change, message, tmp_path):
    """RMB's nested rows name the place within them."""
    write(tmp_path / part / "Harmlessness" / "S1.json", [row, {**row, **change}])
    with pytest.raises(DataError, match=message):
        read_suite("rmb", tmp_path)


def test_rm_bench_takes_the_file_of_all_domains(tmp_path):
    """The same comparisons as from the files of domains, which go first where both are there."""
    apart = read_suite("rm-bench", write_rm_bench(tmp_path / "rm-bench"))
    rows = []
    for domain in ("chat", "safety-refuse"):
        own = json.loads((tmp_path / "rm-bench" / f"{domain}_filtered.json").read_text())
        rows += [{**row, "domain": domain, "id": str(row["id"])} for row in own]
    write(tmp_path / "whole" / "total_dataset.json", rows)
    whole = read_suite("rm-bench", tmp_path / "whole")
    assert [(c.id, c.replies, c.better) for c in whole] == [
        (c.id, c.replies, c.better) for c in apart
    ]
    write(tmp_path / "rm-bench" / "total_dataset.json", rows[:1])
    assert read_suite("rm-bench", tmp_path / "rm-bench") == apart
    write(tmp_path / "whole" / "total_dataset.json", [{**rows[0], "domain": "poems"}])
    with pytest.raises(DataError, match=r"total_dataset\.json\[0\]: domain 'poems' is none of"):
        read_suite("rm-bench", tmp_path / "whole")


def test_rm_bench_leaves_out_the_edge_between_equal_replies(tmp_path):
    """A chosen and a rejected reply with one text: eight edges and a count of the ninth."""
    row = {"id": 1, "prompt": "?", "subset": "s", "chosen": ["a", "b", "c"],
           "rejected": ["d", "b", "e"]}  # fmt: skip
    write(tmp_path / "chat_filtered.json", [row])
    (found,) = read_suite("rm-bench", tmp_path)
    assert (len(found.better), found.meta["equal_pairs"]) == (8, 1)
    assert [words(found, i) for i in found.meta["correct"]] == ["a", "b", "c"]
