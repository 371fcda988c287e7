"""The authors' rows at the border: which files are taken, and what is said of a wrong row."""

import gzip
import json

import pytest
from suite_folders import (
    helpsteer_row,
    ppe_row,
    rewardbench2_row,
    rmb_best,
    rmb_pair,
    write,
    write_hhh,
    write_lines,
    write_parquet,
    write_rm_bench,
)

from worldpm.errors import DataError
from worldpm.evals.rows import (
    HHRow,
    LLMBarRow,
    PPEBestRow,
    find_tables,
    load_json,
    parse_row,
    place,
    read_table,
)
from worldpm.evals.shaping import assistant, group, heads, pair, shuffled, user
from worldpm.evals.suites import read_counted, read_suite

ROW = {"input": "q", "output_1": "a", "output_2": "b", "label": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "1"}, "x: label: input should be 1 or 2"),
        ({"label": None}, "x: label: input should be 1 or 2"),
        ({"input": 3}, "x: input: input should be a valid string"),
        ({"input": None}, "x: input: input should be a valid string"),
        ({"output_2": ["b"]}, "x: output_2: "),
    ],
)
def test_a_value_of_another_type_is_named_and_not_bent(change, message):
    """No number becomes a text on the way in, and the key is named."""
    with pytest.raises(DataError, match=message):
        parse_row(LLMBarRow, {**ROW, **change}, "x")


@pytest.mark.parametrize("row", [None, [], "text", 5, {}])
def test_what_is_no_row_at_all_is_named_too(row):
    """A list, a text, nothing, or an object without keys."""
    with pytest.raises(DataError, match=r"^x: \w+: .*; is this the authors' file\?$"):
        parse_row(LLMBarRow, row, "x")


def test_unknown_keys_are_ignored_and_best_of_k_replies_gathered_in_order():
    """response_10 comes after response_9, and a gap ends the list."""
    row = {"prompt": "q", "scores": [True] * 11, "sampled_conflict_pairs": [], "other": 1,
           **{f"response_{n}": f"r{n}" for n in range(1, 12)}, "response_13": "lost"}  # fmt: skip
    found = parse_row(PPEBestRow, row, "x")
    assert found.responses == [f"r{n}" for n in range(1, 12)]
    with pytest.raises(DataError, match=r"x: responses\.1: input should be a valid string"):
        parse_row(PPEBestRow, {**row, "response_2": 5}, "x")


@pytest.mark.parametrize("text", ["", "{", "[1,", "\x00", "NaN"])
def test_a_file_that_is_no_json_is_named(text, tmp_path):
    """The path and what to do; also for an empty file."""
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.json: not valid JSON: .*; fetch the file again"):
        load_json(path)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        load_json(tmp_path)


def test_tables_are_found_in_any_depth_without_hidden_and_info_files(tmp_path):
    """By name, whatever the letters' size; other endings and the hub's own files are no tables."""
    for name in ("b/x.parquet", "a/Y.PARQUET", ".cache/z.parquet", "dataset_info.parquet",
                 "readme.md", "b/.hidden.parquet"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_tables(tmp_path, "rows")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "a/Y.PARQUET", "b/x.parquet"
    ]  # fmt: skip
    assert place(tmp_path, found[0]).endswith("/a/y.parquet")
    with pytest.raises(DataError, match=r"has no file of rows \(\.parquet, "):
        find_tables(tmp_path, "rows", lambda name: "nothing" in name)


def test_the_same_rows_in_two_forms_are_refused(tmp_path):
    """Reading both would count each row twice."""
    write_lines(tmp_path / "x.jsonl", [ROW])
    write_parquet(tmp_path / "x.parquet", [ROW])
    with pytest.raises(DataError, match=r"rows stand there as \.jsonl and \.parquet; leave one"):
        find_tables(tmp_path, "rows")


