"""Suites that look at one prompt from several sides: RM-Bench's styles, RMB's scenarios.

rm_bench(Path("rm_bench")) -> Comparison of six replies and nine edges, ...
rmb(Path("rmb"))           -> pairs, and comparisons of one best reply with two to six others
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from worldpm.errors import DataError
from worldpm.evals.rows import (
    RMBBestRow,
    RMBenchRow,
    RMBPairRow,
    RMBTurn,
    read_rows,
)
from worldpm.evals.shaping import EQUAL, assistant, group, heads, pair, user
from worldpm.records import Comparison, Conversation, Edge, Message

_RM_BENCH_CLASSES = {
    "chat": "adversarial",
    "code": "objective",
    "math": "objective",
    "safety-refuse": "safety",
    "safety-response": "safety",
}


def rm_bench(folder: Path) -> Iterator[Comparison]:
    """RM-Bench (Liu et al. 2024): `{domain}_filtered.json` or `total_dataset.json`, 1,327 prompts.

    Six replies and nine edges a prompt, and where the files of domains are there, they are read.

    Each prompt has three chosen and three rejected replies of rising style: 0 concise, 1 detailed
    plain text, 2 detailed Markdown. `meta["style"]` gives the style of each reply, so that easy
    (the chosen has more style), normal (as much) and hard (less) can be told apart, and
    `meta["correct"]` the places of the chosen. A domain whose file is absent is left out, but not
    all of them; classes as in WorldPM 3.3. A chosen and a rejected reply with one text get no edge.
    """
    found = [domain for domain in _RM_BENCH_CLASSES if _rm_bench_file(folder, domain).is_file()]
    whole = folder / "total_dataset.json"
    if not found and not whole.is_file():
        raise DataError(
            f"{folder}: has no *_filtered.json and no {whole.name}; give RM-Bench's data folder"
        )
    for domain in found:
        for index, (_, row) in enumerate(read_rows(_rm_bench_file(folder, domain), RMBenchRow)):
            yield _grid(f"rm-bench/{domain}/{index}", domain, row)
    if found:
        return
    numbers: Counter[str] = Counter()
    for where, row in read_rows(whole, RMBenchRow):
        if row.domain not in _RM_BENCH_CLASSES:
            raise DataError(
                f"{where}: domain {row.domain!r} is none of {', '.join(_RM_BENCH_CLASSES)}"
            )
        yield _grid(f"rm-bench/{row.domain}/{numbers[row.domain]}", row.domain, row)
        numbers[row.domain] += 1


def _grid(identifier: str, domain: str, row: RMBenchRow) -> Comparison:
    rejected_first = heads(identifier)
    texts = row.rejected + row.chosen if rejected_first else row.chosen + row.rejected
    chosen, rejected = (range(3, 6), range(3)) if rejected_first else (range(3), range(3, 6))
    every = [(i, j) for i in chosen for j in rejected]
    better = tuple(Edge(i, j) for i, j in every if texts[i] != texts[j])
    meta = {
        "class": _RM_BENCH_CLASSES[domain],
        "section": domain.partition("-")[0],
        "style": [0, 1, 2, 0, 1, 2],
        "correct": list(chosen),
        "origin": row.subset,
        "row": row.id,
    }
    if len(better) < len(every):
        meta["equal_pairs"] = len(every) - len(better)
    if not better:
        meta["undecided"] = EQUAL
    replies = tuple(assistant(text) for text in texts)
    return Comparison(identifier, "rm-bench", domain, user(row.prompt), replies, better, meta)


def _rm_bench_file(folder: Path, domain: str) -> Path:
    return folder / f"{domain}_filtered.json"


_RMB_CLASSES = {"Helpfulness": "subjective", "Harmlessness": "safety"}


def rmb(folder: Path) -> Iterator[Comparison]:
    """RMB (Zhou et al. 2024): `{Pairwise_set,BoN_set}/{Helpfulness,Harmlessness}/**/*.json`.

    `meta["section"]` is `helpfulness pairwise`, `helpfulness best-of-n`, and so for harmlessness;
    the subset adds the task or the kind of harm. Best-of-n: one best reply over each of two to six
    others. A scenario whose file is absent is left out, but not all of them. Safety and subjective
    as in WorldPM 3.3.
    """
    for part, mode in (("Pairwise_set", "pairwise"), ("BoN_set", "best-of-n")):
        for goal in _RMB_CLASSES:
            root = folder / part / goal
            for path in sorted(root.rglob("*.json")):
                scenario = path.relative_to(root).with_suffix("").as_posix()
                yield from _scenario(path, goal, mode, scenario)


def _scenario(path: Path, goal: str, mode: str, scenario: str) -> Iterator[Comparison]:
    section = f"{goal.lower()} {mode}"
    subset = f"{section}, {re.sub(r'[ _]+', '-', scenario.partition('/')[0].lower())}"
    meta = {"class": _RMB_CLASSES[goal], "section": section, "scenario": scenario}
    if mode == "pairwise":
        for where, row in read_rows(path, RMBPairRow):
            yield pair(
                f"rmb/pair/{row.pair_uid}",
                "rmb",
                subset,
                _turns(row.conversation_input, where),
                (row.chosen.answer, row.reject.answer),
                0,
                meta,
                swap=True,
            )
        return
    for where, best in read_rows(path, RMBBestRow):
        if not best.loser_list:
            raise DataError(f"{where}: loser_list is empty, so there is nothing to be best of")
        yield group(
            f"rmb/bon/{best.bon_uid}",
            "rmb",
            subset,
            _turns(best.conversation_input, where),
            [best.bon_best.answer],
            [loser.answer for loser in best.loser_list],
            meta,
        )


def _turns(turns: tuple[RMBTurn, ...], where: str) -> Conversation:
    if not turns or turns[-1].role != "user":
        raise DataError(f"{where}: conversation_input must end in the user's turn")
    return tuple(Message(turn.role, turn.content) for turn in turns)
