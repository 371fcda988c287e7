"""A training run as a picture: losses, accuracies and gradient norms against the pairs seen.

    RUN/metrics.jsonl -> plot_training -> training.svg, .png, .csv

The title says the finding, and the numbers are beside the picture as CSV. matplotlib is needed
(`pip install "worldpm[plots]"`) and imported only when a picture is drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldpm.errors import DataError
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
from worldpm.report.runs import Run, read_run, run_events

LN_2 = math.log(2.0)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """Columns of metrics.jsonl: steps (pairs seen, loss), validations (pairs, loss, accuracy).

    Of either, those whose numbers were not finite are left out and counted.
    """

    steps: list[tuple[float, float]]
    validations: list[tuple[float, float, float]]
    num_not_finite: int
    num_validations_not_finite: int = 0


def training_columns(run: Run, name: str) -> TrainingRun:
    """The columns of a run, in order of pairs seen; DataError, naming it, if no step has a loss."""
    steps = [(each["pairs"], each["loss_nats"]) for each in run.steps]
    looks = [
        (each["pairs"], each["validation_loss_nats"], each["validation_accuracy"])
        for each in run.looks
    ]
    finite = [each for each in steps if None not in each]
    if not finite:
        raise DataError(f"{name}: has no step with a loss yet; draw it when training has begun")
    good = [each for each in looks if None not in each]
    return TrainingRun(finite, good, len(steps) - len(finite), len(looks) - len(good))


def smooth(values: Sequence[float], span: int) -> list[float]:
    """Exponential moving average over about `span` values, unbiased at the start."""
    keep = 1.0 - 1.0 / max(1, span)
    total = weight = 0.0
    averages = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1.0
        averages.append(total / weight)
    return averages


def plot_training(metrics: Path, path: Path, length_accuracy: float | None = None) -> list[Path]:
    """Losses, validation accuracy and gradient norm against pairs seen; returns the files.

    Several validation sets have an accuracy each; an event (`worldpm.events`) is marked in all.

    `metrics` is a run's metrics.jsonl, `length_accuracy` the share of validation comparisons that
    the longer reply wins, drawn as a floor. Training loss is smoothed over a fiftieth of the run,
    at least five steps. Raises DataError for a file without steps, WorldPMError without matplotlib.
    """
    whole = read_run(metrics)
    run = training_columns(whole, str(metrics))
    norms = [(s["pairs"], s["grad_norm"]) for s in whole.steps if s.get("grad_norm") and s["pairs"]]
    figure = new_figure(15.6 if norms else 11.0, 4.5)
    loss = new_axes(figure, 0.75, 0.75, 4.1, 2.75)
    accuracy = new_axes(figure, 6.5, 0.75, 3.1, 2.75)
    panels = [(loss, "Bradley-Terry loss, nats"), (accuracy, "validation accuracy, %")]
    floor = [] if length_accuracy is None else [length_accuracy]
    _draw_losses(loss, run)
    _draw_accuracies(accuracy, run, floor, _accuracies_by_set(whole))
    if norms:
        panels.append((new_axes(figure, 11.9, 0.75, 3.3, 2.75), "gradient norm"))
        _draw_norms(panels[-1][0], norms)
    for axes, _ in panels:
        for step, _ in run_events(whole):
            axes.axvline(step["pairs"], color=INK, lw=1, ls=":", zorder=0)
    for axes, words in panels:
        axes.set_xlim(0, run.steps[-1][0] * 1.01)
        axes.set_xlabel("pairs seen", fontsize=9)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.locator_params(axis="x", nbins=5)
        write(axes, 0, 1.05, words, transform=axes.transAxes, size=9.5, weight="bold")
    reading = "Points are single steps, the line through them their moving average."
    left_out = ((run.num_not_finite, "steps"), (run.num_validations_not_finite, "validations"))
    if words := " and ".join(f"{count} of the {what}" for count, what in left_out if count):
        reading += f" Left out, for want of a finite loss: {words}."
    heading(figure, _training_title(run, length_accuracy), reading)
    rows: list[Sequence[object]] = [("training", *step, "", "") for step in run.steps]
    rows += [("validation", *look, "") for look in run.validations]
    for name, looks in _accuracies_by_set(whole).items():
        rows += [(f"validation {name}", pairs, "", right, "") for pairs, right in looks]
    rows += [("gradient norm", pairs, "", "", norm) for pairs, norm in norms]
    rows += [("event", step["pairs"], event.drop, "", "") for step, event in run_events(whole)]
    return save(figure, path, ("series", "pairs", "loss_nats", "accuracy", "grad_norm"), rows)


def _accuracies_by_set(run: Run) -> dict[str, list[tuple[float, float]]]:
    """(pairs seen, accuracy) of each validation set; nothing where there is only one."""
    found: dict[str, list[tuple[float, float]]] = {}
    for look in run.looks:
        for name, own in (look.get("validation_by_set") or {}).items():
            if own.get("accuracy") is not None:
                found.setdefault(name, []).append((look["pairs"], own["accuracy"]))
    return found if len(found) > 1 else {}


def _draw_norms(axes: Any, norms: Sequence[tuple[float, float]]) -> None:
    pairs, values = (list(column) for column in zip(*norms, strict=True))
    axes.plot(pairs, values, ".", color=BLUE, alpha=0.15, ms=3, mew=0)
    axes.plot(pairs, smooth(values, max(5, len(values) // 50)), color=BLUE, lw=1.6)
    axes.set_yscale("log")


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


def _draw_accuracies(
    axes: Any,
    run: TrainingRun,
    floor: Sequence[float],
    by_set: dict[str, list[tuple[float, float]]],
) -> None:
    right = [100 * look[2] for look in run.validations]
    axes.axhline(50, color=GREY, lw=1, ls=(0, (4, 3)))
    named = [(50.0, "chance", "#666666")]
    for share in floor:
        axes.axhline(100 * share, color=GREEN, lw=1.2, ls=(0, (6, 2)))
        named.append((100 * share, f"longer reply {share:.1%}", GREEN))
    for name, looks in by_set.items():
        own = [100 * accuracy for _, accuracy in looks]
        axes.plot([pairs for pairs, _ in looks], own, "-", color=GREY, lw=1)
        named.append((own[-1], f"{name} {own[-1]:.1f}%", "#666666"))
    if right:
        axes.plot([look[0] for look in run.validations], right, "o-", color=VERMILION, ms=4)
        named.append((right[-1], f"model {right[-1]:.1f}%", VERMILION))
    spread = [100 * accuracy for looks in by_set.values() for _, accuracy in looks]
    _name_lines(axes, named, [*right, *spread, *(value for value, _, _ in named)])


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
