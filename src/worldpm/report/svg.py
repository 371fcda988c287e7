"""Small charts as inline SVG text that takes its colours from the page, light or dark.

    bars({"train": 2346, "test": 131}, "comparisons")   ->  "<svg ...>...</svg>"

No library and no script; every text is escaped, every number is in a title that a pointer shows
and a screen reader says. Sizes are in the SVG's own units, of which the page shows 640 across.
"""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LABELS, ROW = 640, 230, 22


def bars(values: Mapping[str, float], unit: str) -> str:
    """A horizontal bar for each named value, in order."""
    most = max(values.values(), default=0) or 1
    room = WIDTH - LABELS - 70
    rows = []
    for place, (label, value) in enumerate(values.items()):
        top = place * ROW
        width = room * value / most
        shown = f"{value:,.0f}"
        rows.append(
            f"<g><title>{escape(label)}: {shown} {escape(unit)}</title>"
            f'<text class="l" x="{LABELS - 8}" y="{top + 15}">{escape(_short(label))}</text>'
            f'<rect class="b" x="{LABELS}" y="{top + 4}" width="{width:.1f}" height="14" rx="2"/>'
            f'<text class="v" x="{LABELS + width + 6:.1f}" y="{top + 15}">{shown}</text></g>'
        )
    return _svg(len(values) * ROW + 4, unit, rows)


def shares(values: Mapping[str, tuple[float, int]], unit: str) -> str:
    """A dot for each named (share from 0 to 1, count), beside the line of one half."""
    room = WIDTH - LABELS - 120
    middle = LABELS + room / 2
    height = len(values) * ROW
    rows = [f'<line class="h" x1="{middle}" x2="{middle}" y1="0" y2="{height}"/>']
    for place, (label, (share, count)) in enumerate(values.items()):
        top, x = place * ROW, LABELS + room * share
        rows.append(
            f"<g><title>{escape(label)}: {share:.1%} of {count:,} {escape(unit)}</title>"
            f'<text class="l" x="{LABELS - 8}" y="{top + 15}">{escape(_short(label))}</text>'
            f'<line class="t" x1="{middle}" x2="{x:.1f}" y1="{top + 11}" y2="{top + 11}"/>'
            f'<circle class="b" cx="{x:.1f}" cy="{top + 11}" r="5"/>'
            f'<text class="v" x="{LABELS + room + 14}" y="{top + 15}">{share:.1%} of {count:,}'
            "</text></g>"
        )
    return _svg(height + 4, unit, rows)


def columns(values: Mapping[str, float], unit: str, height: int = 180) -> str:
    """An upright bar for each named value, in order: a histogram, or years."""
    most = max(values.values(), default=0) or 1
    step = WIDTH / max(1, len(values))
    every = _every(values)
    rows = []
    for place, (label, value) in enumerate(values.items()):
        tall = (height - 40) * value / most
        x, y = place * step, height - 22 - tall
        middle = x + step / 2
        text = (
            f'<text class="m" x="{middle:.1f}" y="{height - 6}">{escape(_short(label, 11))}</text>'
            if place % every == 0
            else ""
        )
        rows.append(
            f"<g><title>{escape(label)}: {value:,.0f} {escape(unit)}</title>"
            f'<rect class="b" x="{x + step * 0.12:.1f}" y="{y:.1f}" width="{step * 0.76:.1f}" '
            f'height="{tall:.1f}" rx="2"/>'
            f'<text class="m" x="{middle:.1f}" y="{y - 5:.1f}">{_brief(value)}</text>{text}</g>'
        )
    return _svg(height, unit, rows)


def bands(values: Mapping[str, Sequence[float]], unit: str, height: int = 220) -> str:
    """The quartiles and the median of each named group: a box and a line, from (low, mid, high)."""
    most = max((high for _, _, high in values.values()), default=0) or 1
    least = min(0.0, *(low for low, _, _ in values.values())) if values else 0.0
    step = WIDTH / max(1, len(values))

    def up(value: float) -> float:
        return height - 24 - (height - 44) * (value - least) / (most - least or 1)

    rows = [f'<line class="h" x1="0" x2="{WIDTH}" y1="{up(0):.1f}" y2="{up(0):.1f}"/>']
    every = _every(values)
    for place, (label, (low, middle, high)) in enumerate(values.items()):
        x = place * step
        shown = escape(_short(label, 11)) if place % every == 0 else ""
        rows.append(
            f"<g><title>{escape(label)}: median {middle:g}, half between {low:g} and {high:g} "
            f"{escape(unit)}</title>"
            f'<rect class="q" x="{x + step * 0.2:.1f}" y="{up(high):.1f}" '
            f'width="{step * 0.6:.1f}" height="{max(2.0, up(low) - up(high)):.1f}" rx="2"/>'
            f'<line class="d" x1="{x + step * 0.15:.1f}" x2="{x + step * 0.85:.1f}" '
            f'y1="{up(middle):.1f}" y2="{up(middle):.1f}"/>'
            f'<text class="m" x="{x + step / 2:.1f}" y="{up(middle) - 6:.1f}">{middle:g}</text>'
            f'<text class="m" x="{x + step / 2:.1f}" y="{height - 6}">{shown}</text></g>'
        )
    return _svg(height, unit, rows)


def _svg(height: float, label: str, rows: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(rows)}</svg>"
    )


def _every(values: Mapping[str, object]) -> int:
    """1 to label every group, 2 every other, and so on: labels must not run into each other."""
    return 1 + len(values) // 12


def _short(text: str, most: int = 30) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _brief(value: float) -> str:
    """A count in at most five characters: 950, 12.3k, 4.5M."""
    value = float(f"{value:.3g}")  # 999.6 is 1k, not 1e+03
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= bound:
            return f"{value / bound:.3g}{unit}"
    return f"{value:.3g}"
