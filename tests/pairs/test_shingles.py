"""Words and runs of words as numbers."""

import random
import re
import time

import numpy as np
import pytest

from worldpm.pairs import shingles as module
from worldpm.pairs.shingles import (
    key_hash,
    ngrams,
    shingles,
    telling,
    text_hash,
    word_hashes,
    words,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, **World**!", "hello world"),
        ("a  b\n\nc", "A b C."),
        ("see [the page](https://a.b/c?d=e)", "see the page"),
        ("```python\nx = f(y)\n```", "x f y"),
        ("don\u2019t", "don't"),
        ("\ufb01ne \uff21\uff22", "fine ab"),
        ("so\u00adft zero\u200bwidth", "soft zerowidth"),
        ("snake_case", "snake case"),
        ("> quoted\n> text", "quoted text"),
    ],
)
def test_marks_are_not_told_apart(one, other):
    """Case, blanks, punctuation, markup, invisible and compatible letters change nothing."""
    assert words(one) == words(other)
    assert text_hash([word_hashes(one)]) == text_hash([word_hashes(other)])


@pytest.mark.parametrize(
    ("one", "other"), [("a b", "b a"), ("a b", "ab"), ("cat", "cats"), ("x 1", "x 2"), ("?!", "!?")]
)
def test_words_are_told_apart(one, other):
    """Another word or order is another text; so are texts of marks alone."""
    assert text_hash([word_hashes(one)]) != text_hash([word_hashes(other)])


def test_chinese_goes_by_characters():
    """Without blanks between words, each character is one."""
    assert words("学习Python很好") == ["学", "习", "python", "很", "好"]


def test_parts_are_told_apart():
    """Two posts are not the one post that they would be together."""
    a, b = word_hashes("one two"), word_hashes("three")
    assert text_hash([a, b]) != text_hash([np.concatenate([a, b])]) != text_hash([b, a])
    assert text_hash([]) != text_hash([word_hashes("")])


def test_runs_are_equal_where_the_words_are():
    """Each run of a text is found in another place, and only where all words are the same."""
    inner = word_hashes("the quick brown fox jumps")
    outer = word_hashes("and then the quick brown fox jumps over")
    assert set(ngrams(inner, 3)) < set(ngrams(outer, 3))
    assert len(ngrams(inner, 3)) == 3
    assert not set(ngrams(word_hashes("brown quick the fox"), 3)) & set(ngrams(outer, 3))
    assert len(ngrams(inner, 6)) == 0
    assert len(shingles(inner, 6)) == 1
    assert len(shingles(word_hashes(""), 3)) == 0


def test_hashes_are_those_of_every_machine():
    """Pinned, since artefacts made in two places are compared; no seed of Python's in them."""
    assert word_hashes("worldpm 7").tolist() == [4880471372271140327, 9407870976149377254]
    assert ngrams(word_hashes("one two three"), 3).tolist() == [2882523009290957140]
    assert key_hash("a.org", "1") == 7424739906252870128
    assert key_hash("a", "b") != key_hash("a\x1fb")


def test_numbers_and_repeats_tell_nothing():
    """Half of a run's words must be different ones with letters."""
    size = 5
    for text, expected in {
        "1 2 3 4 5": False,
        "x x x x y": False,
        "x 1 y 2 z": True,
        "one two three four five": True,
        "train x train y train": True,
    }.items():
        assert telling(word_hashes(text), size).tolist() == [expected], text
    assert telling(word_hashes("one two"), size).tolist() == []


def test_the_cache_is_bounded(monkeypatch):
    """Rare words fill no memory, and a number is the same after the cache was emptied."""
    monkeypatch.setattr(module, "_MAX_CACHED_WORDS", 10)
    before = word_hashes("first")
    word_hashes(" ".join(f"w{n}" for n in range(100)))
    assert len(module._numbers) <= 11
    assert (word_hashes("first") == before).all()


def test_both_ways_to_words_are_one():
    """ASCII is cut by a table, all else by a pattern: the same words, whatever the marks."""
    chance = random.Random(1)
    for _ in range(300):
        text = "".join(chr(chance.randrange(128)) for _ in range(60))
        assert words(text) == words(f"{text} é")[:-1], text


def test_a_fence_is_found_in_linear_time_as_by_backtracking():
    """The pattern that gives nothing back finds what the plain one finds, and soon."""
    plain = re.compile(r"^[ >]*(?:```+|~~~+)[ \t]*[\w+#.-]*[ \t]*$", re.MULTILINE)
    chance = random.Random(1)
    found = 0
    for _ in range(3000):
        text = "```" * chance.randrange(2) + "".join(chance.choices("``~~ \t>a+#\n", k=8))
        spans = [match.span() for match in module._FENCE.finditer(text)]
        assert spans == [match.span() for match in plain.finditer(text)], text
        found += len(spans)
    assert found > 100
    start = time.process_time()
    words("```" + " " * 100_000 + "x y")
    assert time.process_time() - start < 1
