"""Counts of words and marks are those of the plain patterns, for any text at all."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.surface import FEATURES, count_marks, count_words

WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
MARKS = re.compile(
    r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+\S|^#{1,6}[ \t]+\S|\*\*[^*\n]+\*\*|__[^_\n]+__",
    re.MULTILINE,
)
PATTERNS = {
    "lists": re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE),
    "headers": re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}
MARKED = st.text(alphabet="ab1٣.) \t\n\r-*+#_`中é", max_size=60)


@given(st.one_of(st.text(max_size=60), MARKED))
def test_words_are_those_of_the_pattern(text):
    """The quick way for ASCII finds what the pattern for all scripts finds."""
    assert count_words(text) == len(WORD.findall(text))


@given(MARKED)
def test_marks_are_those_of_the_pattern(text):
    """Line by line, with lines passed over that can hold none, nothing is lost or gained."""
    assert count_marks(text) == len(MARKS.findall(CODE.sub("", text)))


@given(MARKED, st.sampled_from(sorted(PATTERNS)))
def test_features_are_those_of_their_patterns(text, name):
    """So it is for lists, headers and bold by themselves."""
    assert FEATURES[name](text) == len(PATTERNS[name].findall(CODE.sub("", text)))


@pytest.mark.parametrize(
    ("text", "words"), [("", 0), ("两个字", 3), ("don't", 2), ("a_b 3.5", 3), ("café 中", 2)]
)
def test_words_by_hand(text, words):
    """A Han character is a word; a run of letters, digits and underscores is one."""
    assert count_words(text) == words
