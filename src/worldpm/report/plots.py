"""Evaluations -> a picture of their accuracies, and its numbers.

    the JSON of evaluations -> plot_evaluation -> evaluation.svg, .png, .csv

Every title says the finding; every picture has its numbers beside it as CSV. matplotlib is needed
(`pip install "worldpm[plots]"`) and imported only when a picture is drawn.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldpm.errors import WorldPMError
from worldpm.report.figures import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    heading,
    new_axes,
    new_figure,
    save,
    write,
)
from worldpm.report.sureness import sure_sign
from worldpm.report.tables import LENGTH_FLOOR, evaluation_lines


def plot_evaluation(
    evaluations: Sequence[Mapping[str, Any]],
    path: Path,
    kinds: Sequence[str] = ("all",),
) -> list[Path]:
    """Accuracy with its 95 % interval against the floors, one row a suite; returns the files.

    `evaluations` are the JSON of `worldpm.evals.run.to_json`; groups of `kinds` ("class",
    "section", "subset", "style", "subset style") get rows of their own beneath their suite. Raises
    DataError for JSON that is not an evaluation, WorldPMError without matplotlib or evaluations.
    """
    if not evaluations:
        raise WorldPMError("no evaluation was given; a picture needs at least one")
    lines = [
        line
        for evaluation in evaluations
        for line in evaluation_lines(evaluation)
        if line["kind"] == "all" or line["kind"] in kinds
    ]
    longest = max(len(line["outcome"]["name"]) + 4 * (line["kind"] != "all") for line in lines)
    row, left, wide, bottom = 0.36, max(2.2, 1.05 + 0.077 * longest), 6.0, 0.75  # inches
    figure = new_figure(left + wide + 1.9, bottom + row * len(lines) + 1.25)
    axes = new_axes(figure, left, bottom, wide, row * len(lines))
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks([])
    axes.axvline(50, color=GREY, lw=1, ls=(0, (4, 3)), zorder=0)
    ends = [50.0]
    for place, line in enumerate(lines):
        outcome, floors = line["outcome"], line["floors"]
        value, (low, high) = 100 * outcome["accuracy"], _percents(outcome["accuracy_interval"])
        length, marks = (100 * floors[n]["accuracy"] for n in (LENGTH_FLOOR, "more markdown"))
        whole = line["kind"] == "all"
        if whole and place:
            axes.axhline(place - 0.5, color="#DDDDDD", lw=0.8, zorder=0)
        axes.plot([length, value], [place, place], color="#DADADA", lw=1, zorder=1)
        axes.plot([low, high], [place, place], color=BLUE, lw=2.2, zorder=2)
        axes.plot(value, place, "o", color=BLUE, ms=7.5 if whole else 5.5, zorder=4)
        axes.plot(length, place, "D", mfc="white", mec=VERMILION, mew=1.6, ms=6, zorder=3)
        axes.plot(marks, place, "x", color=GREY, mew=1.5, ms=5.5, zorder=2)
        ends += [low, high, length, marks]
        _row_words(figure, axes, line, place)
    axes.set_xlim(max(-1.5, min(ends) - 3), min(101.5, max(ends) + 3))
    axes.set_xlabel("accuracy, % of known comparisons; a tie is worth one half", fontsize=9)
    _legend(
        figure,
        left,
        ("o", BLUE, "model, 95 % interval"),
        ("D", VERMILION, "longer reply wins"),
        ("x", GREY, "more markdown wins"),
        ("|", GREY, "chance"),
    )
    heading(figure, _evaluation_title(lines), "Further right is better. At the right: the "
            "gain over the longer reply in points, [95 % interval, paired].")  # fmt: skip
    return save(figure, path, _EVALUATION_HEADER, [_evaluation_row(line) for line in lines])


_EVALUATION_HEADER = (
    "kind", "name", "num_comparisons", "num_edges", "accuracy", "accuracy_low", "accuracy_high",
    "loss_nats", "loss_low", "loss_high", "longer_accuracy", "markdown_accuracy", "over_length",
    "over_length_low", "over_length_high",
)  # fmt: skip


def _evaluation_row(line: Mapping[str, Any]) -> list[object]:
    outcome, floors, gain = line["outcome"], line["floors"], line["over_length"]
    return [
        line["kind"], outcome["name"], outcome["num_comparisons"], outcome["num_edges"],
        outcome["accuracy"], *outcome["accuracy_interval"],
        outcome["loss_nats"], *outcome["loss_interval"],
        floors[LENGTH_FLOOR]["accuracy"], floors["more markdown"]["accuracy"],
        gain["value"], *gain["interval"],
    ]  # fmt: skip


def _percents(interval: Sequence[float]) -> tuple[float, float]:
    return 100 * interval[0], 100 * interval[1]


def _evaluation_title(lines: Sequence[Mapping[str, Any]]) -> str:
    suites = [line for line in lines if line["kind"] == "all"]
    signs = [sure_sign(line["over_length"]) for line in suites]
    above, below = signs.count(1), signs.count(-1)
    words = f"Surely better than picking the longer reply on {above} of {len(suites)} suites"
    return words + (f", surely worse on {below}" if below else "")


def _row_words(figure: Any, axes: Any, line: Mapping[str, Any], place: int) -> None:
    outcome, gain, whole = line["outcome"], line["over_length"], line["kind"] == "all"
    up, blend = figure.get_size_inches()[1], axes.get_yaxis_transform()
    low, high = _percents(gain["interval"])
    colour = {1: BLUE, 0: INK, -1: VERMILION}[sure_sign(gain)]
    name = outcome["name"] if whole else f"    {outcome['name']}"
    axes_left = axes.get_position().x0 * figure.get_size_inches()[0]
    y = axes.get_position().y1 - (place + 0.5) * 0.36 / up
    weight = "bold" if whole else "normal"
    write(figure, 0.15 / figure.get_size_inches()[0], y, name, size=9, va="center", weight=weight)
    write(figure, (axes_left - 0.12) / figure.get_size_inches()[0], y,
          f"n = {outcome['num_comparisons']:,}", size=8, va="center", ha="right",
          color="#666666")  # fmt: skip
    write(axes, 1.02, place, f"{100 * gain['value']:+.1f}  [{low:+.1f}, {high:+.1f}]",
          transform=blend, size=8.5, va="center", color=colour)  # fmt: skip


def _legend(figure: Any, left: float, *entries: tuple[str, str, str]) -> None:
    """Marks and their meaning in one line under the heading, `left` inches from the left."""
    across, up = figure.get_size_inches()
    x = left
    for mark, colour, words in entries:
        face = "white" if mark == "D" else colour
        key = new_axes(figure, x, up - 1.0, 0.2, 0.2)
        key.axis("off")
        key.plot(0, 0, mark, color=colour, mfc=face, mew=1.6, ms=7)
        text = write(figure, (x + 0.24) / across, 1 - 0.9 / up, words, size=8.5, va="center")
        x += 0.55 + text.get_window_extent(figure.canvas.get_renderer()).width / figure.dpi
