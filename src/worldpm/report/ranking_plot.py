"""The picture of a ranking: a row a prompt, a dot a reply, the best to the right.

comparisons, scores -> plot_ranking -> ranking.svg, ranking.png, ranking.csv
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from worldpm.errors import WorldPMError
from worldpm.records import Comparison, Score
from worldpm.report.figures import (
    GREY,
    INK,
    VERMILION,
    drawable,
    heading,
    new_axes,
    new_figure,
    only_drawable,
    save,
    width_inches,
    write,
)
from worldpm.report.ranking import (
    best_probabilities,
    one_line,
    preview,
    prompt_label,
    ranked,
    shorten,
)

# Inches: a row's height, what stands below the rows, the two columns, from a dot to its words.
_ROW, _BOTTOM, _LABELS, _DOTS, _GAP = 0.62, 0.85, 2.55, 7.9, 0.06
_SHADE = "#F4F4F4"  # of every other row


@dataclass(frozen=True, slots=True)
class _Dot:
    """One reply of a ranking picture: `x` is its score less the prompt's mean, in log-odds."""

    reply: int
    score: float
    x: float
    p_best: float
    known_best: bool
    label: str


def _label(text: str, fallback: object, width: int) -> str:
    """`text` shortened if the fonts hold it, else the fallback, never an empty box."""
    if not drawable(text):
        thinner = only_drawable(text)
        # A lost emoji leaves the meaning; a lost script does not.
        text = thinner if len(thinner) > 0.8 * len(text) else only_drawable(one_line(str(fallback)))
    return shorten(text, width)


def _dots(comparison: Comparison, scores: Sequence[Score]) -> list[_Dot]:
    """The replies, best first."""
    values = [score.value for score in scores]
    if len(values) != len(comparison.replies):
        raise WorldPMError(
            f"comparison {comparison.id!r}: {len(values)} scores for "
            f"{len(comparison.replies)} replies; give one for each"
        )
    chances, mean = best_probabilities(values), sum(values) / len(values)
    winners = {e.winner for e in comparison.better} - {e.loser for e in comparison.better}
    names = comparison.meta.get("reply_labels") or [f"reply {i + 1}" for i in range(len(values))]
    return [
        _Dot(
            reply,
            values[reply],
            values[reply] - mean,
            chances[reply],
            reply in winners,
            _label(preview(comparison.replies[reply]), names[reply], 34),
        )
        for reply in ranked(values)
    ]


def _ranking_title(rows: Sequence[Sequence[_Dot]]) -> str:
    known = [row for row in rows if any(dot.known_best for dot in row)]
    if known:
        right = sum(row[0].known_best for row in known)
        return f"The reply known to be best scores highest on {right} of {len(known)} prompts"
    clear = sum(row[0].p_best > 0.5 for row in rows)
    return f"One reply is a clear favourite, P(best) over 50 %, on {clear} of {len(rows)} prompts"


def plot_ranking(
    comparisons: Sequence[Comparison],
    scores: Sequence[Sequence[Score]],
    path: Path,
) -> list[Path]:
    """A row a prompt, a dot a reply at its score less the prompt's mean; returns the files written.

    Area and colour of a dot are P(best), the softmax of the prompt's scores. The best and the worst
    reply begin beside their dots, the others beneath or above as far as there is room. Where no
    installed font holds a text, a prompt is called `meta["label"]` (else its id) and a reply
    `meta["reply_labels"][i]` (else its number). Raises WorldPMError without matplotlib, without
    comparisons, or for scores that do not fit them.
    """
    if not comparisons or len(scores) != len(comparisons):
        raise WorldPMError(
            f"{len(comparisons)} comparisons and {len(scores)} lists of scores; "
            "a ranking needs one list for each, and at least one"
        )
    width, height = _LABELS + _DOTS + 0.25, _ROW * len(comparisons) + _BOTTOM + 0.8
    figure = new_figure(width, height)
    axes = new_axes(figure, _LABELS, _BOTTOM, _DOTS, _ROW * len(comparisons))
    rows = [_dots(*both) for both in zip(comparisons, scores, strict=True)]
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    ends = [_draw_ends(axes, place, row) for place, row in enumerate(rows)]
    _fit_x(figure, axes, rows, ends)
    for place, (comparison, row) in enumerate(zip(comparisons, rows, strict=True)):
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color=_SHADE, zorder=0)
        axes.plot([row[0].x, row[-1].x], [place, place], color="#CCCCCC", lw=1, zorder=1)
        _draw_dots(axes, [(dot, place) for dot in row])
        _draw_between(figure, axes, place, row)
        name = _label(prompt_label(comparison), comparison.meta.get("label", comparison.id), 68)
        y = (_BOTTOM + _ROW * (len(rows) - place - 0.5)) / height
        write(figure, 0.15 / width, y, _two_lines(name), size=9, va="center", linespacing=1.25)
    axes.axvline(0, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=0.5)
    axes.set_xlabel("score less the prompt's mean, in log-odds", fontsize=9, color=INK)
    _size_legend(figure, any(dot.known_best for row in rows for dot in row))
    heading(
        figure,
        _ranking_title(rows),
        "Each row is a prompt, each dot a reply; further right is better. "
        "The larger and darker the dot, the likelier the reply is the best of its row.",
    )
    return save(figure, path, _RANKING_HEADER, _ranking_rows(comparisons, rows))


_RANKING_HEADER = (
    "id", "prompt", "reply", "score", "score_less_mean", "p_best", "known_best", "text",
)  # fmt: skip


