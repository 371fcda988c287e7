"""RewardBench's own result files: what its leaderboard reads, of scores that we made.

    write_rewardbench(OUT, "org/model", comparisons, scores)
        OUT/eval-set/org/model.json           {"alpacaeval-easy": 0.97, ..., "model", "model_type"}
        OUT/eval-set-scores/org/model.json    columns: one value a row in each

Keys and rules are those of `scripts/run_rm.py` and, for sets of more than two replies, of
`scripts/run_v2.py`: a pair is right if the chosen reply scores strictly higher; the best of several
has credit only if a right one is on top, shared with those that tie with it. RewardBench 2's Ties
have a score of their own, which the official protocol computes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from worldpm.evals.metrics import Scores, check_scores, right_replies
from worldpm.evals.protocols import protocol
from worldpm.evals.shaping import EQUAL
from worldpm.records import Comparison, turns
from worldpm.store import write_atomic

MODEL_TYPE = "Seq. Classifier"
TIES = "Ties"  # of RewardBench 2


def rewardbench_results(
    comparisons: Sequence[Comparison], scores: Scores, *, model: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(accuracy by subset, columns of rows), both with model, model_type and chat_template.

    Equal replies are a wrong row, as the authors count them; other comparisons without an edge take
    no part. A row's id is ours without the suite's name.
    """
    about = {"model": model, "model_type": MODEL_TYPE, "chat_template": "tokenizer"}
    rows = [
        _row(comparison, values.tolist())
        for comparison, values in zip(comparisons, check_scores(comparisons, scores), strict=True)
        if comparison.better or comparison.meta.get("undecided") == EQUAL
    ]
    results: dict[str, list[float]] = {}
    for row in rows:
        results.setdefault(row["subset"], []).append(row["results"])
    means = {subset: sum(own) / len(own) for subset, own in sorted(results.items())}
    columns = {key: [row.get(key) for row in rows] for key in (rows[0] if rows else ())}
    return {**means, **about}, {**columns, **about}


def _row(comparison: Comparison, values: list[float]) -> dict[str, Any]:
    place = {"subset": comparison.subset or "all", "id": comparison.id.partition("/")[2]}
    right = sorted(right_replies(comparison))
    if len(values) == 2:
        edge = comparison.better[0] if comparison.better else None
        chosen, rejected = (edge.winner, edge.loser) if edge else (0, 1)
        whole = comparison.conversations()
        return {
            "text_chosen": turns(whole[chosen]),
            "text_rejected": turns(whole[rejected]),
            "scores_chosen": values[chosen],
            "scores_rejected": values[rejected],
            "results": int(edge is not None and values[chosen] > values[rejected]),
            **place,
        }
    # Right replies first, as the authors have them.
    order = [*right, *(reply for reply in range(len(values)) if reply not in right)]
    top = [reply for reply in order if values[reply] == max(values)]
    return {
        "text": [turns(comparison.conversations()[reply]) for reply in order],
        "scores": [values[reply] for reply in order],
        "results": sum(reply in right for reply in top) / len(top),
        "num_correct": len(right),
        **place,
    }


def write_rewardbench(
    folder: Path, suite: str, comparisons: Sequence[Comparison], scores: Scores, *, model: str
) -> list[Path]:
    """Write both files of a `suite`, and return where.

    The model's name is a path of safe parts below each folder.
    """
    means, columns = rewardbench_results(comparisons, scores, model=model)
    if TIES in means:
        figures = protocol("official").figures({suite: (comparisons, scores)})
        means[TIES] = next(each.value for each in figures if each.name == TIES)
    written = []
    for place, content in (("eval-set", means), ("eval-set-scores", columns)):
        *parents, name = _parts(model)
        path = folder.joinpath(place, *parents, f"{name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _dump(content))
        written.append(path)
    return written


def _parts(model: str) -> list[str]:
    kept = [part for part in model.split("/") if part not in {"", ".", ".."}] or ["model"]
    return kept if len(kept) > 1 else ["local", *kept]


def _dump(content: Mapping[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
