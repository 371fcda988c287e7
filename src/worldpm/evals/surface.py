"""What can be counted on the surface of a reply: its length and its marks.

>>> count_words("Two words, 两个字"), count_marks("- one **bold**")
(5, 2)

Each count first asks whether the text can hold anything to count, since most texts hold no header
and many no list: over 50,000 replies this takes a third of the time of the plain patterns.
"""

import re
from collections.abc import Callable, Mapping

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
FEATURES: Mapping[str, Callable[[str], float]] = {
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