def _ranking_rows(
    comparisons: Sequence[Comparison], rows: Sequence[Sequence[_Dot]]
) -> list[list[object]]:
    return [
        [c.id, prompt_label(c), d.reply, d.score, d.x, d.p_best, int(d.known_best),
         shorten(preview(c.replies[d.reply]), 120)]
        for c, row in zip(comparisons, rows, strict=True)
        for d in row
    ]  # fmt: skip


def _two_lines(text: str, cells: int = 36) -> str:
    """The text on one line if it fits in `cells`, else on two, the second cut short if need be."""
    if cell_len(text) <= cells:
        return text
    cut = next(i for i in range(len(text)) if cell_len(text[: i + 1]) > cells)
    space = text.rfind(" ", 0, cut + 1)
    cut = space if space > 0 else cut
    return f"{text[:cut]}\n{shorten(text[cut:].strip(), cells)}"


def _area(p_best: float) -> float:
    """A dot's area in square points."""
    return 16.0 + 260.0 * p_best


def _gap(dot: _Dot) -> float:
    """Inches from a dot's centre to its words."""
    return _GAP + math.sqrt(_area(dot.p_best) / math.pi) / 72


def _background(place: int) -> str:
    return _SHADE if place % 2 else "white"


def _draw_dots(axes: Any, dots: Sequence[tuple[_Dot, float]]) -> None:
    axes.scatter(
        [dot.x for dot, _ in dots],
        [y for _, y in dots],
        s=[_area(dot.p_best) for dot, _ in dots],
        c=[0.2 + 0.8 * dot.p_best for dot, _ in dots],
        cmap="Blues",
        vmin=0,
        vmax=1.05,
        edgecolors=[VERMILION if dot.known_best else "#33557A" for dot, _ in dots],
        linewidths=[2.0 if dot.known_best else 0.6 for dot, _ in dots],
        zorder=3,
    )


def _draw_ends(axes: Any, place: int, row: Sequence[_Dot]) -> tuple[Any, Any]:
    """The words beside the worst (left) and the best dot (right); their x is set by `_fit_x`."""
    best, worst = row[0], row[-1]
    words = f"{best.label}  {best.p_best:.0%}"
    right = write(
        axes, best.x, place, words, size=8.5, va="center", zorder=4, halo=_background(place)
    )
    left = write(
        axes, worst.x, place, worst.label if len(row) > 1 else "", size=8, va="center",
        ha="right", color="#666666", zorder=4, halo=_background(place),
    )  # fmt: skip
    return left, right


def _fit_x(
    figure: Any, axes: Any, rows: Sequence[Sequence[_Dot]], ends: Sequence[tuple[Any, Any]]
) -> None:
    """The widest scale at which every row's dots and words fit between the axes' edges."""
    room = [
        (width_inches(figure, left) + _gap(row[-1]) + _GAP,
         width_inches(figure, right) + _gap(row[0]) + _GAP)
        for row, (left, right) in zip(rows, ends, strict=True)
    ]  # fmt: skip

    def edges(scale: float) -> tuple[float, float]:
        low = min(row[-1].x - left / scale for row, (left, _) in zip(rows, room, strict=True))
        high = max(row[0].x + right / scale for row, (_, right) in zip(rows, room, strict=True))
        return low, high

    smallest, largest = 1e-6, 1e6  # inches for one unit of log-odds
    for _ in range(80):
        scale = (smallest * largest) ** 0.5
        low, high = edges(scale)
        if (high - low) * scale <= _DOTS:
            smallest = scale
        else:
            largest = scale
    scale = min(smallest, _DOTS)  # scores that hardly differ are not spread over the whole width
    low, high = edges(scale)
    middle = 0.5 * (low + high)
    axes.set_xlim(middle - 0.5 * _DOTS / scale, middle + 0.5 * _DOTS / scale)
    for row, (left, right) in zip(rows, ends, strict=True):
        left.set_x(row[-1].x - _gap(row[-1]) / scale)
        right.set_x(row[0].x + _gap(row[0]) / scale)


def _draw_between(figure: Any, axes: Any, place: int, row: Sequence[_Dot]) -> None:
    """Words of the dots between best and worst, under or over them, where nothing is in the way."""
    renderer = figure.canvas.get_renderer()
    taken: list[Any] = []
    for dot in row[1:-1]:
        for y, align in ((place + 0.2, "top"), (place - 0.2, "bottom")):
            text = write(
                axes, dot.x, y, shorten(dot.label, 26), size=7, va=align, ha="center",
                color="#6F6F6F", zorder=2, halo=_background(place),
            )  # fmt: skip
            box = text.get_window_extent(renderer).padded(2)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _size_legend(figure: Any, known: bool) -> None:
    """Three dots that say what size means, and the ring if there is one, at the bottom left."""
    width, height = figure.get_size_inches()
    legend = figure.add_axes((0.15 / width, 0.1 / height, (_LABELS - 0.3) / width, 0.62 / height))
    legend.axis("off")
    legend.set_xlim(0, _LABELS - 0.3)
    legend.set_ylim(0, 0.62)
    write(legend, 0, 0.44, "P(best)", size=8, va="center")
    for place, p_best in enumerate((0.1, 0.5, 0.9)):
        x = 0.68 + 0.6 * place
        _draw_dots(legend, [(_Dot(0, 0, x, p_best, False, ""), 0.44)])
        write(legend, x + 0.15, 0.44, f"{p_best:.0%}", size=8, va="center")
    if known:
        _draw_dots(legend, [(_Dot(0, 0, 0.68, 0.3, True, ""), 0.12)])
        write(legend, 0.83, 0.12, "known to be best", size=8, va="center")
