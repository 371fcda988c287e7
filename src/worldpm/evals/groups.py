"""Comparisons -> the groups whose edges are measured apart.

groups_of(comparisons)  ->  Group("class", "safety", keep), ...     keep (edges,)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldpm.records import Comparison, Edge

LEVELS = ("easy", "normal", "hard")
GroupOf = Callable[[Comparison, Edge], str | None]
"""The name of the group an edge belongs to, or None if it belongs to none."""


@dataclass(frozen=True, slots=True)
class Group:
    """One group of edges: `kind` says what it is one of, `keep` (edges,) which are in it."""

    kind: str
    name: str
    keep: NDArray[np.bool_]


def class_of(comparison: Comparison) -> str | None:
    """`meta["class"]`, the paper's class of a suite's row; None where it is no text."""
    return _text(comparison, "class")


def _text(comparison: Comparison, key: str) -> str | None:
    """A text of `meta`, which in comparisons of the user's own may hold anything."""
    value = comparison.meta.get(key)
    return value if isinstance(value, str) else None


def _style(comparison: Comparison, edge: Edge) -> str | None:
    """RM-Bench's level; None for a style that is not a number a reply, as a user's own may be."""
    style = comparison.meta.get("style")
    if not isinstance(style, list | tuple) or len(style) != len(comparison.replies):
        return None
    if not all(isinstance(each, int | float) for each in style):
        return None
    more = style[edge.winner] - style[edge.loser]
    return LEVELS[0] if more > 0 else LEVELS[1] if more == 0 else LEVELS[2]


def _style_by_subset(comparison: Comparison, edge: Edge) -> str | None:
    level = _style(comparison, edge)
    return f"{comparison.subset}, {level}" if level and comparison.subset else None


_KINDS: tuple[tuple[str, GroupOf], ...] = (
    ("class", lambda comparison, _: class_of(comparison)),
    ("section", lambda comparison, _: _text(comparison, "section")),
    ("subset", lambda comparison, _: comparison.subset),
    # RM-Bench: the chosen reply has more (easy), as much (normal) or less (hard) style.
    ("style", _style),
    ("subset style", _style_by_subset),
)


def groups_of(comparisons: Sequence[Comparison]) -> list[Group]:
    """Every class, section, subset, style and subset's style that has edges, kind by kind.

    A kind with one group only repeats the whole and is left out.
    """
    found = []
    for kind, group_of in _KINDS:
        groups = np.array([group_of(c, e) or "" for c in comparisons for e in c.better])
        if len(set(groups)) > 1:
            names = [name for name in dict.fromkeys(groups.tolist()) if name]
            if kind.endswith("style"):
                names.sort(key=lambda name: LEVELS.index(name.rpartition(", ")[2]))
            found += [Group(kind, name, groups == name) for name in names]
    return found