def test_every_form_of_a_table_gives_the_same_rows(tmp_path):
    """Parquet, JSON lines, zipped or not, a JSON list, and lines in a file called .json."""
    rows = [{"chosen": f"a{n}", "rejected": "b"} for n in range(3)]
    spaced = tmp_path / "spaced.json"
    spaced.write_text("\n  " + json.dumps(rows))
    paths = [
        write_parquet(tmp_path / "x.parquet", rows) or tmp_path / "x.parquet",
        write_lines(tmp_path / "x.jsonl", rows), write_lines(tmp_path / "x.jsonl.gz", rows),
        write(tmp_path / "list.json", rows), write_lines(tmp_path / "lines.json", rows), spaced,
    ]  # fmt: skip
    for path in paths:
        found = list(read_table(path, HHRow))
        assert [row.chosen for _, row in found] == ["a0", "a1", "a2"]
        assert all(str(path) in where for where, _ in found)


def test_a_zipped_file_cut_short_names_itself(tmp_path):
    """Half a gzip file is an error with its path, not half a suite."""
    path = tmp_path / "helpful-base" / "test.jsonl.gz"
    path.parent.mkdir()
    lines = "".join(
        json.dumps({"chosen": f"\n\nHuman: q{n}\n\nAssistant: {n * 7919}", "rejected": "x"}) + "\n"
        for n in range(2000)
    )
    data = gzip.compress(lines.encode())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"test\.jsonl\.gz"):
        list(read_table(path, HHRow))


def test_hh_rlhf_names_a_row_that_begins_with_no_turn(tmp_path):
    """The chosen or the rejected without `Human:` or `Assistant:` is not their file."""
    row = {"chosen": "hello", "rejected": "\n\nHuman: q\n\nAssistant: a"}
    write_lines(tmp_path / "helpful-base" / "test.jsonl", [row])
    with pytest.raises(DataError, match="does not begin with a Human: or Assistant: turn"):
        read_counted("hh-rlhf", tmp_path)


def test_hhh_names_an_instruction_that_ends_with_the_assistant(tmp_path):
    """There is nobody to answer."""
    folder = write_hhh(tmp_path)
    path = folder / "hhh_alignment_eval.json"
    rows = json.loads(path.read_text())
    for key in ("chosen_instruction", "rejected_instruction"):
        rows[0][key] = rows[0][key].replace(
            "\n\n###Response to evaluate", "\n\nAssistant: done\n\n###Response to evaluate"
        )
    write(path, rows)
    with pytest.raises(DataError, match=r"\[0\]: the instruction ends in the assistant's turn"):
        read_suite("hhh", folder)


def test_a_third_answer_of_one_prompt_is_dropped_and_counted(tmp_path):
    """HelpSteer2 has two a prompt: of three the last stands alone, and ids stay apart."""
    rows = [helpsteer_row("p", "a", 1), helpsteer_row("p", "b", 3), helpsteer_row("p", "c", 2),
            helpsteer_row("q", "a", 1), helpsteer_row("q", "b", 3)]  # fmt: skip
    write_lines(tmp_path / "validation.jsonl", rows)
    reading = read_counted("helpsteer2", tmp_path)
    assert reading.dropped == {"only one answer": 1}
    assert len({each.id for each in reading.comparisons}) == len(reading.comparisons) == 10
    write_lines(tmp_path / "validation.jsonl", [helpsteer_row("p", "a", 5)])
    with pytest.raises(DataError, match=r"validation\.jsonl:1: helpfulness: .* equal to 4"):
        read_counted("helpsteer2", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampled_conflict_pairs": [[0, 9]]}, r"\[0, 9\] of 4 responses"),
        ({"sampled_conflict_pairs": [[-1, 0]]}, r"\[-1, 0\] of 4 responses"),
        ({"sampled_conflict_pairs": [[1, 1]]}, r"\[1, 1\] are both "),
        ({"scores": [True]}, "1 scores for 4 responses"),
    ],
)
def test_ppe_pairs_that_cannot_be_are_named(change, message, tmp_path):
    """A place out of range, a pair of one side, or too few marks."""
    write_parquet(tmp_path / "PPE-GPQA-Best-of-K" / "x.parquet", [{**ppe_row(), **change}])
    with pytest.raises(DataError, match=message):
        read_suite("ppe", tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**rewardbench2_row("1", "Math"), "num_correct": 2}, "num_correct and total_completions"),
        ({**rewardbench2_row("1", "Math"), "subset": "Poems"}, "subset 'Poems' is none of"),
        (rewardbench2_row("1", "Math", correct=2), "Math has one correct reply a row, not 2"),
        (rewardbench2_row("x:1", "Ties"), "must be ref:NUMBER or tied:NUMBER"),
        (rewardbench2_row("ref:one", "Ties"), "must be ref:NUMBER or tied:NUMBER"),
        (rewardbench2_row("tied:1", "Ties"), "has one correct reply, a tied prompt has several"),
    ],
)
def test_rewardbench2_rows_that_its_formula_cannot_take_are_named(row, message, tmp_path):
    """Counts that do not fit, an unknown subset, ids that no formula can pair."""
    write_lines(tmp_path / "x.jsonl", [row])
    with pytest.raises(DataError, match=message):
        read_suite("rewardbench2", tmp_path)


