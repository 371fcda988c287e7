"""What every picture shares: matplotlib brought in late, fonts that hold the text, files written.

    figure = new_figure(width, height)            inches
    save(figure, path, header, rows)              -> path.svg, path.png, path.csv

The numbers of a picture are always beside it as CSV. Colours are Okabe and Ito's, which stay apart
for colour-blind readers.
"""

import csv
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from worldpm.errors import WorldPMError
from worldpm.store import write_atomic

BLUE, VERMILION, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A8A8A", "#222222"

# Beginnings of the names of families that hold Chinese: Linux, macOS, Windows.
_CJK_FAMILIES = (
    "Noto Sans CJK", "Noto Sans SC", "Source Han Sans", "WenQuanYi", "Droid Sans Fallback",
    "LXGW WenKai", "PingFang", "Hiragino Sans GB", "Heiti", "STHeiti", "Songti",
    "Arial Unicode MS", "Microsoft YaHei", "SimHei", "SimSun",
)  # fmt: skip


def new_figure(width: float, height: float) -> Any:
    """An empty figure of `width` x `height` inches, off any global state.

    Raises WorldPMError if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise WorldPMError(
            'pictures need matplotlib, which is not installed; pip install "worldpm[plots]"'
        ) from None
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def new_axes(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes at a place in inches, with a line at the bottom only."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.tick_params(colors=INK, length=3, labelsize=9)
    return axes


@cache
def font_families() -> tuple[str, ...]:
    """The families to write with: DejaVu Sans, then the first installed one that holds Chinese."""
    from matplotlib import font_manager

    installed = sorted({font.name for font in font_manager.fontManager.ttflist})
    found = [name for start in _CJK_FAMILIES for name in installed if name.startswith(start)]
    return ("DejaVu Sans", *found[:1])


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    held: set[int] = set()
    for family in font_families():
        path = font_manager.findfont(font_manager.FontProperties(family=family))
        held |= set(FT2Font(path).get_charmap())
    return frozenset(held)


def drawable(text: str) -> bool:
    """Whether the fonts at hand hold every character, so that none becomes an empty box."""
    return all(ord(character) in _glyphs() for character in text)


def only_drawable(text: str) -> str:
    """`text` without the characters that no font at hand holds (an emoji, say)."""
    return " ".join("".join(c for c in text if ord(c) in _glyphs()).split())


def write(place: Any, x: float, y: float, text: str, **style: Any) -> Any:
    """Put `text` on a figure or axes as it stands: a dollar sign starts no formula.

    `halo` is a background colour to paint around the letters where lines pass behind them.
    """
    halo = style.pop("halo", None)
    if halo is not None:
        from matplotlib.patheffects import withStroke

        style["path_effects"] = [withStroke(linewidth=3, foreground=halo)]
    # The first family alone where it is enough: the others may lack a weight and say so.
    families = font_families()[:1] if text.isascii() else font_families()
    style = {"family": families, "color": INK, "parse_math": False, **style}
    return place.text(x, y, text, **style)


def width_inches(figure: Any, text: Any) -> float:
    """The drawn width of a text object."""
    return float(text.get_window_extent(figure.canvas.get_renderer()).width) / float(figure.dpi)


def heading(figure: Any, title: str, subtitle: str) -> None:
    """The finding in bold at the top left, and how to read the picture beneath it."""
    height = figure.get_size_inches()[1]
    left = 0.15 / figure.get_size_inches()[0]
    write(figure, left, 1 - 0.16 / height, title, size=14, weight="bold", va="top")
    write(figure, left, 1 - 0.48 / height, subtitle, size=9, color="#555555", va="top")


def save(
    figure: Any, path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]
) -> list[Path]:
    """Write the figure as `path`.svg and .png and its numbers as .csv; returns the three paths.

    A suffix of `path` is replaced. The same figure gives the same bytes.
    """
    import matplotlib

    files: list[Path] = []
    with matplotlib.rc_context({"svg.hashsalt": "worldpm"}):
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": None})):
            data = io.BytesIO()
            figure.savefig(data, format=suffix[1:], dpi=200, metadata=metadata)
            files.append(path.with_suffix(suffix))
            write_atomic(files[-1], data.getvalue())
    table = io.StringIO(newline="")
    csv.writer(table).writerows([header, *rows])
    files.append(path.with_suffix(".csv"))
    write_atomic(files[-1], table.getvalue().encode())
    return files
