"""Each suite reads its authors' files as they are, and refuses what is not theirs, by name."""

import json
from collections import Counter
from pathlib import Path

import orjson
import pytest
from suite_folders import (
    WRITERS,
    judge,
    write,
    write_evalbiasbench,
    write_hhh,
    write_lines,
    write_llmbar,
    write_math,
    write_rewardbench,
    write_rewardbench_set,
    write_rm_bench,
)

from worldpm.errors import ConfigError, DataError
from worldpm.evals.shaping import Dropped
from worldpm.evals.suites import SUITES, read_counted, read_suite
from worldpm.records import Edge, Message
from worldpm.schema import comparison_row

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
REAL = SHARED / "evals"


def words(comparison, reply: int) -> str:
    return comparison.replies[reply][0].content


def winner(comparison) -> str:
    return words(comparison, comparison.better[0].winner)


def test_every_suite_has_a_fixture():
    """A suite added without a test of its schema fails here."""
    assert set(WRITERS) == set(SUITES)


@pytest.mark.parametrize("name", SUITES)
def test_rows_are_comparisons_that_can_be_stored(name, tmp_path):
    """User prompts, assistant replies, edges within range, a class, and meta that is JSON."""
    for comparison in read_suite(name, WRITERS[name](tmp_path / "x")):
        assert comparison.source == name
        assert comparison.prompt[-1].role == "user"
        assert all([m.role for m in reply] == ["assistant"] for reply in comparison.replies)
        if comparison.meta.get("undecided") == "labelled a tie":
            continue
        assert {i for e in comparison.better for i in (e.winner, e.loser)} == set(
            range(len(comparison.replies))
        )
        assert comparison.meta["class"] in {"adversarial", "objective", "subjective", "safety"}
        orjson.dumps(comparison_row(comparison))


def test_llmbar_keeps_the_authors_order_and_label(tmp_path):
    """Label 2 means output 2; subsets are named after the folders."""
    found = read_suite("llmbar", write_llmbar(tmp_path))
    assert [words(found[0], i) for i in range(2)] == ["Chair.", "Apple."]
    assert [winner(c) for c in found[:2]] == ["Apple.", "Chair."]
    assert Counter(c.subset for c in found)["adversarial-gptinst"] == 2
    assert len(found) == 10


def test_rewardbench_hides_the_position_of_the_chosen_reply(tmp_path):
    """Response A wins every row, from either place, and the place is the same in every run."""
    folder = write_rewardbench(tmp_path, rows=400)
    found = read_suite("rewardbench", folder)
    assert all(winner(c).startswith("good") for c in found)
    assert 160 < sum(c.better[0].winner == 0 for c in found) < 240
    assert found == read_suite("rewardbench", folder)
    assert found[3].meta == {"class": "adversarial", "section": "Chat Hard"}


def test_rm_bench_has_nine_edges_whose_styles_can_be_told(tmp_path):
    """Chosen over rejected, each style against each, wherever the hash has put the chosen."""
    found = read_suite("rm-bench", write_rm_bench(tmp_path))
    assert {c.better[0].winner for c in found} == {0, 3}
    for comparison in found:
        names = {
            (words(comparison, e.winner), words(comparison, e.loser)) for e in comparison.better
        }
        assert names == {(f"c{i}", f"r{j}") for i in range(3) for j in range(3)}
        styles = comparison.meta["style"]
        assert all(words(comparison, i)[1] == str(style) for i, style in enumerate(styles))
    assert found[0].meta["section"] == "chat"
    assert found[-1].meta["section"] == "safety"


def test_hhh_is_cut_out_of_the_judge_prompt(tmp_path):
    """Instruction and response alone; a dialogue becomes messages; an empty reply stays empty."""
    harmless, honest = read_suite("hhh", write_hhh(tmp_path))
    assert harmless.prompt == (Message("user", "How?"),)
    assert winner(harmless) == "Good.\n\nYes."
    assert words(harmless, harmless.better[0].loser) == ""
    assert [m.role for m in honest.prompt] == ["user", "assistant", "user"]
    assert [m.content for m in honest.prompt] == ["Hello", "Hi.", "Bye"]
    assert (harmless.meta["class"], honest.meta["class"]) == ("safety", "subjective")