def test_rmb_needs_losers_and_a_question(tmp_path):
    """A best reply over nobody, or a conversation that ends with the assistant, is named."""
    path = tmp_path / "BoN_set" / "Helpfulness" / "x" / "y.json"
    write(path, [{**rmb_best("b"), "loser_list": []}])
    with pytest.raises(DataError, match=r"y\.json\[0\]: loser_list is empty"):
        read_suite("rmb", tmp_path)
    path.unlink()
    row = rmb_pair("p")
    row["conversation_input"] = [{"role": "assistant", "content": "hi"}]
    write(tmp_path / "Pairwise_set" / "Harmlessness" / "z.json", [row])
    with pytest.raises(DataError, match="must end in the user's turn"):
        read_suite("rmb", tmp_path)


def test_rm_bench_in_one_file_names_an_unknown_domain(tmp_path):
    """total_dataset.json is read where no file of a domain is there, row by row."""
    folder = write_rm_bench(tmp_path)
    rows = json.loads((folder / "chat_filtered.json").read_text())
    for path in folder.glob("*_filtered.json"):
        path.unlink()
    write(folder / "total_dataset.json", [{**row, "domain": "chat"} for row in rows])
    assert [each.id for each in read_suite("rm-bench", folder)] == [
        "rm-bench/chat/0", "rm-bench/chat/1"
    ]  # fmt: skip
    write(folder / "total_dataset.json", [{**rows[0], "domain": "poems"}])
    with pytest.raises(DataError, match=r"\[0\]: domain 'poems' is none of chat"):
        read_suite("rm-bench", folder)


def test_a_swapped_pair_keeps_its_winner_and_a_tie_stays_one():
    """Over many ids both orders come, and the better text wins in each."""
    seen = set()
    for number in range(40):
        each = pair(f"id{number}", "s", "t", user("q"), ("good", "bad"), 0, {}, swap=True)
        (edge,) = each.better
        assert each.replies[edge.winner] == assistant("good")
        assert (edge.winner == 1) is heads(f"id{number}")
        seen.add(edge.winner)
        tie = pair(f"id{number}", "s", "t", user("q"), ("good", "bad"), None, {}, swap=True)
        assert (tie.better, tie.meta["undecided"]) == ((), "labelled a tie")
    assert seen == {0, 1}
    same = pair("x", "s", "t", user("q"), ("good", "good"), 1, {"a": 1}, swap=False)
    assert (same.better, same.meta) == ((), {"a": 1, "undecided": "equal replies"})


def test_a_group_counts_the_pairs_of_one_text_and_keeps_the_others():
    """Two right and two wrong, one text on both sides: three edges, one counted."""
    each = group("g", "s", "t", user("q"), ["a", "b"], ["b", "c"], {})
    assert len(each.better) == 3
    assert each.meta["equal_pairs"] == 1
    texts = [reply[0].content for reply in each.replies]
    assert sorted(texts) == ["a", "b", "b", "c"]
    assert {(texts[e.winner], texts[e.loser]) for e in each.better} == {
        ("a", "b"), ("a", "c"), ("b", "c")
    }  # fmt: skip
    none = group("g", "s", "t", user("q"), ["a"], ["a"], {})
    assert (none.better, none.meta["undecided"]) == ((), "equal replies")
    assert sorted(shuffled("g", 50)) == list(range(50))
    assert shuffled("g", 50) != shuffled("h", 50)
