"""RewardBench's family: v1 in two forms, v2 with its ties, and math-prm whole.

    rewardbench(Path("rewardbench")) -> Comparison(..., meta={"class", "section"}), ...

v1 puts a chosen over a rejected reply; v2 one correct reply over three wrong ones, except in its
subset Ties, where several replies are equally correct.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from worldpm.errors import DataError
from worldpm.evals.rows import (
    MathRow,
    RewardBench2Row,
    RewardBenchRow,
    RewardBenchSetRow,
    find_tables,
    parse_row,
    read_rows,
    read_table,
)
from worldpm.evals.shaping import group, pair, user
from worldpm.records import Comparison
from worldpm.store import read_json_lines

_CLASSES = {
    "Chat": "subjective",
    "Chat Hard": "adversarial",
    "Safety": "safety",
    "Reasoning": "objective",
}
SECTIONS: dict[str, tuple[str, ...]] = {
    "Chat": (
        "alpacaeval-easy",
        "alpacaeval-length",
        "alpacaeval-hard",
        "mt-bench-easy",
        "mt-bench-med",
    ),
    "Chat Hard": (
        "mt-bench-hard",
        "llmbar-natural",
        "llmbar-adver-neighbor",
        "llmbar-adver-GPTInst",
        "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
    ),
    "Safety": (
        "refusals-dangerous",
        "refusals-offensive",
        "xstest-should-refuse",
        "xstest-should-respond",
        "donotanswer",
    ),
    "Reasoning": (
        "math-prm",
        "hep-cpp",
        "hep-go",
        "hep-java",
        "hep-js",
        "hep-python",
        "hep-rust",
    ),
}
_SECTION_OF = {subset: section for section, subsets in SECTIONS.items() for subset in subsets}
_RECUT = "rewardbench_2k.jsonl"
RECUT_ALPACA = "alpacaeval-easy|length|hard"  # the re-cut cannot tell the three apart


def rewardbench(folder: Path) -> Iterator[Comparison]:
    """RewardBench v1 (Lambert et al. 2024): 2,985 pairs, `filtered-*.parquet` or `filtered.jsonl`.

    `meta["section"]` is Chat, Chat Hard, Safety or Reasoning, and each section has its class in
    WorldPM 3.3. `raw-*.parquet` beside it holds rows that the authors took out, and is not read.
    The re-cut of 2,000 pairs, `rewardbench_2k.jsonl` with `subset.csv`, is read where it stands.
    """
    if (folder / _RECUT).is_file():
        yield from _recut(folder)
        return
    found = find_tables(folder, "RewardBench's rows", _is_no_raw)
    for path in [path for path in found if "filtered" in path.name] or found:
        for where, row in read_table(path, RewardBenchSetRow):
            if row.subset not in _SECTION_OF:
                raise DataError(f"{where}: subset {row.subset!r} is none of RewardBench's 23")
            yield _rewardbench_pair(
                str(row.id), row.subset, _SECTION_OF[row.subset], row.prompt,
                (row.chosen, row.rejected), a_wins=True,
            )  # fmt: skip


def _is_no_raw(place: str) -> bool:
    return "raw" not in place.rpartition("/")[2]


def _rewardbench_pair(
    name: str, subset: str, section: str, prompt: str, texts: tuple[str, str], *, a_wins: bool
) -> Comparison:
    return pair(
        f"rewardbench/{name}",
        "rewardbench",
        subset,
        user(prompt),
        texts,
        0 if a_wins else 1,
        {"class": _CLASSES[section], "section": section},
        swap=True,
    )


def _recut(folder: Path) -> Iterator[Comparison]:
    """2,000 of the 2,985 pairs; the file names the chosen reply A throughout."""
    path, table = folder / _RECUT, folder / "subset.csv"
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
        if section not in _CLASSES:
            raise DataError(
                f"{table}: id {row.id!r}: section {section!r} is none of {', '.join(_CLASSES)}"
            )
        if subset not in _SECTION_OF and subset != RECUT_ALPACA:
            raise DataError(f"{table}: id {row.id!r}: subset {subset!r} is none of RewardBench's")
        yield _rewardbench_pair(
            row.id, subset, section, row.prompt,
            (row.response_a, row.response_b), a_wins=row.label == "A",
        )  # fmt: skip
    if missing := sorted(places.keys() - seen):
        raise DataError(
            f"{path}: {len(missing)} rows of {table.name} are missing, {missing[0]!r} for one; "
            "the file is cut short, fetch it again"
        )


_V2_CLASSES = {
    "Factuality": "objective",
    "Precise IF": "objective",
    "Math": "objective",
    "Safety": "safety",
    "Focus": "subjective",
    "Ties": "objective",
}


def rewardbench2(folder: Path) -> Iterator[Comparison]:
    """RewardBench 2 (Malik et al. 2025): 1,865 prompts, `test-*.parquet`.

    A row has lists `chosen` and `rejected`, `num_correct`, `total_completions`, `subset` and `id`.
    In Ties an id is `ref:7` or `tied:7`, a prompt with one correct answer and its sister with
    several; `meta["ties"]` keeps the two halves. The paper does not use the set: the classes are
    ours. `meta["correct"]` gives the places of the correct replies.
    """
    for path in find_tables(folder, "RewardBench 2's rows"):
        for where, row in read_table(path, RewardBench2Row):
            subset = next((s for s in _V2_CLASSES if s.lower() == row.subset.lower()), None)
            if subset is None:
                raise DataError(
                    f"{where}: subset {row.subset!r} is none of {', '.join(_V2_CLASSES)}"
                )
            counts = (row.num_correct, row.total_completions)
            found = (len(row.chosen), len(row.chosen) + len(row.rejected))
            if counts != found or not row.chosen or not row.rejected:
                raise DataError(
                    f"{where}: num_correct and total_completions are {counts}, but there are "
                    f"{found} replies; is this the authors' file?"
                )
            meta = {"class": _V2_CLASSES[subset], "section": subset}
            if subset == "Ties":
                meta["ties"] = _ties_id(row, where)
            elif row.num_correct != 1:
                raise DataError(f"{where}: {subset} has one correct reply a row, not {counts[0]}")
            name = f"rewardbench2/{row.id}"
            yield group(
                name, "rewardbench2", subset, user(row.prompt), row.chosen, row.rejected, meta
            )


def _ties_id(row: RewardBench2Row, where: str) -> str:
    """`ref:7` or `tied:7`; a tied prompt has several correct replies, or it has no margin."""
    kind, _, number = str(row.id).partition(":")
    if kind not in ("ref", "tied") or not number.isdigit():
        raise DataError(f"{where}: id {row.id!r} of Ties must be ref:NUMBER or tied:NUMBER")
    if kind == "tied" and len(row.chosen) < 2:
        raise DataError(f"{where}: id {row.id!r} has one correct reply, a tied prompt has several")
    return str(row.id)


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
        yield pair(
            f"reward-math-prm/{problem_id}",
            "reward-math-prm",
            f"level-{row.level}",
            user(row.problem),
            (sides["chosen"], sides["rejected"]),
            0,
            {"class": "objective", "subject": row.subject},
            swap=True,
        )
