"""The numbers and words that a ranking shows, for tables and pictures alike.

    a comparison, its scores -> best_probabilities, order, digits, previews

>>> [round(p, 3) for p in best_probabilities([1.0, 0.0])]
[0.731, 0.269]
"""

import math
import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len

from worldpm.errors import WorldPMError
from worldpm.records import Comparison, Conversation

# Marks that reorder the text around them: they would let a reply rewrite its own row.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LEAST_DIGITS, _MOST_DIGITS = 4, 9


def best_probabilities(values: Sequence[float]) -> list[float]:
    """P(this reply is the one chosen best among these K), which sum to 1.

    softmax of the scores: with scores in log-odds units, sigmoid(a - b) is Bradley-Terry's P(a
    beats b), and its extension to a choice among K is exp(a) / sum(exp) (Luce 1959; the first stage
    of Plackett-Luce, Plackett 1975). Raises WorldPMError for a score that is not finite.
    """
    if not all(math.isfinite(value) for value in values):
        raise WorldPMError(f"scores {list(values)} are not all finite; nothing can be ranked")
    top = max(values)
    parts = [math.exp(value - top) for value in values]
    return [part / sum(parts) for part in parts]


def beats(first: float, second: float) -> float:
    """P(first beats second) of two scores in log-odds units: the logistic sigmoid of a - b."""
    return 0.5 * (1.0 + math.tanh((first - second) / 2.0))


def ranked(values: Sequence[float]) -> list[int]:
    """The replies' indices, best first; equal scores keep their order."""
    return sorted(range(len(values)), key=lambda reply: -values[reply])


def score_digits(values: Sequence[float]) -> int:
    """Decimals to print: four, or as many as it takes to tell different scores apart (to nine)."""
    different = len(set(values))
    for digits in range(_LEAST_DIGITS, _MOST_DIGITS):
        if len({f"{value:.{digits}f}" for value in values}) == different:
            return digits
    return _MOST_DIGITS


def one_line(text: str) -> str:
    """`text` on one line, without control or reordering characters that a terminal would obey."""
    kept = (
        " " if unicodedata.category(c) == "Cc" else c
        for c in text
        if c not in _BIDI and unicodedata.category(c) != "Cs"
    )
    return " ".join("".join(kept).split())


def preview(reply: Conversation) -> str:
    """The reply's last message on one line; "(empty)" where there is nothing."""
    return (one_line(reply[-1].content) if reply else "") or "(empty)"


def shorten(text: str, cells: int) -> str:
    """At most `cells` terminal cells of `text` (a Han character takes two), cut with an ellipsis.

    A Latin word is not cut in two if that costs less than a third of the width.
    """
    if cell_len(text) <= cells:
        return text
    cut = text[:cells]
    while cell_len(cut) > cells - 1:
        cut = cut[:-1]
    space = cut.rfind(" ")
    if cell_len(cut[:space]) > cells * 2 // 3:
        cut = cut[:space]
    return cut.rstrip(" ,.;:，。；：、") + "…"


def prompt_label(comparison: Comparison) -> str:
    """What the user asked, on one line: the last user message, of a forum post its title."""
    for message in reversed(comparison.prompt):
        if message.role == "user":
            title, _, _ = message.content.partition("\n")
            if title.startswith("Title: "):
                return one_line(title.removeprefix("Title: ")) or "(empty)"
            return one_line(message.content) or "(empty)"
    return "(empty)"
