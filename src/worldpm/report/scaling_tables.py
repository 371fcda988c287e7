"""A law as JSON -> a table of its parameters with intervals, for a terminal or a page.

law_table(law)             ->  rich.Table
laws_table(laws, names)    ->  rich.Table, a row for each group of rows
parameter_cells(law)       ->  [("alpha", "0.347", "0.316 to 0.376"), ...]
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text


def law_table(law: Mapping[str, Any], names: Sequence[str] = ()) -> Table:
    """Each parameter on a line; the title says form, group, and whether there is a trend."""
    group = ", ".join(names)
    table = Table(
        title=Text(f"{law['form']}{f' of {group}' if group else ''}: {trend_words(law['trend'])}"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("parameter")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for cells in parameter_cells(law):
        table.add_row(*map(Text, cells))
    by, count = law["intervals"]["by"], law["intervals"]["resamples"]
    caption = f"{law['num_points']} points, spread {law['spread']:.2%}; {count} resamples by {by}"
    table.caption = Text(caption)
    table.caption_justify = "left"
    return table


def laws_table(laws: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """Each group's law on a row: shape, whether there is a trend, parameters with intervals."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        words = (word for law in laws for word in law[name].split())
        table.add_column(name, min_width=max(map(len, words), default=1))
    for heading in ("p", "q"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("shape", "95 % intervals"):
        table.add_column(heading, no_wrap=True)
    for law in laws:
        parameters = [
            f"{name} {_shown(each['value'], 3)} "
            f"[{_shown(each['low'], 3)}, {_shown(each['high'], 3)}]"
            for name, each in law["parameters"].items()
        ]
        cells = [
            *(law[name] for name in names), f"{law['trend']['p']:.2g}",
            f"{law['trend']['q']:.2g}", law["form"], "\n".join(parameters),
        ]  # fmt: skip
        table.add_row(*map(Text, cells))
    table.caption = Text("p: of no trend; q: the same among all groups (Benjamini-Hochberg)")
    table.caption_justify = "left"
    return table


def parameter_cells(law: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and interval of each parameter; an end that is not settled says so."""
    return [
        (name, _shown(each["value"]), f"{_shown(each['low'])} to {_shown(each['high'])}")
        for name, each in law["parameters"].items()
    ]


def trend_words(trend: Mapping[str, Any]) -> str:
    """Whether there is a trend, with its p."""
    found = "a trend" if trend["is_there"] else "no trend that chance would not make"
    return f"{found} (p = {trend['p']:.2g})"


def _shown(value: float | None, digits: int = 4) -> str:
    return "no end" if value is None else f"{value:.{digits}g}"
