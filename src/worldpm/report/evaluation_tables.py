"""Tables of a report of `eval`, as HTML for the page and as Markdown.

    suite_table(evaluations)    ->  "<table>..."
    markdown_report(report)     ->  "# model ..."

All names come from data: they are escaped in both.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from worldpm.report.standing import marks, published_cell, unmatched_lines

Json = Mapping[str, Any]
Cell = str
KINDS = ("all", "class", "section", "style")

_SUITES = (
    "set", "model", "pairs", "accuracy %", "loss", "fitted loss", "Brier", "longer %",
    "style only %", "chance %", "over longer", "p", "q",
)  # fmt: skip
_LEFT_OUT = ("set", "what", "reason", "rows")
_CLASSES = (
    "class", "model", "sets", "accuracy %", "loss", "longer %", "style only %", "chance %",
)  # fmt: skip


def _percent(value: float, interval: Sequence[float] | None = None, form: str = ".1f") -> str:
    text = format(100 * value, form)
    if interval is None:
        return text
    low, high = (format(100 * end, form) for end in interval)
    return f"{text} [{low}, {high}]"


def _nats(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return ""
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _chance(p: float | None) -> str:
    return "" if p is None else f"{p:.4f}" if p >= 0.0001 else "<0.0001"


def _suite_rows(evaluations: Sequence[Json], kinds: Iterable[str]) -> list[list[Cell]]:
    rows = []
    for evaluation in evaluations:
        for line in evaluation["lines"]:
            if line["kind"] not in kinds:
                continue
            outcome, floors, gain = line["outcome"], line["floors"], line["over_length"]
            whole = line["kind"] == "all"
            rows.append(
                [
                    outcome["name"] if whole else f"– {outcome['name']}",
                    evaluation["model"],
                    f"{outcome['num_comparisons']:,}",
                    _percent(outcome["accuracy"], outcome["accuracy_interval"]),
                    _nats(outcome["loss_nats"], outcome["loss_interval"]),
                    _nats(outcome["held_out_loss_nats"]),
                    f"{outcome['brier']:.3f}",
                    _percent(floors["longer (characters)"]["accuracy"]),
                    _percent(floors["style only"]["accuracy"]),
                    _percent(floors["chance"]["accuracy"]),
                    _percent(gain["value"], gain["interval"], "+.1f"),
                    _chance(gain["p_value"]),
                    _chance(gain.get("q_value")),
                ]
            )
    return rows


def _class_rows(classes: Sequence[Json]) -> list[list[Cell]]:
    return [
        [
            each["class"],
            each["model"],
            str(each["num_suites"]),
            _percent(each["accuracy"], each["interval"]),
            _nats(each["loss_nats"]),
            _percent(each["longer"]),
            _percent(each["style_only"]),
            _percent(each["chance"]),
        ]
        for each in classes
    ]


def _left_out_rows(left_out: Sequence[Json]) -> list[list[Cell]]:
    return [
        [each["suite"], each["what"], each["reason"], f"{each['count']:,}"] for each in left_out
    ]


_CONTRASTS = ("set", "models", "pairs", "accuracy, points", "p", "q", "loss, nats", "p", "q")


def _contrast_rows(contrasts: Sequence[Json]) -> list[list[Cell]]:
    return [
        [
            each["group"] if each["kind"] == "all" else f"– {each['group']}",
            f"{each['a']} less {each['b']}",
            f"{each['num_comparisons']:,}",
            _percent(each["accuracy"]["value"], each["accuracy"]["interval"], "+.1f"),
            _chance(each["accuracy"]["p_value"]),
            _chance(each["q_accuracy"]),
            _nats(each["loss"]["value"], each["loss"]["interval"]),
            _chance(each["loss"]["p_value"]),
            _chance(each["q_loss"]),
        ]
        for each in contrasts
    ]


_STYLES = (
    "set", "model", "alpha", "raw %", "with style %", "held out %", "style only %", "held out %",
    "over style", "loss, with style", "held out", "longer right %", "shorter right %",
    "phi, predicted", "phi, labels",
)  # fmt: skip


def _style_rows(evaluations: Sequence[Json]) -> list[list[Cell]]:
    rows = []
    for evaluation in evaluations:
        for line in evaluation["lines"]:
            style = line["style"]
            if style is None or line["kind"] not in KINDS:
                continue
            both, only, over = style["controlled"], style["style_only"], style["over_style"]
            whole = line["kind"] == "all"
            name = line["outcome"]["name"]
            predicted, labels = style["phi_predicted"]["length"], style["phi_labels"]["length"]
            rows.append(
                [
                    name if whole else f"– {name}",
                    evaluation["model"],
                    f"{style['alpha']:.2f}",
                    _percent(line["outcome"]["accuracy"]),
                    _percent(both["accuracy"]),
                    _percent(both["held_out_accuracy"]),
                    _percent(only["accuracy"]),
                    _percent(only["held_out_accuracy"]),
                    _percent(over["value"], over["interval"], "+.1f"),
                    _nats(both["loss_nats"]),
                    _nats(both["held_out_loss_nats"]),
                    *(
                        "" if style[key] is None else _percent(style[key])
                        for key in ("chosen_longer_accuracy", "chosen_shorter_accuracy")
                    ),
                    *("" if phi is None else f"{phi:+.2f}" for phi in (predicted, labels)),
                ]
            )
    return rows


_BEST = ("set", "model", "n", "prompts", "worth", "random", "ideal", "regret")


def _best_rows(evaluations: Sequence[Json]) -> list[list[Cell]]:
    return [
        [
            evaluation["suite"],
            evaluation["model"],
            str(point["n"]),
            f"{point['num_comparisons']:,}",
            _nats(point["worth"], point["worth_interval"]),
            _nats(point["random"]),
            _nats(point["ideal"]),
            _nats(point["regret"], point["regret_interval"]),
        ]
        for evaluation in evaluations
        for point in evaluation["best_of_n"]
    ]


_PROBES = ("set", "model", "edit", "what it adds", "pairs", "shift", "raised %", "lifted %",
           "dropped %", "accuracy %, before", "after")  # fmt: skip


def _probe_rows(probes: Sequence[Json]) -> list[list[Cell]]:
    return [
        [
            each["suite"],
            each["model"],
            probe["name"],
            probe["about"],
            f"{probe['num_pairs']:,}",
            _nats(probe["shift"], probe["shift_interval"]),
            _percent(probe["raised"]),
            _percent(probe["lifted"], probe["lifted_interval"]),
            _percent(probe["dropped"], probe["dropped_interval"]),
            _percent(probe["plain_accuracy"]),
            _percent(probe["accuracy"]),
        ]
        for each in probes
        for probe in each["outcomes"]
    ]


def _figure_tables(standing: Json) -> list[tuple[str, list[str], list[list[Cell]], list[str]]]:
    """Title, head, rows and notes of the figures, and of those under control of style apart.

    The last one's notes end with what was published and is not shown, by reason.
    """
    title = f"Protocol {standing['protocol']}, {standing.get('model', '')}".rstrip(", ")
    tables = [(title, *_figure_rows(standing, "none"))]
    if standing.get("controlled"):
        tables.append((f"{title}, style-controlled", *_figure_rows(standing, "style")))
    tables[-1][-1].extend(unmatched_lines(standing))
    return tables


def _figure_rows(standing: Json, control: str) -> tuple[list[str], list[list[Cell]], list[str]]:
    """Our figures under one control of style beside those published under it; head, rows, notes."""
    published = {
        (column["name"], row["group"], row["suite"], row["figure"]): row
        for column in standing["against"]
        for row in column["rows"]
        if row["control"] == control
    }
    names = [column["name"] for column in standing["against"]]
    controlled = control == "style"
    notes: dict[str, int] = {}
    rows = []
    for each in standing["controlled" if controlled else "figures"]:
        place = (each["group"], each["suite"], each["name"])
        own = marks([each["note"]] if each["note"] else [], notes)
        rows.append(
            [
                each["name"],
                ", ".join(filter(None, (each["group"], each["suite"]))),
                f"{100 * each['value']:.2f}{own}",
                *([f"{100 * each['style_alone']:.2f}"] if controlled else ()),
                f"{each['num']:,}",
                f"{each['num_ties']:,}",
                *(published_cell(published.get((name, *place)), notes) for name in names),
            ]
        )
    head = ["figure", "of", "%", *(["style alone %"] if controlled else ()), "pairs", "ties"]
    return [*head, *names], rows, [f"{number}: {note}" for note, number in notes.items()]


# --- HTML ----------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]], words: int = 2) -> str:
    """A table whose first `words` columns are text and whose others are numbers."""
    if not rows:
        return ""

    number = ' class="n"'

    def cells(tag: str, row: Sequence[Cell]) -> str:
        return "".join(
            f"<{tag}{number if place >= words else ''}>{escape(cell)}</{tag}>"
            for place, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def class_table(classes: Sequence[Json]) -> str:
    """The means by class."""
    return _table(_CLASSES, _class_rows(classes))


def suite_table(evaluations: Sequence[Json], kinds: Iterable[str] = KINDS) -> str:
    """Every suite and its groups, with the floors."""
    return _table(_SUITES, _suite_rows(evaluations, tuple(kinds)))


def left_out_table(left_out: Sequence[Json]) -> str:
    """What no figure is made of, by reason."""
    return _table(_LEFT_OUT, _left_out_rows(left_out), words=3)


def contrast_table(contrasts: Sequence[Json]) -> str:
    """Differences of two models."""
    return _table(_CONTRASTS, _contrast_rows(contrasts))


def style_table(evaluations: Sequence[Json]) -> str:
    """In-sample and held-out style control side by side."""
    return _table(_STYLES, _style_rows(evaluations))


def best_of_n_table(evaluations: Sequence[Json]) -> str:
    """Worth and regret over n."""
    return _table(_BEST, _best_rows(evaluations))


def probe_table(probes: Sequence[Json]) -> str:
    """Flips and shifts by edit."""
    return _table(_PROBES, _probe_rows(probes), words=4)


def figures_tables(figures: Sequence[Json]) -> str:
    """A protocol's figures beside the published ones, a table for each control of style."""
    parts = []
    for each in figures:
        for title, head, rows, notes in _figure_tables(each):
            parts.append(f"<h3>{escape(title)}</h3>{_table(head, rows)}")
            parts += [f'<p class="soft">{escape(note)}</p>' for note in notes]
    return "".join(parts)


