"""Pictures worth looking at: a ranking, an evaluation, a training run.

    the JSON of evaluations -> plot_evaluation -> evaluation.svg, .png, .csv
    RUN/metrics.jsonl -> plot_training -> training.svg, .png, .csv

Every title says the finding; every picture has its numbers beside it as CSV. matplotlib is needed
(`pip install "worldpm[plots]"`) and imported only when a picture is drawn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldpm.errors import DataError, WorldPMError
from worldpm.report.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    VERMILION,
    heading,
    new_axes,
    new_figure,
    save,
    write,
)
from worldpm.report.ranking_plot import plot_ranking
from worldpm.report.tables import LENGTH_FLOOR, evaluation_lines
from worldpm.store import read_json_lines

__all__ = ["plot_evaluation", "plot_ranking", "plot_training"]

LN_2 = math.log(2.0)


# --- an evaluation -------------------------------------------------------------------------------


def plot_evaluation(
    evaluations: Sequence[Mapping[str, Any]],
    path: Path,
    kinds: Sequence[str] = ("all",),
    title: str | None = None,
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
    heading(figure, title or _evaluation_title(lines), "Further right is better. At the right: the "
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
    above = sum(line["over_length"]["interval"][0] > 0 for line in suites)
    below = sum(line["over_length"]["interval"][1] < 0 for line in suites)
    words = f"Surely better than picking the longer reply on {above} of {len(suites)} suites"
    return words + (f", surely worse on {below}" if below else "")


def _row_words(figure: Any, axes: Any, line: Mapping[str, Any], place: int) -> None:
    outcome, gain, whole = line["outcome"], line["over_length"], line["kind"] == "all"
    up, blend = figure.get_size_inches()[1], axes.get_yaxis_transform()
    low, high = _percents(gain["interval"])
    colour = BLUE if low > 0 else VERMILION if high < 0 else INK
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


# --- a training run ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """Columns of metrics.jsonl: steps (pairs seen, loss), validations (pairs, loss, accuracy).

    Of either, those whose numbers were not finite are left out and counted.
    """

    steps: list[tuple[float, float]]
    validations: list[tuple[float, float, float]]
    num_not_finite: int
    num_validations_not_finite: int = 0


def read_metrics(path: Path) -> TrainingRun:
    """The steps and validations of a run's metrics.jsonl, in order of pairs seen.

    Where a resumed run wrote a step again, the later line counts. Steps and validations with a
    number that was not finite (null in JSON) are counted apart. Raises DataError if there is no
    step, or a line lacks a key.
    """
    steps: dict[int, tuple[float, float | None]] = {}
    validations: dict[int, tuple[float, float, float]] = {}
    for number, line in read_json_lines(path):
        try:
            if line["kind"] == "step":
                steps[line["step"]] = (line["pairs"], line["loss_nats"])
            elif line["kind"] == "validation":
                validations[line["step"]] = (
                    line["pairs"], line["validation_loss_nats"], line["validation_accuracy"],
                )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: lacks {error}; is this a run's metrics?") from None
    finite = [(pairs, loss) for pairs, loss in steps.values() if loss is not None]
    if not finite:
        raise DataError(f"{path}: has no step with a loss yet; draw it when training has begun")
    good = [v for v in validations.values() if None not in v]
    return TrainingRun(
        sorted(finite), sorted(good), len(steps) - len(finite), len(validations) - len(good)
    )


def smooth(values: Sequence[float], span: int) -> list[float]:
    """Exponential moving average over about `span` values, unbiased at the start."""
    keep = 1.0 - 1.0 / max(1, span)
    total = weight = 0.0
    averages = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1.0
        averages.append(total / weight)
    return averages


def plot_training(
    metrics: Path, path: Path, length_accuracy: float | None = None, title: str | None = None
) -> list[Path]:
    """Losses at the left, validation accuracy at the right, against pairs seen; returns the files.

    `metrics` is a run's metrics.jsonl, `length_accuracy` the share of validation comparisons that
    the longer reply wins, drawn as a floor. Training loss is smoothed over a fiftieth of the run,
    at least five steps. Raises DataError for a file without steps, WorldPMError without matplotlib.
    """
    run = read_metrics(metrics)
    figure = new_figure(11.0, 4.5)
    loss = new_axes(figure, 0.75, 0.75, 4.1, 2.75)
    accuracy = new_axes(figure, 6.5, 0.75, 3.1, 2.75)
    floor = [] if length_accuracy is None else [length_accuracy]
    _draw_losses(loss, run)
    _draw_accuracies(accuracy, run, floor)
    for axes, words in ((loss, "Bradley-Terry loss, nats"), (accuracy, "validation accuracy, %")):
        axes.set_xlim(0, run.steps[-1][0] * 1.01)
        axes.set_xlabel("pairs seen", fontsize=9)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.locator_params(axis="x", nbins=5)
        write(axes, 0, 1.05, words, transform=axes.transAxes, size=9.5, weight="bold")
    reading = "Points are single steps, the line through them their moving average."
    left_out = ((run.num_not_finite, "steps"), (run.num_validations_not_finite, "validations"))
    if words := " and ".join(f"{count} of the {what}" for count, what in left_out if count):
        reading += f" Left out, for want of a finite loss: {words}."
    heading(figure, title or _training_title(run, length_accuracy), reading)
    rows: list[Sequence[object]] = [("training", *step, "") for step in run.steps]
    rows += [("validation", *look) for look in run.validations]
    return save(figure, path, ("series", "pairs", "loss_nats", "accuracy"), rows)


def _draw_losses(axes: Any, run: TrainingRun) -> None:
    pairs, losses = (list(column) for column in zip(*run.steps, strict=True))
    span = max(5, len(losses) // 50)
    first = span if len(losses) > 3 * span else 0  # an average of a few steps is mostly noise
    smoothed = smooth(losses, span)[first:]
    axes.plot(pairs, losses, ".", color=BLUE, alpha=0.15, ms=3, mew=0)
    axes.plot(pairs[first:], smoothed, color=BLUE, lw=1.6)
    axes.axhline(LN_2, color=GREY, lw=1, ls=(0, (4, 3)))
    named = [(smoothed[-1], "training", BLUE), (LN_2, "ln 2, a coin", "#666666")]
    validation = [look[1] for look in run.validations]
    if validation:
        axes.plot([look[0] for look in run.validations], validation, "o-", color=VERMILION, ms=4)
        named.append((validation[-1], f"validation {validation[-1]:.3f}", VERMILION))
    _name_lines(axes, named, [LN_2, *smoothed, *validation])


def _draw_accuracies(axes: Any, run: TrainingRun, floor: Sequence[float]) -> None:
    right = [100 * look[2] for look in run.validations]
    axes.axhline(50, color=GREY, lw=1, ls=(0, (4, 3)))
    named = [(50.0, "chance", "#666666")]
    for share in floor:
        axes.axhline(100 * share, color=GREEN, lw=1.2, ls=(0, (6, 2)))
        named.append((100 * share, f"longer reply {share:.1%}", GREEN))
    if right:
        axes.plot([look[0] for look in run.validations], right, "o-", color=VERMILION, ms=4)
        named.append((right[-1], f"model {right[-1]:.1f}%", VERMILION))
    _name_lines(axes, named, [*right, *(value for value, _, _ in named)])


def _training_title(run: TrainingRun, length_accuracy: float | None) -> str:
    if not run.validations:
        return f"Trained on {run.steps[-1][0]:,.0f} pairs; not validated yet"
    pairs, _, accuracy = run.validations[-1]
    floor = "" if length_accuracy is None else f" (the longer reply: {length_accuracy:.1%})"
    return f"{accuracy:.1%} of held-out comparisons right after {pairs:,.0f} pairs{floor}"


def _name_lines(
    axes: Any, named: Sequence[tuple[float, str, str]], values: Sequence[float]
) -> None:
    """Fit the y axis to `values` and write each line's name at its right end, moved apart."""
    low, high = min(values), max(values)
    room = 0.08 * ((high - low) or 0.1)
    axes.set_ylim(low - room, high + room)
    least = 0.062 * (high - low + 2 * room)  # a line of text
    place = -math.inf
    for value, words, colour in sorted(named):
        place = max(value, place + least)
        write(axes, 1.02, place, words, transform=axes.get_yaxis_transform(), size=8.5,
              va="center", color=colour)  # fmt: skip
