"""Charts of an evaluation as inline SVG: dots with intervals, and reliability diagrams.

    dots([Row("llmbar", (Dot(0.62, "model", (0.57, 0.66)), Dot(0.41, "floor")))], (0.3, 1.0))
    diagram(bins)                        ->  "<svg ...>...</svg>"

The page gives the colours by class; every number is in a title, for a pointer and a screen reader.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH, LABELS, ROW, HEAD = 720, 250, 24, 22
SIDE, MARGIN = 220, 30  # of a diagram


@dataclass(frozen=True, slots=True)
class Dot:
    """One value on a row's axis; `kind` is its class on the page and its name in the title."""

    value: float
    kind: str
    interval: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled row of dots, the later drawn over the earlier."""

    label: str
    dots: Sequence[Dot]


def dots(
    rows: Sequence[Row], span: tuple[float, float], *, line: float = 0.5, percent: bool = True
) -> str:
    """A forest plot over `span`, with an upright line where chance is."""
    low, high = span
    room = WIDTH - LABELS - 30
    height = HEAD + len(rows) * ROW + 4

    def x(value: float) -> float:
        return LABELS + room * (min(max(value, low), high) - low) / (high - low)

    def shown(value: float) -> str:
        return f"{100 * value:.1f} %" if percent else f"{value:.3f}"

    parts = [
        f'<text class="m s" x="{x(tick):.1f}" y="14">{shown(tick).replace(".0 %", " %")}</text>'
        f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{HEAD}" y2="{height}"/>'
        for tick in (low + (high - low) * step / 4 for step in range(5))
    ]
    if low <= line <= high:
        parts.append(
            f'<line class="even" x1="{x(line):.1f}" x2="{x(line):.1f}" y1="{HEAD}" y2="{height}"/>'
        )
    for place, row in enumerate(rows):
        middle = HEAD + place * ROW + ROW / 2
        label = row.label if len(row.label) <= 34 else row.label[:33] + "…"
        parts.append(f'<text class="l" x="{LABELS - 10}" y="{middle + 4}">{escape(label)}</text>')
        for dot in row.dots:
            title = f"{row.label}, {dot.kind}: {shown(dot.value)}"
            whisker = ""
            if dot.interval is not None:
                ends = [x(end) for end in dot.interval]
                title += f" ({shown(dot.interval[0])} to {shown(dot.interval[1])})"
                whisker = (
                    f'<line class="{dot.kind} bar" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" '
                    f'y1="{middle}" y2="{middle}"/>'
                )
            parts.append(
                f"<g><title>{escape(title)}</title>{whisker}"
                f'<circle class="{dot.kind}" cx="{x(dot.value):.1f}" cy="{middle}" r="5"/></g>'
            )
    return _svg(WIDTH, height, "accuracies", parts)


def diagram(bins: Sequence[Mapping[str, Any]]) -> str:
    """Claimed confidence across from 50 to 100 %, what came true upwards.

    Below one half there is room for a little only, from 30 %, unless a bin is lower than that.
    """
    room = SIDE - MARGIN - 22
    lowest = 0.3 if all(each["accuracy"] >= 0.3 for each in bins) else 0.0
    ticks = (lowest, 0.5, 0.75, 1.0) if lowest else (0.0, 0.25, 0.5, 0.75, 1.0)

    def x(value: float) -> float:
        return MARGIN + room * (value - 0.5) * 2

    def y(value: float) -> float:
        return 10 + room * (1 - max(value, lowest)) / (1 - lowest)

    parts = [
        f'<line class="even" x1="{x(0.5)}" x2="{x(1)}" y1="{y(0.5):.1f}" y2="{y(1)}"/>',
        *(
            f'<text class="s m" x="{x(tick):.1f}" y="{SIDE - 4}">{tick:.0%}</text>'
            for tick in (0.5, 0.75, 1.0)
        ),
        *(
            f'<text class="s l" x="{MARGIN - 5}" y="{y(tick) + 4:.1f}">{100 * tick:.0f}</text>'
            f'<line class="grid" x1="{MARGIN}" x2="{SIDE - 22}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}"/>'
            for tick in ticks
        ),
    ]
    for each in bins:
        low, high = each["accuracy_interval"]
        across, up = x(each["confidence"]), y(each["accuracy"])
        title = (
            f"claimed {each['confidence']:.1%}, true {each['accuracy']:.1%} ({low:.1%} to "
            f"{high:.1%}), {each['num_edges']:,} pairs"
        )
        parts.append(
            f"<g><title>{escape(title)}</title>"
            f'<line class="model bar" x1="{across:.1f}" x2="{across:.1f}" y1="{y(low):.1f}" '
            f'y2="{y(high):.1f}"/><circle class="model" cx="{across:.1f}" cy="{up:.1f}" '
            f'r="{2 + 6 * each["share"] ** 0.5:.1f}"/></g>'
        )
    return _svg(SIDE, SIDE, "reliability", parts)


def _svg(width: float, height: float, name: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(name)}">'
        f"{''.join(parts)}</svg>"
    )
