"""What can be counted on the surface of a reply, its length and its marks, and who has more of it.

>>> count_words("Two words, 两个字"), count_marks("- one **bold**")
(5, 2)
>>> phi(np.array([1.0, 2.0, -3.0]), np.array([0.5, 0.5, 0.5]), np.ones(3))  # agree, agree, disagree
0.3333333333333333

Each count first asks whether the text can hold anything to count, since most texts hold no header
and many no list: over 50,000 replies this takes a third of the time of the plain patterns.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from worldpm.records import Conversation, Edge

Floats = NDArray[np.float64]

# A Han, kana or Hangul character is about a word; elsewhere a word is a run of word characters.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LIST = re.compile(r"[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+\S")
_HEADER = re.compile(r"#{1,6}[ \t]+\S")
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_MARKS = re.compile(
    r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+\S"  # a list item
    r"|^#{1,6}[ \t]+\S"  # a header
    r"|\*\*[^*\n]+\*\*|__[^_\n]+__"  # bold
)
_FENCES = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_EMOJI = re.compile("[\u2600-\u27bf\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff]")
_REFUSAL = re.compile(
    r"\b(?:I (?:cannot|can't|can’t|am unable to|won't|won’t|must decline)"
    r"|I(?:'m|’m| am) (?:sorry|unable|not able)|as an AI\b)|抱歉|无法",
    re.IGNORECASE,
)


def count_words(text: str) -> int:
    """Words of a text; a Han, kana or Hangul character counts as one."""
    return len((_ASCII_WORD if text.isascii() else _WORD).findall(text))


def _without_code(text: str) -> str:
    return _CODE.sub("", text) if "```" in text else text


def count_lists(text: str) -> int:
    """List items outside fenced code."""
    return sum(_LIST.match(line) is not None for line in _without_code(text).split("\n"))


def count_headers(text: str) -> int:
    """Headers outside fenced code."""
    if "#" not in text:
        return 0
    return sum(_HEADER.match(line) is not None for line in _without_code(text).split("\n"))


def count_bold(text: str) -> int:
    """Bold elements outside fenced code."""
    if "**" not in text and "__" not in text:
        return 0
    return len(_BOLD.findall(_without_code(text)))


def count_marks(text: str) -> int:
    """List items, headers and bold elements outside fenced code, none of them counted twice."""
    count = 0
    for line in _without_code(text).split("\n"):
        first = line.lstrip(" \t")[:1]
        if first in _OPENS or first.isdigit() or "**" in line or "__" in line:
            count += len(_MARKS.findall(line))
    return count


_OPENS = frozenset("-*+#")

PAPER = ("length", "lists", "headers", "bold")
Rules = Mapping[str, Callable[[str], float]]
FEATURES: Rules = {
    "length": count_words,
    "lists": count_lists,
    "headers": count_headers,
    "bold": count_bold,
    "characters": len,
    "emoji": lambda text: len(_EMOJI.findall(text)),
    "code": lambda text: (len(_FENCES.findall(text)) + 1) // 2,
    "refusal": lambda text: _REFUSAL.search(text[:300]) is not None,
}
"""The features of style by name. The first four are the paper's; `length` is in words. `code`
counts fenced blocks; `refusal` is 1 where the reply opens like one."""


def style_counts(replies: Sequence[Conversation], rules: Rules) -> Floats:
    """Counts (replies, rules) over the text of each reply's messages."""
    texts = ["\n".join(message.content for message in reply) for reply in replies]
    return np.array([[rule(text) for rule in rules.values()] for text in texts], np.float64)


def relative(edges: Sequence[Edge], counts: Floats) -> Floats:
    """(winner - loser) / (winner + loser) of counts (replies, features): (edges, features).

    From -1 to 1, and 0 where neither has any. Turning a pair round changes the sign alone, so
    nothing is centred: the mean over winners less losers is what labels know of style.
    """
    winner = counts[[edge.winner for edge in edges]]
    loser = counts[[edge.loser for edge in edges]]
    total = winner + loser
    return np.asarray((winner - loser) / np.where(total == 0, 1.0, total), np.float64)


def leads(style: Floats, features: Sequence[str]) -> dict[str, Floats]:
    """What has more length and more marks, as signed differences (edges,); zeros if not counted."""

    def column(*names: str) -> Floats:
        own = [style[:, i] for i, name in enumerate(features) if name in names]
        return np.sum(own, axis=0) if own else np.zeros(len(style))

    lengths = column("length") if "length" in features else column("characters")
    return {"length": lengths, "marks": column("lists", "headers", "bold")}


def phi(first: Floats, second: Floats, weight: Floats) -> float | None:
    """The phi coefficient of two winners of each pair (WorldPM Eq. 6), given as signed differences.

    Each pair is counted both ways round, so that all margins are one half and phi is the weight of
    agreement less that of disagreement. A tie of either takes no part; None if nothing is left.
    """
    there = (first != 0) & (second != 0)
    if not there.any():
        return None
    return float(np.average(np.sign(first * second)[there], weights=weight[there]))
