"""The report of a scaling study -> a panel a suite, a colour a size, fits with their bands.

plot_scaling(report, Path("scaling"))   ->  scaling.svg, scaling.png, scaling.csv

Colours go from dark to light with size along cividis, which colour-blind readers see as others do;
each size has its own marker, too. Both axes are logarithmic, and labelled with plain numbers.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldpm.errors import DataError
from worldpm.report.figures import GREY, INK, heading, new_axes, new_figure, save, write

Json = Mapping[str, Any]
BySize = Mapping[float, Any]
_ACROSS, _WIDTH, _HEIGHT, _LEFT, _GAP, _TOP, _BOTTOM = 3, 2.9, 2.2, 0.75, 0.95, 1.05, 0.95
_MARKERS = "osD^vP"
_STEPS = (1.0, 2.0, 5.0)


def plot_scaling(report: Json, path: Path) -> list[Path]:
    """Draw the report of `scaling.study`; returns the files: .svg, .png, .csv.

    Raises DataError for a report without points, WorldPMError without matplotlib.
    """
    panels = report["panels"]
    if not any(series["points"] for panel in panels for series in panel["series"]):
        raise DataError("the report has no points to draw")
    across = min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    width = max(_LEFT + across * (_WIDTH + _GAP) - 0.35, 6.0)
    height = _TOP + down * (_HEIGHT + _BOTTOM) + 0.2
    figure = new_figure(width, height)
    sizes = sorted({s["params"] or 0.0 for panel in panels for s in panel["series"]})
    colours = {size: _colour(place, len(sizes)) for place, size in enumerate(sizes)}
    markers = {size: _MARKERS[place % len(_MARKERS)] for place, size in enumerate(sizes)}
    heading(
        figure, _finding(report), "Lines: fitted laws with 95 % bands. Dots: runs. Both axes log."
    )
    _legend(figure, sizes, colours, markers)
    for place, panel in enumerate(panels):
        left = _LEFT + (place % across) * (_WIDTH + _GAP)
        bottom = height - _TOP - 0.15 - (place // across) * (_HEIGHT + _BOTTOM) - _HEIGHT
        axes = new_axes(figure, left, bottom, _WIDTH, _HEIGHT)
        _draw(axes, panel, colours, markers)
        _label(axes, report, panel)
    return save(figure, path, *_table(report))


def size_text(params: float) -> str:
    """A number of parameters in three digits: 135M, 1.5B."""
    for bound, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if params >= bound:
            return f"{params / bound:.3g}{unit}"
    return f"{params:.3g}"


def log_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Round numbers within [low, high] for a logarithmic axis, two at least where there are any.

    >>> log_ticks(0.4, 0.7)
    [0.4, 0.5, 0.6, 0.7]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = range(first, last + 1)
    slack = 1e-9
    for steps in ((1.0,), (1.0, 3.0), _STEPS, tuple(n / 10 for n in range(10, 100, 5))):
        for every in (1, 2, 3):
            found = [
                step * 10.0**power
                for power in powers
                if power % every == 0
                for step in steps
                if low * (1 - slack) <= step * 10.0**power <= high * (1 + slack)
            ]
            if 3 <= len(found) <= most:
                return found
    step = 10.0 ** math.floor(math.log10((high - low) or low)) / 2
    while (high - low) / step > most - 1:
        step *= 2
    start = math.ceil(low / step - slack)
    return [float(f"{i * step:.12g}") for i in range(start, math.floor(high / step + slack) + 1)]


def _colour(place: int, count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["cividis"](0.85 * place / max(1, count - 1))


def _finding(report: Json) -> str:
    # A joint law stands with every size of its panel, and is one all the same.
    most = 1 if report["form"] == "joint" else None
    laws = [s["law"] for panel in report["panels"] for s in panel["series"][:most] if s["law"]]
    moving = sum(law["trend"]["is_there"] for law in laws)
    many = "law" if len(laws) == 1 else "laws"
    what = f"{report['y'].replace('_', ' ')} by {report['x']}"
    return f"{what}: {moving} of {len(laws)} {many} with a trend"


def _legend(figure: Any, sizes: Sequence[float], colours: BySize, markers: BySize) -> None:
    if sizes == [0.0]:
        return
    width, height = figure.get_size_inches()
    x = 0.2
    for size in sizes:
        write(figure, (x + 0.14) / width, 1 - 0.82 / height, size_text(size), size=9, va="center")
        axes = figure.add_axes(((x - 0.05) / width, 1 - 0.87 / height, 0.12 / width, 0.1 / height))
        axes.axis("off")
        axes.plot([0], [0], markers[size], color=colours[size], markersize=6, clip_on=False)
        x += 0.75


def _draw(axes: Any, panel: Json, colours: BySize, markers: BySize) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for series in panel["series"]:
        size = series["params"] or 0.0
        colour = colours[size]
        curve = series["curve"]
        if curve:
            x = [each["data"] for each in curve]
            low, high = ([each[end] for each in curve] for end in ("low", "high"))
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(x, [each["value"] for each in curve], color=colour, linewidth=1.5)
        axes.plot(
            [p["data"] for p in series["points"]], [p["value"] for p in series["points"]],
            markers[size], color=colour, markersize=4, markeredgecolor="white",
            markeredgewidth=0.5, zorder=3,
        )  # fmt: skip


def _label(axes: Any, report: Json, panel: Json) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    points = [p for series in panel["series"] for p in series["points"]]
    for axis, key in ((axes.xaxis, "data"), (axes.yaxis, "value")):
        low, high = (f(p[key] for p in points) for f in (min, max))
        low, high = (low * 0.98, high * 1.02) if low == high else (low, high)
        margin = (high / low) ** 0.05
        (axes.set_xlim if key == "data" else axes.set_ylim)(low / margin, high * margin)
        axis.set_major_locator(FixedLocator(log_ticks(low / margin, high * margin)))
        axis.set_minor_locator(NullLocator())
        shown = size_text if key == "data" else "{:g}".format
        axis.set_major_formatter(FuncFormatter(lambda value, _, shown=shown: shown(value)))
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(GREY)
    axes.set_xlabel(report["x"], fontsize=9, color=INK)
    axes.set_ylabel(report["y"].replace("_", " "), fontsize=9, color=INK)
    kind = f" ({panel['class']})" if panel["class"] else ""
    if panel["suite"]:
        write(
            axes, 0, 1.04, f"{panel['suite']}{kind}", size=10, weight="bold",
            transform=axes.transAxes,
        )  # fmt: skip


def _table(report: Json) -> tuple[list[str], list[list[object]]]:
    """Header and rows: each point, then each point of a curve with its band."""
    rows: list[list[object]] = []
    for panel in report["panels"]:
        for series in panel["series"]:
            start = [panel["suite"], panel["class"], series["params"]]
            form = series["law"]["form"] if series["law"] else ""
            for each in series["points"]:
                rows.append(
                    [*start, "point", each["data"], each["value"], "", "", each["seed"], ""]
                )
            for each in series["curve"]:
                ends = [each["low"], each["high"]]
                rows.append([*start, "curve", each["data"], each["value"], *ends, "", form])
    header = [
        "suite",
        "class",
        "params",
        "kind",
        report["x"],
        report["y"],
        "low",
        "high",
        "seed",
        "form",
    ]
    return header, rows
