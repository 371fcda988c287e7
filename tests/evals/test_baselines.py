"""The floors count what they say they count."""

import pytest

from worldpm.evals.baselines import (
    BASELINES,
    chance,
    longer_characters,
    longer_words,
    more_markdown,
    shorter_characters,
)
from worldpm.records import Comparison, Message


def one(*texts: str) -> Comparison:
    replies = tuple((Message("assistant", text),) for text in texts)
    return Comparison("1", "test", None, (Message("user", "Hi"),), replies)


@pytest.mark.parametrize(
    ("text", "characters", "words"),
    [
        ("", 0, 0),
        ("two words", 9, 2),
        ("don't\n\nstop", 11, 3),
        ("睡眠好", 3, 3),
        ("用 Python 写", 10, 3),
    ],
)
def test_lengths(text, characters, words):
    """Characters are code points; a Han character is a word of its own."""
    assert longer_characters([one(text)]) == [[characters]]
    assert longer_words([one(text)]) == [[words]]


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("plain text - with a dash", 0),
        ("- one\n* two\n  3. three", 3),
        ("# Title\n## Part\n#hashtag", 2),
        ("**bold** and __bold__, but 2 ** 3", 2),
        ("```\n# comment\n- item\n```\nafter", 0),
        ("```python\n# never closed", 0),
    ],
)
def test_markdown_marks(text, marks):
    """List items, headers and bold count once each, outside fenced code."""
    assert more_markdown([one(text)]) == [[marks]]


def test_every_baseline_scores_every_reply():
    """One number for each reply, in order; chance prefers none."""
    comparisons = [one("a", "bb"), one("c"), one("x", "y", "z")]
    for rule in BASELINES.values():
        assert [len(row) for row in rule(comparisons)] == [2, 1, 3]
    assert chance(comparisons) == [[0, 0], [0], [0, 0, 0]]


def test_minus_the_length_turns_every_preference_of_length_round():
    """The two are each other's negative."""
    comparisons = [one("a", "bcd"), one("")]
    turned = [[-x for x in scores] for scores in longer_characters(comparisons)]
    assert shorter_characters(comparisons) == turned
