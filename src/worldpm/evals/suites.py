"""Benchmarks in their authors' own files -> comparisons.

    a folder of the benchmark -> read_suite("llmbar", folder) -> [Comparison, ...]

A suite is a function from the benchmark's own folder to an iterator of comparisons; `SUITES` names
them. `meta["class"]` is the paper's class of the row (WorldPM sections 3.2 and 3.3), absent where
the paper has none. Where the authors always put the better reply first, a hash of the id decides
the order here, so that no score function can win by position.

>>> read_suite("llmbar", Path("llmbar"))[0].better  # doctest: +SKIP
(Edge(winner=1, loser=0, margin=None, weight=1.0),)
"""

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from worldpm.errors import ConfigError, DataError
from worldpm.evals.rows import (
    EvalBiasRow,
    HHHRow,
    LLMBarRow,
    MathRow,
    RewardBenchRow,
    RMBenchRow,
    check_rows,
    load_json,
    parse_row,
    read_rows,
)
from worldpm.records import Comparison, Conversation, Edge, Message
from worldpm.rows import cut_turns
from worldpm.store import read_json_lines

Suite = Callable[[Path], Iterator[Comparison]]


def _user(text: str) -> Conversation:
    return (Message("user", text),)


def _assistant(text: str) -> Conversation:
    return (Message("assistant", text),)


def _heads(identifier: str) -> bool:
    """A fair coin that is the same on every machine and in every run."""
    return bool(hashlib.sha256(identifier.encode()).digest()[0] & 1)


def _pair(
    identifier: str,
    source: str,
    subset: str,
    prompt: Conversation,
    texts: tuple[str, str],
    winner: Literal[0, 1],
    meta: dict[str, Any],
    *,
    swap: bool,
) -> Comparison:
    """A comparison of two replies; with `swap`, in the order that the hash of the id gives.

    Two equal replies are a tie whatever the label says: they get no edge and `meta["undecided"]`.
    """
    if swap and _heads(identifier):
        texts, winner = (texts[1], texts[0]), 0 if winner else 1
    better: tuple[Edge, ...] = (Edge(winner, 1 - winner),)
    if texts[0] == texts[1]:
        better, meta = (), {**meta, "undecided": "equal replies"}
    replies = tuple(_assistant(text) for text in texts)
    return Comparison(identifier, source, subset, prompt, replies, better, meta)


def llmbar(folder: Path) -> Iterator[Comparison]:
    """LLMBar (Zeng et al. 2024): 419 pairs, `Dataset/LLMBar/{Natural,Adversarial/*}`.

    Subsets `natural`, `adversarial-manual`, ... All of class adversarial (WorldPM 3.2). The
    authors' order of the two outputs is kept: it is theirs, and balanced.
    """
    root = folder / "Dataset" / "LLMBar"
    parts = ["Natural", *(f"Adversarial/{n}" for n in ("GPTInst", "GPTOut", "Manual", "Neighbor"))]
    for part in parts:
        subset = part.lower().replace("/", "-")
        for index, (_, row) in enumerate(read_rows(root / part / "dataset.json", LLMBarRow)):
            yield _pair(
                f"llmbar/{subset}/{index}",
                "llmbar",
                subset,
                _user(row.input),
                (row.output_1, row.output_2),
                1 if row.label == 2 else 0,
                {"class": "adversarial"},
                swap=False,
            )


_REWARDBENCH_CLASSES = {
    "Chat": "subjective",
    "Chat Hard": "adversarial",
    "Safety": "safety",
    "Reasoning": "objective",
}


