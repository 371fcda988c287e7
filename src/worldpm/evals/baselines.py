"""Score functions that need no model: the floors beneath every number we report.

    comparisons -> longer_characters -> one score for each reply

Benchmarks and people favour long, marked-up replies, so a model has learnt something only where it
beats these. Their units are characters, words and marks, not log-odds: read their ranking, and
their loss only as `Outcome.fitted_loss_nats`.

>>> from worldpm.records import Message
>>> pair = Comparison("1", "example", None, (), ((Message("assistant", "No."),), ()))
>>> longer_characters([pair])
[[3.0, 0.0]]
"""

from collections.abc import Callable, Sequence

from worldpm.records import Comparison, Conversation, ScoreFn
from worldpm.surface import count_marks, count_words


def _score_each(
    comparisons: Sequence[Comparison], rule: Callable[[str], float]
) -> list[list[float]]:
    return [[rule(_text(reply)) for reply in comparison.replies] for comparison in comparisons]


def _text(reply: Conversation) -> str:
    return "\n".join(message.content for message in reply)


def longer_characters(comparisons: Sequence[Comparison]) -> list[list[float]]:
    """The reply's length in characters (Unicode code points)."""
    return _score_each(comparisons, lambda text: float(len(text)))


def longer_words(comparisons: Sequence[Comparison]) -> list[list[float]]:
    """The reply's length in words, as `count_words` counts."""
    return _score_each(comparisons, lambda text: float(count_words(text)))


def more_markdown(comparisons: Sequence[Comparison]) -> list[list[float]]:
    """List items + headers + bold elements outside fenced code: the marks of WorldPM 3.3."""
    return _score_each(comparisons, lambda text: float(count_marks(text)))


def chance(comparisons: Sequence[Comparison]) -> list[list[float]]:
    """The same score for every reply: all ties, so one half and ln 2."""
    return _score_each(comparisons, lambda text: 0.0)


def shorter_characters(comparisons: Sequence[Comparison]) -> list[list[float]]:
    """Minus the length in characters: what longer-is-better gets wrong, it gets right."""
    return _score_each(comparisons, lambda text: -float(len(text)))


LENGTH = "longer (characters)"
BASELINES: dict[str, ScoreFn] = {
    LENGTH: longer_characters,
    "longer (words)": longer_words,
    "more markdown": more_markdown,
    "chance": chance,
}
