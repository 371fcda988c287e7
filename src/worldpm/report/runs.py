"""A run's metrics.jsonl read: its steps, its looks at validation sets, and its events.

read_run(RUN/metrics.jsonl) -> Run(steps, looks, best)     records by step, later lines count
run_events(run)             -> [(step's record, Event)]
curve_table(run, 10)        -> rows at ten places of the run, for a terminal
sparkline([0.7, 0.6, 0.5])  -> "█▅▁"
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from worldpm.errors import DataError
from worldpm.events import Event, find_events
from worldpm.store import parse_json_lines

Record = Mapping[str, Any]
# What a record of each kind must have.
KEYS = {
    "step": ("step", "pairs", "loss_nats"),
    "validation": ("step", "pairs", "validation_loss_nats", "validation_accuracy"),
}
COLUMNS = {
    "pairs": ",.0f", "loss_nats": ".4f", "accuracy": ".3f", "margin": "+.2f", "grad_norm": ".2g",
    "tokens_per_second": ",.0f", "pairs_per_second": ",.1f", "matrix_share": ".1%",
}  # fmt: skip
LOOK_COLUMNS = {"loss_nats": ".4f", "accuracy": ".3f", "margin": "+.3f"}
STYLE_COLUMNS = {
    "phi_length": "+.3f", "phi_length_of_labels": "+.3f", "phi_marks": "+.3f",
    "phi_marks_of_labels": "+.3f", "chosen_longer_accuracy": ".3f",
    "chosen_shorter_accuracy": ".3f",
}  # fmt: skip
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Run:
    """Records of metrics.jsonl in the order of their steps; `best` names the best look's step."""

    steps: Sequence[Record]
    looks: Sequence[Record]
    best: Record | None


def read_run(metrics: Path) -> Run:
    """Every step and look once, as last written: a resumed run repeats some.

    Without a file there are none, and a last line that was cut short is none yet. Raises DataError
    naming the line where a record lacks a key.
    """
    found: dict[str, dict[int, Record]] = {kind: {} for kind in KEYS}
    best: Record | None = None
    for number, line in _lines(metrics) if metrics.is_file() else ():
        try:
            kind = line["kind"]
            if kind == "best":
                best = line
            elif kind in KEYS:
                step, *_ = (line[key] for key in KEYS[kind])
                found[kind][step] = line
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{metrics}:{number}: lacks {error}; is this a run's metrics?"
            ) from None
    steps, looks = ([own[n] for n in sorted(own)] for own in found.values())
    return Run(steps, looks, best)


def _lines(metrics: Path) -> Iterator[tuple[int, Any]]:
    """All lines but a last one without an end that is not JSON: its writer was stopped in it."""
    try:
        data = metrics.read_bytes()
    except OSError as error:
        raise DataError(f"{metrics}: cannot be read: {error.strerror}") from None
    end = data.rfind(b"\n") + 1
    try:
        orjson.loads(data[end:])
    except orjson.JSONDecodeError:
        data = data[:end]
    return parse_json_lines(io.BytesIO(data), str(metrics))


def run_events(run: Run) -> list[tuple[Record, Event]]:
    """Sudden steps of learning with the step's record; see `worldpm.events`."""
    kept = [s for s in run.steps if not s.get("skipped") and s.get("grad_norm") is not None]
    losses, norms = ([step.get(key) for step in kept] for key in ("loss_nats", "grad_norm"))
    return [(kept[event.place], event) for event in find_events(losses, norms)]


def curve_table(run: Run, count: int) -> list[dict[str, Any]]:
    """At most `count` parts of the run, each with the means of its steps and its last counts."""
    parts = min(count, len(run.steps))
    ends = [round((i + 1) * len(run.steps) / parts) for i in range(parts)]
    table = []
    for first, last in zip([0, *ends], ends, strict=False):
        own = run.steps[first:last]
        row: dict[str, Any] = {"step": own[-1]["step"], "pairs": own[-1]["pairs"]}
        for name in list(COLUMNS)[1:]:
            values = [step[name] for step in own if step.get(name) is not None]
            row[name] = sum(values) / len(values) if values else None
        table.append(row)
    return table


def look_table(run: Run) -> list[dict[str, Any]]:
    """One row for each look and set: loss, accuracy, lead, and the set's style."""
    table = []
    for look in run.looks:
        sets = look.get("validation_by_set") or {
            "all": {name: look.get(f"validation_{name}") for name in LOOK_COLUMNS}
        }
        for name, found in sets.items():
            row = {"step": look["step"], "set": name}
            row |= {column: found.get(column) for column in LOOK_COLUMNS}
            row |= {column: (found.get("style") or {}).get(column) for column in STYLE_COLUMNS}
            table.append(row)
    return table


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """The course of the values in at most `width` bars, lowest to highest; gaps are blank."""
    parts = min(width, len(values))
    means: list[float | None] = []
    for i in range(parts):
        own = values[i * len(values) // parts : (i + 1) * len(values) // parts]
        known = [value for value in own if value is not None]
        means.append(sum(known) / len(known) if known else None)
    known = [value for value in means if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    scale = (len(BARS) - 1) / ((high - low) or 1.0)
    return "".join(" " if v is None else BARS[round((v - low) * scale)] for v in means)


def shown(value: Any, form: str) -> str:
    """A number of a table, or a dash for none."""
    return "-" if value is None else format(value, form)