def rewardbench(folder: Path) -> Iterator[Comparison]:
    """RewardBench v1 (Lambert et al. 2024), the re-cut `rewardbench_2k.jsonl` with `subset.csv`.

    2,000 of the 2,985 pairs; `meta["section"]` is Chat, Chat Hard, Safety or Reasoning, and each
    section has its class in WorldPM 3.3. The file names the chosen reply A throughout.
    """
    path, table = folder / "rewardbench_2k.jsonl", folder / "subset.csv"
    try:
        with table.open(encoding="utf-8", newline="") as file:
            places = {row["id"]: (row["subset"], row["section"]) for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{table}: cannot be read: {error}; it maps each id to subset and section"
        ) from None
    except KeyError as error:
        raise DataError(f"{table}: lacks the column {error}; it needs id,subset,section") from None
    seen: set[str] = set()
    for number, raw in read_json_lines(path):
        row = parse_row(RewardBenchRow, raw, f"{path}:{number}")
        if row.id not in places:
            raise DataError(f"{path}:{number}: id {row.id!r} is not in {table.name}")
        subset, section = places[row.id]
        seen.add(row.id)
        if section not in _REWARDBENCH_CLASSES:
            raise DataError(
                f"{table}: id {row.id!r}: section {section!r} is none of "
                f"{', '.join(_REWARDBENCH_CLASSES)}"
            )
        yield _pair(
            f"rewardbench/{row.id}",
            "rewardbench",
            subset,
            _user(row.prompt),
            (row.response_a, row.response_b),
            0 if row.label == "A" else 1,
            {"class": _REWARDBENCH_CLASSES[section], "section": section},
            swap=True,
        )
    if missing := sorted(places.keys() - seen):
        raise DataError(
            f"{path}: {len(missing)} rows of {table.name} are missing, {missing[0]!r} for one; "
            "the file is cut short, fetch it again"
        )


_RM_BENCH_CLASSES = {
    "chat": "adversarial",
    "code": "objective",
    "math": "objective",
    "safety-refuse": "safety",
    "safety-response": "safety",
}


def rm_bench(folder: Path) -> Iterator[Comparison]:
    """RM-Bench (Liu et al. 2024): `{domain}_filtered.json`, six replies and nine edges a prompt.

    Each prompt has three chosen and three rejected replies of rising style: 0 concise, 1 detailed
    plain text, 2 detailed Markdown. `meta["style"]` gives the style of each reply, so that easy
    (the chosen has more style), normal (as much) and hard (less) can be told apart. A domain whose
    file is absent is left out, but not all of them; classes as in WorldPM 3.3.
    """
    found = [domain for domain in _RM_BENCH_CLASSES if _rm_bench_file(folder, domain).is_file()]
    if not found:
        raise DataError(f"{folder}: has no *_filtered.json; give RM-Bench's data folder")
    for domain in found:
        for index, (_, row) in enumerate(read_rows(_rm_bench_file(folder, domain), RMBenchRow)):
            identifier = f"rm-bench/{domain}/{index}"
            rejected_first = _heads(identifier)
            first, second = (
                (row.rejected, row.chosen) if rejected_first else (row.chosen, row.rejected)
            )
            chosen, rejected = (
                (range(3, 6), range(3)) if rejected_first else (range(3), range(3, 6))
            )
            yield Comparison(
                identifier,
                "rm-bench",
                domain,
                _user(row.prompt),
                tuple(_assistant(text) for text in first + second),
                tuple(Edge(winner, loser) for winner in chosen for loser in rejected),
                {
                    "class": _RM_BENCH_CLASSES[domain],
                    "section": domain.partition("-")[0],
                    "style": [0, 1, 2, 0, 1, 2],
                    "origin": row.subset,
                    "row": row.id,
                },
            )


def _rm_bench_file(folder: Path, domain: str) -> Path:
    return folder / f"{domain}_filtered.json"


def evalbiasbench(folder: Path) -> Iterator[Comparison]:
    """EvalBiasBench (Park et al. 2024): 80 pairs over six biases of judges.

    The paper does not use it; it is the small test set of the authors of OffsetBias, which the
    paper classes as adversarial, so that is its class here.
    """
    path = folder / "data" / "evalbiasbench" / "biasbench.json"
    groups = load_json(path)
    if not isinstance(groups, dict):
        raise DataError(f"{path}: holds a {type(groups).__name__}, not an object of biases")
    for bias, rows in groups.items():
        subset = re.sub(r"[ _]+", "-", bias.strip().lower())
        checked = check_rows(rows, EvalBiasRow, f"{path}[{bias!r}]")
        for index, (_, row) in enumerate(checked):
            yield _pair(
                f"evalbiasbench/{subset}/{index}",
                "evalbiasbench",
                subset,
                _user(row.instruction),
                (row.response1, row.response2),
                0 if row.label == 1 else 1,
                {"class": "adversarial"},
                swap=True,
            )


_JUDGE_PROMPT = re.compile(
    r"###The instruction to evaluate:\n(?P<prompt>.*?)\n\n"
    r"###Response to evaluate:\n(?P<reply>.*?)\n\n###Score Rubrics:\n",
    re.DOTALL,
)


