"""Runs side by side by their validation alone: the look of the lowest loss, by set and source.

    python benchmarks/candidates.py RUN... [--json]

The losses are only comparable where the runs have the same validation comparisons, so those counts
are held against each other. Nothing held out is looked at.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from worldpm.errors import DataError
from worldpm.jsonfiles import read_object
from worldpm.store import read_json_lines


def best_look(run: Path) -> dict[str, Any]:
    """The validation record of `run` with the lowest loss; DataError where it has none."""
    looks = [
        row for _, row in read_json_lines(run / "metrics.jsonl") if row["kind"] == "validation"
    ]
    if not looks:
        raise DataError(f"{run}: has not looked at its validation comparisons yet")
    found = min(looks, key=lambda look: look["validation_loss_nats"])
    return {"run": run.name, **found, "looks": len(looks)}


def compare(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """The best looks, lowest loss first; DataError where runs validate on different comparisons."""
    looks = [best_look(run) for run in runs]
    for run, look in zip(runs, looks, strict=True):
        same = read_object(run / "run.json")["data"] == read_object(runs[0] / "run.json")["data"]
        if not same or look["validation_pairs"] != looks[0]["validation_pairs"]:
            raise DataError(f"{run}: validates on other comparisons than {runs[0]}")
    return sorted(looks, key=lambda look: look["validation_loss_nats"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    looks = compare(args.runs)
    if args.json:
        print(orjson.dumps(looks).decode())
        return
    sources = sorted(looks[0]["validation_by_source"])
    table = Table("run", "step", "pairs", "loss, nats", "accuracy", *sources, highlight=False)
    for look in looks:
        by_source = look["validation_by_source"]
        cells = [f"{by_source[s]['loss_nats']:.3f} {by_source[s]['accuracy']:.3f}" for s in sources]
        table.add_row(
            look["run"], str(look["step"]), f"{look['pairs']:.0f}",
            f"{look['validation_loss_nats']:.4f}", f"{look['validation_accuracy']:.3f}", *cells,
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