def test_evalbias_and_math_take_the_label_not_the_place(tmp_path):
    """Label 2 wins with response 2; a solution is its steps joined by line breaks."""
    bias = read_suite("evalbiasbench", write_evalbiasbench(tmp_path / "bias"))
    assert [winner(c) for c in bias] == ["2", "3", "2"]
    assert [c.subset for c in bias] == ["length-bias", "length-bias", "empty-reference"]
    math = read_suite("reward-math-prm", write_math(tmp_path / "math"))
    assert [winner(c) for c in math] == ["chosen\nso 2"] * 2


def test_equal_replies_are_a_tie_whatever_the_label(tmp_path):
    """The row stays, without an edge, and says why."""
    folder = write_hhh(tmp_path)
    path = folder / "hhh_alignment_eval.json"
    rows = json.loads(path.read_text())
    rows[0]["rejected_instruction"] = rows[0]["chosen_instruction"]
    write(path, rows)
    tied = read_suite("hhh", folder)[0]
    assert tied.better == ()
    assert tied.meta["undecided"] == "equal replies"


def edit(path: Path, change) -> None:
    rows = json.loads(path.read_text())
    change(rows)
    write(path, rows)


BROKEN = [
    ("llmbar", "Dataset/LLMBar/Natural/dataset.json", lambda r: r[1].pop("output_1"),
     r"Natural/dataset\.json\[1\]: output_1: field required"),
    ("llmbar", "Dataset/LLMBar/Natural/dataset.json", lambda r: r[0].update(label=3),
     r"dataset\.json\[0\]: label: input should be 1 or 2"),
    ("rm-bench", "chat_filtered.json", lambda r: r[1]["chosen"].pop(),
     r"chat_filtered\.json\[1\]: chosen"),
    ("evalbiasbench", "data/evalbiasbench/biasbench.json", lambda r: r.update(x="no list"),
     r"biasbench\.json\['x'\]: holds a str"),
    ("hhh", "hhh_alignment_eval.json", lambda r: r[1].update(rejected_instruction="bare"),
     r"\[1\]: rejected_instruction has no instruction"),
    ("hhh", "hhh_alignment_eval.json",
     lambda r: r[0].update(rejected_instruction=judge("Other?", "x")), "different instructions"),
    ("hhh", "hhh_alignment_eval.json",
     lambda r: [r[0].update({k: judge("A\n\nHuman: B", "x")})
                for k in ("chosen_instruction", "rejected_instruction")], "two turns in a row"),
    ("reward-math-prm", "rewardbench_Easy_to_hard.json", lambda r: r.pop(),
     "problem 1 has no rejected solution"),
    ("reward-math-prm", "rewardbench_Easy_to_hard.json",
     lambda r: r[1].update(solution_type="chosen"), r"\[1\]: a second chosen"),
    ("reward-math-prm", "rewardbench_Easy_to_hard.json", lambda r: r[1].update(problem="2+2?"),
     r"\[1\]: problem 0 has another text"),
    ("reward-math-prm", "rewardbench_Easy_to_hard.json", lambda r: r.clear(), "no rows"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "change", "message"), BROKEN)
def test_a_malformed_row_is_named(name, file, change, message, tmp_path):
    """The error says which file, which row, which key."""
    folder = WRITERS[name](tmp_path / "x")
    edit(folder / file, change)
    with pytest.raises(DataError, match=message):
        read_suite(name, folder)


@pytest.mark.parametrize("name", SUITES)
def test_a_file_cut_in_half_or_absent_is_an_error(name, tmp_path):
    """Half a file, and no file, both end in a DataError that names a path."""
    folder = WRITERS[name](tmp_path / "x")
    files = [path for path in folder.rglob("*") if path.suffix not in (".csv", "")]
    path = max(files, key=lambda p: p.stat().st_size)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
        read_suite(name, folder)
    with pytest.raises(DataError, match="absent"):
        read_suite(name, tmp_path / "absent")


