"""Rich tables of a protocol's figures, with published ones beside ours.

the JSON of `worldpm.evals.standing` -> figures_table -> rich.print
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

_UNDER = {"none": "", "style": ", style-controlled"}
_SUBSETS = 30  # more subsets than this are for the JSON, not for a terminal


def figures_table(standing: Mapping[str, Any], control: str = "none") -> Table:
    """One line a figure: percent, pairs, ties, and a column for each published model.

    `control` "style" gives the figures under control of style, beside those published so.

    Subsets are left out where there are many. Caveats are numbered beneath the table.
    """
    figures = standing["controlled" if control == "style" else "figures"]
    if sum(each["group"] == "subset" for each in figures) > _SUBSETS:
        figures = [each for each in figures if each["group"] != "subset"]
    published = {
        (column["name"], row["group"], row["suite"], row["figure"]): row
        for column in standing["against"]
        for row in column["rows"]
        if row["control"] == control
    }
    notes: dict[str, int] = {}
    several = len({each["suite"] for each in figures} - {""}) > 1
    table = Table(
        title=Text(f"protocol {standing['protocol']}, in percent{_UNDER[control]}"),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("figure", overflow="fold")
    alone = ("style alone",) if control == "style" else ()
    for name in ("%", *alone, "pairs", "ties"):
        table.add_column(name, justify="right", no_wrap=True)
    for column in standing["against"]:
        table.add_column(Text(column["name"]), justify="right", overflow="fold", min_width=11)
    group = None
    for each in figures:
        if (each["group"], each["suite"] if several else "") != group:
            group = (each["group"], each["suite"] if several else "")
            table.add_row(Text(", ".join(filter(None, group)), style="italic"))
        cells = []
        for column in standing["against"]:
            row = published.get((column["name"], each["group"], each["suite"], each["name"]))
            cells.append(published_cell(row, notes))
        own = marks([each["note"]] if each["note"] else [], notes)
        table.add_row(
            Text(f"  {each['name']}"),
            f"{100 * each['value']:.2f}{own}",
            *(f"{100 * each['style_alone']:.2f}" for _ in alone),
            f"{each['num']:,}",
            f"{each['num_ties']:,}",
            *cells,
        )
    if notes:
        table.caption = Text("\n".join(f"{number}: {note}" for note, number in notes.items()))
        table.caption_justify = "left"
    return table


def published_cell(row: Mapping[str, Any] | None, notes: dict[str, int]) -> str:
    """A published figure with the marks of its caveats; nothing where there is none."""
    return "" if row is None else f"{row['published_percent']:.2f}{marks(row['caveats'], notes)}"


def marks(texts: Sequence[str], notes: dict[str, int]) -> str:
    """` (1,2)`: the numbers of these notes, which are numbered in `notes` as they come."""
    if not texts:
        return ""
    numbers = [notes.setdefault(text, len(notes) + 1) for text in texts]
    return " (" + ",".join(map(str, numbers)) + ")"


def unmatched_lines(standing: Mapping[str, Any]) -> list[str]:
    """Suites that are not whole; of each published model, how many figures miss, and why."""
    lines = list(standing.get("coverage", {}).values())
    for column in standing["against"]:
        reasons = Counter(row["reason"] for row in column["unmatched"])
        for reason, count in reasons.most_common():
            lines.append(f"{column['name']}: {count} published figures not shown: {reason}")
    return lines
