"""Suites whose labels come from outside: PPE's checkers and voters, JudgeBench's right answers.

ppe(Path("ppe"))               -> Comparison of 32 replies, five edges, meta["correct"], ...
judgebench(Path("judgebench")) -> Comparison of two replies, meta["section"] Knowledge, ...
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from worldpm.errors import DataError
from worldpm.evals.rows import (
    JudgeBenchRow,
    PPEBestRow,
    PPEHumanRow,
    find_tables,
    parse_row,
    place,
    read_table,
)
from worldpm.evals.shaping import EQUAL, assistant, pair, user
from worldpm.records import Comparison, Edge
from worldpm.store import read_json_lines

_HUMAN = "human-preference"
PPE_CORRECTNESS = ("mmlu-pro", "math", "gpqa", "ifeval", "mbpp-plus")


def ppe(folder: Path) -> Iterator[Comparison]:
    """Preference Proxy Evaluations (Frick et al. 2024): human votes and five checked benchmarks.

    Folders as on the hub, `PPE-Human-Preference-V1`, `PPE-MMLU-Pro-Best-of-K`, ...: the name of
    the subset must stand in a file's path. Subsets that are absent are left out, but not all.
    Human: two replies and `winner`; a tie has no edge. The others: 32 replies, `meta["correct"]`
    the places of the right ones, and edges for `sampled_conflict_pairs`, five a prompt; one that
    the authors sampled twice weighs twice. Classes as in WorldPM 3.3.
    """
    known = (*PPE_CORRECTNESS, _HUMAN)
    tables = find_tables(folder, "PPE's rows", lambda name: any(each in name for each in known))
    numbers: Counter[str] = Counter()
    for path in tables:
        subset = next(each for each in known if each in place(folder, path))
        if subset == _HUMAN:
            for where, vote in read_table(path, PPEHumanRow):
                numbers[subset] += 1
                yield _vote(vote, numbers[subset], where)
        else:
            for where, row in read_table(path, PPEBestRow):
                numbers[subset] += 1
                yield _checked(row, subset, numbers[subset], where)


def _vote(row: PPEHumanRow, number: int, where: str) -> Comparison:
    winners: dict[str, Literal[0, 1]] = {"model_a": 0, "model_b": 1}
    if row.winner not in winners and not row.winner.startswith("tie"):
        raise DataError(f"{where}: winner should be model_a, model_b or a tie, not {row.winner!r}")
    return pair(
        f"ppe/{_HUMAN}/{number}",
        "ppe",
        _HUMAN,
        user(row.prompt),
        (row.response_1, row.response_2),
        winners.get(row.winner),
        {"class": "subjective", "section": "human", "language": row.language},
        swap=False,
    )


def _checked(row: PPEBestRow, subset: str, number: int, where: str) -> Comparison:
    texts = row.responses
    if len(row.scores) != len(texts):
        raise DataError(f"{where}: {len(row.scores)} scores for {len(texts)} responses")
    weights: Counter[tuple[int, int]] = Counter()
    equal_pairs = 0
    for i, j in row.sampled_conflict_pairs:
        if not (0 <= i < len(texts) and 0 <= j < len(texts)):
            raise DataError(f"{where}: sampled_conflict_pairs: {[i, j]} of {len(texts)} responses")
        if row.scores[i] == row.scores[j]:
            raise DataError(
                f"{where}: sampled_conflict_pairs: {[i, j]} are both "
                f"{'right' if row.scores[i] else 'wrong'}, so neither is better"
            )
        if texts[i] == texts[j]:
            equal_pairs += 1
        else:
            weights[(i, j) if row.scores[i] else (j, i)] += 1
    meta: dict[str, Any] = {
        "class": "objective",
        "section": "correctness",
        "model": row.model_name,
        "correct": [place for place, right in enumerate(row.scores) if right],
    }
    if equal_pairs:
        meta["equal_pairs"] = equal_pairs
    if not weights:
        meta["undecided"] = EQUAL if equal_pairs else "all right or all wrong"
    return Comparison(
        f"ppe/{subset}/{number}",
        "ppe",
        subset,
        user(row.prompt),
        tuple(assistant(text) for text in texts),
        tuple(Edge(i, j, weight=float(count)) for (i, j), count in weights.items()),
        meta,
    )


_JUDGEBENCH_SECTIONS = {
    "mmlu-pro": "Knowledge",
    "livebench-reasoning": "Reasoning",
    "livebench-math": "Math",
    "livecodebench": "Coding",
}
_JUDGEBENCH_FILE = "dataset=judgebench,response_model="


def judgebench(folder: Path) -> Iterator[Comparison]:
    """JudgeBench (Tan et al. 2024): `data/dataset=judgebench,response_model=*.jsonl`.

    350 pairs of answers by GPT-4o and 270 by Claude-3.5-Sonnet, one right and one wrong, `label`
    `A>B` or `B>A`. The section follows from `source`; `meta["response_model"]` from the name of
    the file. The authors' order is kept: labels are balanced. Not used by the paper; objective.
    """
    roots = (folder / "data", folder)
    found = [path for root in roots for path in sorted(root.glob(f"{_JUDGEBENCH_FILE}*.jsonl"))]
    found = [path for path in found if ",judge_name=" not in path.name]
    if not found:
        raise DataError(
            f"{folder}: has no data/{_JUDGEBENCH_FILE}*.jsonl; give the folder of the repository"
        )
    for path in found:
        model = path.stem.removeprefix(_JUDGEBENCH_FILE)
        for number, raw in read_json_lines(path):
            where = f"{path}:{number}"
            row = parse_row(JudgeBenchRow, raw, where)
            section = next(
                (_JUDGEBENCH_SECTIONS[key] for key in _JUDGEBENCH_SECTIONS if key in row.source),
                None,
            )
            if section is None:
                raise DataError(
                    f"{where}: source {row.source!r} belongs to none of "
                    f"{', '.join(_JUDGEBENCH_SECTIONS)}"
                )
            yield pair(
                f"judgebench/{model}/{row.pair_id or number}",
                "judgebench",
                row.source,
                user(row.question),
                (row.response_A, row.response_B),
                0 if row.label == "A>B" else 1,
                {"class": "objective", "section": section, "response_model": model},
                swap=False,
            )