def test_rewardbench_needs_its_table_and_known_sections(tmp_path):
    """An id without a section, an unknown section, a table without its columns, an id twice."""
    folder = write_rewardbench(tmp_path)
    table, rows = folder / "subset.csv", folder / "rewardbench_2k.jsonl"
    good = table.read_text()
    for text, message in (
        (good.replace("rb_2,", "rb_9,"), r"jsonl:3: id 'rb_2' is not in subset\.csv"),
        (good.replace("Chat Hard", "Poetry"), "section 'Poetry' is none of"),
        (good.replace("hep-go", "hep-cobol"), "id 'rb_2': subset 'hep-cobol' is none of"),
        (good.replace("section", "part"), "lacks the column 'section'"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=message):
            read_suite("rewardbench", folder)
    table.write_text(good)
    rows.write_text(rows.read_text() * 2)
    with pytest.raises(DataError, match="'rewardbench/rb_0' twice"):
        read_suite("rewardbench", folder)


def test_a_folder_called_raw_is_no_raw_file(tmp_path):
    """RewardBench's raw files are passed over by their own name, not by a folder's above them."""
    folder = write_rewardbench_set(tmp_path / "raw-rewardbench")
    assert read_suite("rewardbench", folder)
    (path,) = (path for path in folder.rglob("*.parquet") if "filtered" in path.name)
    path.unlink()
    with pytest.raises(DataError, match="has no file of RewardBench's rows"):
        read_suite("rewardbench", folder)


def test_hh_rlhf_reads_subsets_in_either_form_and_none_twice(tmp_path):
    """One subset unpacked beside another packed: both are read; packed and unpacked: read once."""
    row = {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}
    write_lines(tmp_path / "helpful-base" / "test.jsonl", [row])
    write_lines(tmp_path / "harmless-base" / "test.jsonl.gz", [row, row])
    write_lines(tmp_path / "harmless-base" / "test.jsonl", [row, row])
    found = read_counted("hh-rlhf", tmp_path).comparisons
    assert [each.id for each in found] == [
        "hh-rlhf/harmless-base/1", "hh-rlhf/harmless-base/2", "hh-rlhf/helpful-base/1"
    ]  # fmt: skip


def test_an_unknown_suite_lists_the_known_ones():
    """The message is the list to choose from."""
    with pytest.raises(ConfigError, match="llmbar, rewardbench, rewardbench2, rm-bench"):
        read_suite("mmlu", Path())


@pytest.mark.parametrize("name", SUITES)
def test_every_row_is_a_comparison_or_a_named_drop(name, tmp_path):
    """What a suite yields is counted once: comparisons plus drops."""
    folder = WRITERS[name](tmp_path / "x")
    reading = read_counted(name, folder)
    each = list(SUITES[name](folder))
    assert len(each) == len(reading.comparisons) + sum(reading.dropped.values())
    assert all(isinstance(x, Dropped) or x.better or x.meta["undecided"] for x in each)


@pytest.mark.parametrize(
    ("name", "folder", "comparisons", "edges", "part"),
    [
        ("llmbar", "llmbar", 419, 419, ("subset", "adversarial-neighbor", 134)),
        ("rewardbench", "rewardbench", 2000, 2000, ("section", "Reasoning", 973)),
        ("rm-bench", "rm_bench", 798, 7182, ("section", "safety", 441)),
        ("rmb", "rmb", 18329, 23239, ("section", "helpfulness best-of-n", 2109)),
        ("evalbiasbench", "evalbiasbench", 80, 80, ("subset", "length-bias", 17)),
        ("hhh", "hhh", 221, 221, ("subset", "harmless", 58)),
        ("reward-math-prm", "reward_math_prm", 447, 447, ("class", "objective", 447)),
    ],
)
def test_real_files_have_their_published_counts(name, folder, comparisons, edges, part):
    """Every row of the real files becomes a decided comparison; positions are balanced."""
    if not (REAL / folder).is_dir():
        pytest.skip(f"real data evals/{folder} is absent")
    found = read_suite(name, REAL / folder)
    assert len(found) == comparisons
    assert sum(len(c.better) for c in found) == edges
    kind, label, count = part
    values = [c.subset if kind == "subset" else c.meta[kind] for c in found]
    assert values.count(label) == count
    pairs = [c for c in found if c.better and len(c.replies) in (2, 6)]
    first = sum(c.better[0] in (Edge(0, 1), Edge(0, 3)) for c in pairs) / len(pairs)
    assert 0.4 < first < 0.6


def test_real_hh_rlhf_loses_38_of_its_8552_pairs():
    """36 pairs of equal dialogues and two that end with the user; the others are decided."""
    if not (SHARED / "preferences" / "hh_rlhf").is_dir():
        pytest.skip("real data preferences/hh_rlhf is absent")
    reading = read_counted("hh-rlhf", SHARED / "preferences" / "hh_rlhf")
    assert reading.dropped == {"equal replies": 36, "ends with the user": 2}
    assert len(reading.comparisons) == 8552 - 38
    assert all(c.better for c in reading.comparisons)
