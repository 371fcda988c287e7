"""What `eval` leaves in its folder: an evaluation a set and model, and the report over all of them.

OUT/llmbar.json, llmbar.scores.jsonl      of one model; of several, llmbar@MODEL.json
OUT/report.json, report.md, report.html   everything, its tables, and the page to read
OUT/eval-set/, eval-set-scores/           RewardBench's own files
OUT/evaluation.svg, .png, .csv            the picture, where matplotlib is installed
OUT/figures.json                          what --protocol and --against made of it
OUT/manifest.json                         how it was made, written last
"""

import datetime
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from worldpm.cli.common import say
from worldpm.errors import WorldPMError
from worldpm.jsonfiles import json_bytes
from worldpm.records import Comparison, Score
from worldpm.store import FORMAT, MANIFEST, versions, write_atomic

REWARDBENCH = ("rewardbench", "rewardbench2")
MOST_CHARACTERS = 4000  # of a mistake's texts in report.json


@dataclass(frozen=True, slots=True)
class Scored:
    """A set under one model: what was scored, the scores, and the evaluation as JSON."""

    suite: str
    model: str
    comparisons: Sequence[Comparison]
    scores: Sequence[Sequence[Score]]
    evaluation: dict[str, Any]

    @property
    def values(self) -> list[list[float]]:
        """The scores as numbers."""
        return [[score.value for score in each] for each in self.scores]


def stem(suite: str, model: str, *, several: bool) -> str:
    """The name of a set's files; with several models each has its own."""
    return f"{suite}@{re.sub(r'[^A-Za-z0-9._-]+', '-', model)}" if several else suite


def mistakes_of(scored: Scored) -> list[dict[str, Any]]:
    """The evaluation's mistakes with their texts, for people to read."""
    found = []
    for each in scored.evaluation["mistakes"]:
        comparison = scored.comparisons[each["index"]]
        found.append(
            {
                "suite": scored.suite,
                "model": scored.model,
                "id": each["id"],
                "difference": each["difference"],
                "prompt": _text(comparison.prompt),
                "better": _text(comparison.replies[each["winner"]]),
                "worse": _text(comparison.replies[each["loser"]]),
            }
        )
    return found


def _text(conversation: Any) -> str:
    """The messages, each under its role where there are several, within MOST_CHARACTERS."""
    several = len(conversation) > 1
    parts = [f"{m.role}:\n{m.content}" if several else m.content for m in conversation]
    text = "\n\n".join(parts)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " […]"


def write_all(
    folder: Path,
    scored: Sequence[Scored],
    report: Mapping[str, Any],
    manifest: Mapping[str, Any],
    *,
    quiet: bool,
) -> None:
    """Write every file into `folder`, the manifest last."""
    from worldpm.evals.leaderboard import write_rewardbench
    from worldpm.report.evaluation_page import evaluation_page
    from worldpm.report.evaluation_tables import markdown_report

    several = len(report["models"]) > 1
    counts = {}
    for each in scored:
        name = stem(each.suite, each.model, several=several)
        counts[name] = len(each.comparisons)
        write_atomic(folder / f"{name}.json", _dump(each.evaluation))
        with (folder / f"{name}.scores.jsonl").open("wb") as file:
            for comparison, values, own in zip(
                each.comparisons, each.values, each.scores, strict=True
            ):
                tokens = [score.num_tokens for score in own]
                row = {"id": comparison.id, "scores": values, "num_tokens": tokens}
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        if each.suite in REWARDBENCH:
            write_rewardbench(folder, each.suite, each.comparisons, each.values, model=each.model)
    if report["figures"]:
        write_atomic(folder / "figures.json", _dump(report["figures"]))
    write_atomic(folder / "report.json", _dump(report))
    write_atomic(folder / "report.md", _bytes(markdown_report(report)))
    write_atomic(folder / "report.html", _bytes(evaluation_page(report)))
    for model in report["models"]:
        drawn = [each.evaluation for each in scored if each.model == model]
        _draw(drawn, folder / stem("evaluation", model, several=several), quiet=quiet)
    whole = {
        "format": FORMAT,
        "kind": "evaluation",
        "created": report["created"],
        "command": ["worldpm", *sys.argv[1:]],
        **manifest,
        "versions": versions("worldpm", "torch", "tokenizers", "numpy"),
        "counts": counts,
    }
    write_atomic(folder / MANIFEST, _dump(whole))


def now() -> str:
    """This second, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _draw(evaluations: Sequence[Mapping[str, Any]], path: Path, *, quiet: bool) -> None:
    from worldpm.report.plots import plot_evaluation

    try:
        plot_evaluation(evaluations, path)
    except WorldPMError as error:  # without matplotlib the numbers stand all the same
        say(f"no picture: {error}", quiet=quiet)


def _dump(value: Any) -> bytes:
    return json_bytes(value, orjson.OPT_INDENT_2)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
