"""Figures that others have published, to stand beside ours: each with its source.

    find("paper:WorldPM-72B-HelpSteer2")         -> Published(rows: PPE-Human 66.68, ...)
    beside(published, figures, protocol="worldpm") -> Beside(pairs, unmatched)

`paper:` is the WorldPM paper (every column of its Tables 1, 2, 3, 8 and 9), the other prefixes say
who published the row of a peer. A row is put beside a figure only where suite, protocol and control
of style are the same; every row that is not is named with the reason.

>>> find("paper:worldpm-72b-helpsteer2").name
'paper:WorldPM-72B-HelpSteer2'
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import orjson

from worldpm.errors import ConfigError
from worldpm.evals.figures import Figure

Control = Literal["none", "style"]


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One printed number in percent: `figure`, `suite` and `group` as in our own figures.

    `suite` is None where no suite of ours makes the number, and empty where several do. `count` is
    the number of pairs behind it, where that is known.
    """

    figure: str
    suite: str | None
    group: str | None
    protocol: str
    control: Control
    percent: float
    source: str
    url: str | None
    count: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A model's published rows, in the order of their tables."""

    name: str
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """`pairs` of a published row and our figure of the same thing, with the caveats between them.

    `unmatched` are the published rows without one, each with its reason. Together the pairs and
    they are all the rows.
    """

    pairs: tuple[tuple[PublishedRow, Figure, tuple[str, ...]], ...]
    unmatched: tuple[tuple[PublishedRow, str], ...]


@cache
def _tables() -> dict[str, Any]:
    file = resources.files("worldpm.evals") / "published.json"
    found: dict[str, Any] = orjson.loads(file.read_bytes())
    return found


def names() -> list[str]:
    """Every model with published rows, in the order of the tables."""
    return list(dict.fromkeys(name for table in _tables()["tables"] for name in table["models"]))


def find(name: str) -> Published:
    """The published rows of a model, by its name in any case; the prefix may be left out if clear.

    Raises ConfigError with the nearest names for one that is not there, and with the choice for one
    that several have published.
    """
    known = {each.lower(): each for each in names()}
    wanted = name.strip().lower()
    found = [known[wanted]] if wanted in known else []
    if not found and ":" not in wanted:
        found = [each for key, each in known.items() if key.partition(":")[2] == wanted]
    if len(found) > 1:
        raise ConfigError(f"{name!r} is published by several; say which: {', '.join(found)}")
    if not found:
        bare = {key.partition(":")[2]: key for key in known}
        near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5) or [
            bare[key]
            for key in difflib.get_close_matches(wanted.rpartition(":")[2], bare, n=3, cutoff=0.5)
        ]
        hint = f"did you mean {' or '.join(known[key] for key in near)}?" if near else ""
        raise ConfigError(
            f"nothing published as {name!r}; {hint or 'names are like ' + names()[0]}"
        )
    return Published(found[0], tuple(_rows(found[0])))


def _rows(name: str) -> list[PublishedRow]:
    tables = _tables()
    rows = []
    for table in tables["tables"]:
        values = table["models"].get(name)
        if values is None:
            continue
        source = tables["sources"][table["source"]]
        for (figure, suite, group), value in zip(table["figures"], values, strict=True):
            rows.append(
                PublishedRow(
                    figure,
                    suite,
                    group,
                    table["protocol"],
                    table["control"],
                    float(value),
                    source["title"],
                    source["url"],
                    tables["counts"].get(figure) if group == "fine-tuning" else None,
                    table.get("note"),
                )
            )
    return rows


def beside(
    published: Published, figures: Sequence[Figure], *, protocol: str, control: Control = "none"
) -> Beside:
    """Put each published row beside our figure of the same name, suite, protocol and control.

    A caveat names what still differs: a part of the benchmark that was not there, another number
    of pairs, a note of the table.
    """
    ours = {(each.group, each.suite, each.name): each for each in figures}
    suites = {each.suite for each in figures}
    pairs: list[tuple[PublishedRow, Figure, tuple[str, ...]]] = []
    unmatched: list[tuple[PublishedRow, str]] = []
    for row in published.rows:
        figure = ours.get((row.group or "", row.suite or "", row.figure))
        if row.suite is None:
            unmatched.append((row, "no suite here makes this figure"))
        elif row.protocol != protocol:
            unmatched.append((row, f"by the protocol {row.protocol}, not {protocol}"))
        elif row.control != control:
            unmatched.append((row, _CONTROL[row.control]))
        elif figure is not None:
            pairs.append((row, figure, tuple(_differences(row, figure))))
        elif row.suite and row.suite not in suites:
            unmatched.append((row, f"{row.suite} was not evaluated"))
        else:
            unmatched.append((row, "a part of what it is made of was not evaluated"))
    return Beside(tuple(pairs), tuple(unmatched))


_CONTROL = {
    "style": "style-controlled, and these figures are not",
    "none": "without control of style, and these figures are controlled",
}


def _differences(row: PublishedRow, figure: Figure) -> list[str]:
    found = [note for note in (row.note, figure.note) if note]
    if row.count is not None and row.count != figure.num:
        found.append(f"ours over {figure.num:,} pairs, theirs over {row.count:,}")
    return found