# --- Markdown ------------------------------------------------------------------------------------


def markdown_report(report: Json) -> str:
    """The tables of the report as GitHub's Markdown, each cell's marks escaped."""
    parts = [f"# {_plain(', '.join(report['models']))}"]
    for title, head, rows in (
        ("Classes", _CLASSES, _class_rows(report["classes"])),
        ("Suites", _SUITES, _suite_rows(report["evaluations"], KINDS)),
        ("Left out", _LEFT_OUT, _left_out_rows(report.get("left_out", ()))),
        ("Models compared", _CONTRASTS, _contrast_rows(report["contrasts"])),
        ("Style", _STYLES, _style_rows(report["evaluations"])),
        ("Best of n", _BEST, _best_rows(report["evaluations"])),
        ("Probes", _PROBES, _probe_rows(report["probes"])),
    ):
        if rows:
            parts += [f"## {title}", _markdown(head, rows)]
    for each in report["figures"]:
        for title, columns, figures, notes in _figure_tables(each):
            parts += [f"## {_plain(title)}", _markdown(columns, figures)]
            parts += ["\n".join(f"- {_plain(note)}" for note in notes)] if notes else []
    return "\n\n".join([*parts, report["testing"]]) + "\n"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(cell: str) -> str:
    """No cell can end its row, begin a tag or a link."""
    kept = " ".join(cell.split())
    for mark in ("\\", "|", "<", "[", "]", "*", "_", "`"):
        kept = kept.replace(mark, f"\\{mark}")
    return kept
