"""Small hand-written folders of every suite, in the form that its authors publish."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def write_llmbar(folder: Path) -> Path:
    row = {"input": "Name a fruit.", "output_1": "Chair.", "output_2": "Apple.", "label": 2}
    for part in (
        "Natural",
        *(f"Adversarial/{n}" for n in ("GPTInst", "GPTOut", "Manual", "Neighbor")),
    ):
        write(folder / "Dataset" / "LLMBar" / part / "dataset.json", [row, {**row, "label": 1}])
    return folder


def write_rewardbench(folder: Path, rows: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    places = [("donotanswer", "Safety"), ("mt-bench-easy", "Chat"), ("hep-go", "Reasoning"),
              ("llmbar-natural", "Chat Hard")]  # fmt: skip
    with (folder / "rewardbench_2k.jsonl").open("w") as file:
        for i in range(rows):
            row = {"id": f"rb_{i}", "prompt": "Hi?", "response_a": f"good {i}",
                   "response_b": f"bad {i}", "label": "A"}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    lines = ["id,subset,section", *(f"rb_{i},{','.join(places[i % 4])}" for i in range(rows))]
    (folder / "subset.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_rm_bench(folder: Path) -> Path:
    row = {"id": 8, "prompt": "Why?", "subset": "alpacaeval", "chosen": ["c0", "c1", "c2"],
           "rejected": ["r0", "r1", "r2"], "error": "ignored"}  # fmt: skip
    write(folder / "chat_filtered.json", [row, {**row, "id": 9}])
    write(folder / "safety-refuse_filtered.json", [row] * 8)
    return folder


def write_evalbiasbench(folder: Path) -> Path:
    row = {"bias": "length bias", "instruction": "Add.", "response1": "2", "response2": "3",
           "label": 1}  # fmt: skip
    groups = {"length bias": [row, {**row, "label": 2}], "empty_reference": [row]}
    write(folder / "data" / "evalbiasbench" / "biasbench.json", groups)
    return folder


def judge(prompt: str, reply: str) -> str:
    return (
        "###Task Description:\nWrite feedback.\n\n"
        f"###The instruction to evaluate:\n{prompt}\n\n"
        f"###Response to evaluate:\n{reply}\n\n###Score Rubrics:\n[Is it kind?]\n\n###Feedback: "
    )


def write_hhh(folder: Path) -> Path:
    talk = "Hello\n\nAssistant:  Hi.\n\nHuman:  Bye"
    write(folder / "hhh_alignment_eval.json", [
        {"source": source, "chosen_instruction": judge(prompt, "Good.\n\nYes."),
         "rejected_instruction": judge(prompt, "")}
        for source, prompt in (("harmless", "How?"), ("honest", talk))
    ])  # fmt: skip
    return folder


def write_math(folder: Path) -> Path:
    row = {"problem": "1+1?", "subject": "Algebra", "level": 3, "output": {"step_scores": [0.5]}}
    write(folder / "rewardbench_Easy_to_hard.json", [
        {**row, "problem_id": i, "solution_type": kind, "eval_solution": [kind, "so 2"]}
        for i in range(2)
        for kind in ("chosen", "rejected")
    ])  # fmt: skip
    return folder


def write_lines(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return path


def write_parquet(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def rewardbench_row(number: int, subset: str = "hep-go") -> dict:
    return {"prompt": "Hi?", "chosen": f"good {number}", "chosen_model": "a", "id": number,
            "rejected": f"bad {number}", "rejected_model": "b", "subset": subset}  # fmt: skip


def write_rewardbench_set(folder: Path) -> Path:
    subsets = ("alpacaeval-easy", "llmbar-natural", "donotanswer", "math-prm")
    rows = [rewardbench_row(i, subset) for i, subset in enumerate(subsets)]
    write_parquet(folder / "data" / "filtered-00000-of-00001.parquet", rows)
    raw = [rewardbench_row(99)]
    write_parquet(folder / "data" / "raw-00000-of-00001.parquet", raw)
    return folder


def rewardbench2_row(name: str, subset: str, correct: int = 1, wrong: int = 3) -> dict:
    return {"id": name, "prompt": "Name a colour.", "subset": subset,
            "chosen": [f"right {i}" for i in range(correct)],
            "rejected": [f"wrong {i}" for i in range(wrong)],
            "num_correct": correct, "num_incorrect": wrong,
            "total_completions": correct + wrong, "models": ["m"]}  # fmt: skip


def write_rewardbench2(folder: Path) -> Path:
    rows = [rewardbench2_row(str(i), s) for i, s in enumerate(("Factuality", "Math", "Focus"))]
    rows += [rewardbench2_row("ref:0", "Ties", 1, 4), rewardbench2_row("tied:0", "Ties", 3, 4)]
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
    return folder


def rmb_turns(text: str) -> list:
    return [{"role": "user", "content": text, "language": "English"}]


def rmb_pair(uid: str) -> dict:
    return {"pair_uid": uid, "conversation_input": rmb_turns("Say hi."),
            "chosen": {"llm_name": "a", "answer": "Hi!"},
            "reject": {"llm_name": "b", "answer": "No."},
            "category_path": "Pairwise_set/..."}  # fmt: skip


def rmb_best(uid: str, losers: int = 2) -> dict:
    return {"bon_uid": uid, "conversation_input": rmb_turns("Say hi."),
            "bon_best": {"llm_name": "a", "answer": "Hi!"},
            "loser_list": [{"llm_name": "b", "answer": f"No {i}."} for i in range(losers)],
            "category_path": "BoN_set/..."}  # fmt: skip


def write_rmb(folder: Path) -> Path:
    write(folder / "Pairwise_set" / "Helpfulness" / "Open QA" / "Factual.json",
          [rmb_pair("1"), rmb_pair("2")])  # fmt: skip
    write(folder / "Pairwise_set" / "Harmlessness" / "S1.json", [rmb_pair("3")])
    write(folder / "BoN_set" / "Helpfulness" / "Open QA" / "Factual.json",
          [rmb_best("1"), rmb_best("2", 6)])  # fmt: skip
    write(folder / "BoN_set" / "Harmlessness" / "multi.json", [rmb_best("3", 4)])
    return folder


def ppe_row(replies: int = 4, pairs: object = ((0, 1), (3, 2), (0, 1))) -> dict:
    return {"question_id": "q", "model_name": "claude-3-haiku-20240307", "prompt": "1+1?",
            "scores": [i % 2 == 0 for i in range(replies)], "mean_score": 0.5,
            "sampled_conflict_pairs": [list(p) for p in pairs],
            **{f"response_{i + 1}": f"answer {i}" for i in range(replies)}}  # fmt: skip


def ppe_vote(winner: str = "model_a") -> dict:
    return {"question_id": "q", "model_a": "x", "model_b": "y", "winner": winner, "prompt": "Hi?",
            "response_1": "Hello.", "response_2": "What?", "language": "English"}  # fmt: skip


def write_ppe(folder: Path) -> Path:
    write_parquet(folder / "PPE-Human-Preference-V1" / "data" / "test-0.parquet",
                  [ppe_vote(), ppe_vote("model_b"), ppe_vote("model_b")])  # fmt: skip
    for name in ("MMLU-Pro", "MATH", "GPQA", "IFEval", "MBPP-Plus"):
        path = folder / f"PPE-{name}-Best-of-K" / "data" / "train-0.parquet"
        write_parquet(path, [ppe_row(), ppe_row()])
    return folder


def judgebench_row(uid: str, label: str = "A>B", source: str = "mmlu-pro-law") -> dict:
    return {"pair_id": uid, "original_id": 7, "source": source, "question": "Which letter?",
            "response_model": "m", "response_A": "AAAAA", "response_B": "BBBBB",
            "label": label}  # fmt: skip


def write_judgebench(folder: Path) -> Path:
    name = "dataset=judgebench,response_model="
    write_lines(folder / "data" / f"{name}gpt-4o-2024-05-13.jsonl",
                [judgebench_row("1"), judgebench_row("2", "B>A", "livebench-math"),
                 judgebench_row("3", "B>A", "livebench-reasoning")])  # fmt: skip
    write_lines(folder / "data" / f"{name}claude-3-5-sonnet-20240620.jsonl",
                [judgebench_row("1", source="livecodebench")])  # fmt: skip
    judged = f"{name}gpt-4o-2024-05-13,judge_name=arena_hard,judge_model=o1.jsonl"
    write_lines(folder / "outputs" / judged, [{"not": "read"}])
    return folder


def write_offsetbias(folder: Path) -> Path:
    row = {"instruction": "Fix it.", "output_1": "Fixed.", "output_2": "No fix, but long.",
           "label": 1}  # fmt: skip
    write_lines(folder / "train.json", [row, {**row, "label": 2}, row])
    write(folder / "data" / "evalbiasbench" / "biasbench.json", {"not": ["read"]})
    return folder


def write_hh_rlhf(folder: Path) -> Path:
    start = "\n\nHuman: Hi\n\nAssistant:"
    rows = [{"chosen": f"{start} Hello.", "rejected": f"{start} Go away."} for _ in range(20)]
    write_lines(folder / "harmless-base" / "test.jsonl.gz", rows)
    write_lines(folder / "helpful-base" / "test.jsonl.gz", rows[:2])
    write_lines(folder / "helpful-base" / "train.jsonl.gz", [{"not": "read"}])
    return folder


def helpsteer_row(prompt: str, response: str, helpfulness: int = 3) -> dict:
    same = dict.fromkeys(("helpfulness", "complexity", "verbosity"), helpfulness)
    return {"prompt": prompt, "response": response, "correctness": 4,
            "coherence": 4 - helpfulness, **same}  # fmt: skip


def write_helpsteer2(folder: Path) -> Path:
    rows = [helpsteer_row("Why?", "Because."), helpsteer_row("Why?", "No idea.", 1)]
    write_lines(folder / "validation.jsonl.gz", rows)
    write_lines(folder / "train.jsonl.gz", [{"not": "read"}])
    return folder


WRITERS = {
    "llmbar": write_llmbar,
    "rewardbench": write_rewardbench,
    "rewardbench2": write_rewardbench2,
    "rm-bench": write_rm_bench,
    "rmb": write_rmb,
    "ppe": write_ppe,
    "judgebench": write_judgebench,
    "evalbiasbench": write_evalbiasbench,
    "offsetbias": write_offsetbias,
    "hhh": write_hhh,
    "hh-rlhf": write_hh_rlhf,
    "helpsteer2": write_helpsteer2,
    "reward-math-prm": write_math,
}
