"""The cells of benchmarks/two_arms.py that are done -> table.json, table.md and a figure.

report(OUT, held_out, notes)    writes OUT/table.json, table.md, two-arms.svg, .png, .csv
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson

from worldpm.errors import WorldPMError
from worldpm.evals.arms import Gain, gain
from worldpm.evals.baselines import BASELINES, LENGTH
from worldpm.evals.metrics import edge_accuracy, edge_table, edge_weights
from worldpm.evals.style import style_edges, style_report
from worldpm.records import Comparison
from worldpm.report.figures import BLUE, GREY, VERMILION, heading, new_axes, new_figure, save, write
from worldpm.store import write_atomic
from worldpm.surface import PAPER

Scores = Sequence[Sequence[float]]
Cells = Mapping[tuple[str, int, int], Mapping[str, Scores]]
"""(arm, human pairs, seed) -> held-out set -> scores of its comparisons."""
HEADER = (
    "held out", "prompts", "human pairs", "without", "with", "gain, points", "relative",
    "style-controlled without", "with", "relative", "loss, nats, without", "with",
)  # fmt: skip


def read_cells(out: Path) -> dict[tuple[str, int, int], dict[str, Scores]]:
    """The scores that stand in OUT/scores."""
    found = {}
    for path in sorted((out / "scores").glob("*.json")):
        row = orjson.loads(path.read_bytes())
        cell = row["cell"]
        found[cell["arm"], cell["pairs"], cell["seed"]] = row["scores"]
    return found


def controlled(comparisons: Sequence[Comparison], scores: Scores) -> float | None:
    """Accuracy with style fitted on other prompts beside the score; None for too few prompts."""
    table = edge_table(comparisons, scores)
    if table.num_clusters < 20:
        return None
    style = style_edges(comparisons, PAPER)
    found = style_report(table, style, PAPER, weighting="comparison", seed=0, resamples=2)
    return found.controlled.held_out_accuracy


def rows_of(cells: Cells, held_out: Mapping[str, Sequence[Comparison]]) -> list[dict[str, Any]]:
    """One row for each set and number of pairs of which both arms have a seed."""
    rows = []
    for name, comparisons in held_out.items():
        for pairs in sorted({pairs for _, pairs, _ in cells if pairs}):
            arms = [
                {s: cells[key][name] for key in cells if key[:2] == (arm, pairs) for s in key[2:]}
                for arm in ("without", "with")
            ]
            seeds = sorted(arms[0].keys() & arms[1].keys())
            if not seeds:
                continue
            without, with_ = ([arm[s] for s in seeds] for arm in arms)
            styled = [[controlled(comparisons, s) for s in arm] for arm in (without, with_)]
            means = [fmean(arm) if None not in arm else None for arm in styled]  # type: ignore[type-var]
            rows.append(
                {
                    "set": name,
                    "pairs": pairs,
                    "seeds": seeds,
                    "accuracy": asdict(gain(comparisons, without, with_)),
                    "loss_nats": asdict(gain(comparisons, without, with_, measure="loss_nats")),
                    "style_controlled": means,
                }
            )
    return rows


def floor(comparisons: Sequence[Comparison]) -> float:
    """The accuracy of taking the longer reply."""
    table = edge_table(comparisons, BASELINES[LENGTH](comparisons))
    weight = edge_weights(table, "comparison")
    return float(weight @ edge_accuracy(table.difference) / weight.sum())


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as the paper's 2 and 3, its intervals beside it."""
    lines = [f"| {' | '.join(HEADER)} |", "|" + "---|" * len(HEADER)]
    for row in rows:
        accuracy, loss = row["accuracy"], row["loss_nats"]
        low, high = accuracy["interval"]
        cells = [
            row["set"], f"{accuracy['num_comparisons']:,}", f"{row['pairs']:,}",
            _arm(accuracy["without"]), _arm(accuracy["with_"]),
            f"{100 * accuracy['absolute']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
            f"{accuracy['relative']:+.1%}",
            *_styled(row["style_controlled"]),
            f"{loss['without']['mean']:.3f}", f"{loss['with_']['mean']:.3f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _arm(arm: Mapping[str, Any]) -> str:
    seeds = ", ".join(f"{100 * value:.1f}" for value in arm["by_seed"])
    return f"{100 * arm['mean']:.1f} ({seeds})"


def _styled(means: Sequence[float | None]) -> list[str]:
    without, with_ = means
    if without is None or with_ is None:
        return ["", "", ""]
    relative = (with_ - without) / without
    return [f"{100 * without:.1f}", f"{100 * with_:.1f}", f"{relative:+.1%}"]


def draw(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    alone: Mapping[str, float],
    floors: Mapping[str, float],
) -> list[Path]:
    """One panel a held-out set: accuracy over human pairs, a colour an arm, a dot a seed.

    `alone` is the pre-trained model without any human pair, dotted; `floors` the longer reply.
    """
    names = list(dict.fromkeys(row["set"] for row in rows))
    figure = new_figure(0.9 + 3.7 * len(names), 4.1)
    heading(
        figure,
        "Human pairs, with and without forum pre-training",
        "held-out accuracy; dots: seeds; line: mean; bar: 95 % over prompts and seeds",
    )
    table: list[Sequence[object]] = []
    for place, name in enumerate(names):
        axes = new_axes(figure, 0.75 + 3.7 * place, 0.6, 3.0, 2.55)
        axes.set_xscale("log")
        own = [row for row in rows if row["set"] == name]
        for arm, colour, shift in (("without", GREY, 0.97), ("with_", BLUE, 1.03)):
            x = [row["pairs"] * shift for row in own]
            arms = [row["accuracy"][arm] for row in own]
            axes.plot(x, [each["mean"] for each in arms], color=colour, marker="o", markersize=4)
            for at, row, each in zip(x, own, arms, strict=True):
                axes.plot([at, at], each["interval"], color=colour, linewidth=1)
                values = each["by_seed"]
                axes.plot([at] * len(values), values, ".", color=colour, alpha=0.5, markersize=4)
                label = arm.rstrip("_")
                table += [(name, label, row["pairs"], s, v) for s, v in
                          zip(row["seeds"], values, strict=True)]  # fmt: skip
                table.append((name, label, row["pairs"], "mean", each["mean"]))
            ends = own[-1]["accuracy"]
            above = (arm == "with_") == (ends["with_"]["mean"] >= ends["without"]["mean"])
            write(axes, 1.1 * x[-1], arms[-1]["mean"], arm.rstrip("_"), color=colour, size=9,
                  va="bottom" if above else "top")  # fmt: skip
        right = 3.8 * own[-1]["pairs"]
        axes.axhline(floors[name], color=VERMILION, linestyle="--", linewidth=1)
        write(axes, right, floors[name], "longer reply", color=VERMILION, size=8, va="bottom",
              ha="right")  # fmt: skip
        table.append((name, "longer", "", "", floors[name]))
        if name in alone:
            axes.axhline(alone[name], color=BLUE, linestyle=":", linewidth=1)
            write(axes, right, alone[name], "no human pair", color=BLUE, size=8, va="bottom",
                  ha="right")  # fmt: skip
            table.append((name, "with", 0, "", alone[name]))
        ticks = sorted({row["pairs"] for row in own})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(ticks[0] / 1.4, right)
        axes.set_xlabel("human pairs", fontsize=9)
        write(figure, (0.75 + 3.7 * place) / figure.get_size_inches()[0], 3.25 / 4.1, name, size=10)
    return save(figure, path, ("set", "arm", "human_pairs", "seed", "accuracy"), table)


def report(
    out: Path, held_out: Mapping[str, Sequence[Comparison]], notes: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Write what can be said so far; returns the rows, none while no size has both arms."""
    cells = read_cells(out)
    rows = rows_of(cells, held_out)
    floors = {name: floor(comparisons) for name, comparisons in held_out.items()}
    alone: dict[str, float] = {}
    for (arm, pairs, _), scores in cells.items():
        if arm == "with" and pairs == 0:
            found: dict[str, Gain] = {
                name: gain(rows_, [scores[name]], [scores[name]])
                for name, rows_ in held_out.items()
            }
            alone = {name: each.with_.mean for name, each in found.items()}
    table = {
        **notes,
        "cells": len(cells),
        "longer": floors,
        "pretrained_alone": alone,
        "rows": rows,
    }
    write_atomic(out / "table.json", orjson.dumps(table, option=orjson.OPT_INDENT_2))
    if rows:
        text = markdown(rows)
        write_atomic(out / "table.md", text.encode())
        print(text)
        try:
            draw(out / "two-arms", rows, alone, floors)
        except WorldPMError as error:  # no matplotlib: the numbers are there all the same
            print(error)
    return rows