def hhh(folder: Path) -> Iterator[Comparison]:
    """HHH alignment (Askell et al. 2021), 221 pairs, cut out of the judge prompt around each.

    A dialogue inside the instruction (`\\n\\nAssistant:`, `\\n\\nHuman:`) becomes messages. The
    paper does not use the set: harmless is classed here as safety, the others as subjective.
    """
    path = folder / "hhh_alignment_eval.json"
    for index, (where, row) in enumerate(read_rows(path, HHHRow)):
        chosen = _JUDGE_PROMPT.search(row.chosen_instruction)
        rejected = _JUDGE_PROMPT.search(row.rejected_instruction)
        if chosen is None or rejected is None:
            side = "chosen" if chosen is None else "rejected"
            raise DataError(f"{where}: {side}_instruction has no instruction and response to cut")
        if chosen["prompt"] != rejected["prompt"]:
            raise DataError(f"{where}: the chosen and the rejected answer different instructions")
        yield _pair(
            f"hhh/{index}",
            "hhh",
            row.source,
            _dialogue(chosen["prompt"], where),
            (chosen["reply"], rejected["reply"]),
            0,
            {"class": "safety" if row.source == "harmless" else "subjective"},
            swap=True,
        )


def _dialogue(text: str, where: str) -> Conversation:
    _, (first, *rest) = cut_turns(f"\n\nHuman:{text}")
    messages = [first]
    for turn in rest:
        if turn.role == messages[-1].role:
            raise DataError(f"{where}: two turns in a row by the {turn.role}")
        messages.append(Message(turn.role, turn.content.lstrip(" ")))
    if messages[-1].role != "user":
        raise DataError(f"{where}: the instruction ends in the assistant's turn")
    return tuple(messages)


def reward_math_prm(folder: Path) -> Iterator[Comparison]:
    """RewardBench's math-prm subset whole: 447 problems, one right and one wrong solution each.

    Steps are joined by line breaks. Two things to know when reading a number from it: the right
    solutions are people's, cut at full stops which are then lost, the wrong ones a model's; and
    RewardBench's own text ends the wrong ones with a `# Answer` block that this file lacks.
    """
    path = folder / "rewardbench_Easy_to_hard.json"
    solutions: dict[int, dict[str, str]] = {}
    problems: dict[int, MathRow] = {}
    for where, row in read_rows(path, MathRow):
        sides = solutions.setdefault(row.problem_id, {})
        if row.solution_type in sides:
            raise DataError(
                f"{where}: a second {row.solution_type} solution of problem {row.problem_id}"
            )
        first = problems.setdefault(row.problem_id, row)
        if first.problem != row.problem:
            raise DataError(f"{where}: problem {row.problem_id} has another text in an earlier row")
        sides[row.solution_type] = "\n".join(row.eval_solution)
    for problem_id, row in problems.items():
        sides = solutions[problem_id]
        if len(sides) < 2:
            missing = "rejected" if "chosen" in sides else "chosen"
            raise DataError(f"{path}: problem {problem_id} has no {missing} solution")
        yield _pair(
            f"reward-math-prm/{problem_id}",
            "reward-math-prm",
            f"level-{row.level}",
            _user(row.problem),
            (sides["chosen"], sides["rejected"]),
            0,
            {"class": "objective", "subject": row.subject},
            swap=True,
        )


SUITES: dict[str, Suite] = {
    "llmbar": llmbar,
    "rewardbench": rewardbench,
    "rm-bench": rm_bench,
    "evalbiasbench": evalbiasbench,
    "hhh": hhh,
    "reward-math-prm": reward_math_prm,
}


def read_suite(name: str, folder: Path) -> list[Comparison]:
    """All comparisons of a suite, in file order.

    Raises ConfigError for a name that is not in `SUITES`, DataError naming file and row for a file
    that is absent, empty, malformed or has an id twice.
    """
    if name not in SUITES:
        raise ConfigError(f"suite {name!r} is not known; choose from {', '.join(SUITES)}")
    comparisons = list(SUITES[name](folder))
    if not comparisons:
        raise DataError(f"{folder}: {name} has no rows there; fetch its files again")
    seen: set[str] = set()
    for comparison in comparisons:
        if comparison.id in seen:
            raise DataError(f"{folder}: {name} has the id {comparison.id!r} twice")
        seen.add(comparison.id)
    return comparisons
