"""What the cards share: Markdown whose cells may hold any text of others.

table(("reason", "count"), [(code("no_edge"), "3")])  ->  "| reason | count |\\n|---|---|\\n..."
"""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; nothing at all without a row."""
    made = [f"| {' | '.join(cells)} |" for cells in rows]
    if not made:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", "|" + "---|" * len(header), *made])


def escaped(text: str) -> str:
    """Text of others on one line of Markdown, where it starts no markup, table cell or tag."""
    line = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{mark}" if mark in "\\|`[]*_~" else mark for mark in line)


def code(text: str) -> str:
    """Text of others as code in a table's cell; no tag, also for a reader that knows no code."""
    line = _one_line(text).replace("<", "&lt;").replace(">", "&gt;")
    line = line.replace("`", "'").replace("|", "\\|")
    return f"`{line}`"


def link(url: str) -> str:
    """An address between angle brackets, which it does not end."""
    line = _one_line(url)
    for mark, instead in ((" ", "%20"), ("<", "%3C"), (">", "%3E")):
        line = line.replace(mark, instead)
    return line


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
