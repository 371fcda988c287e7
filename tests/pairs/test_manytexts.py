"""Many texts at once are what each is by itself."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.pairs import manytexts as module
from worldpm.pairs.manytexts import many_word_hashes, plain_words
from worldpm.pairs.shingles import word_hashes, words

# Letters that change with their neighbours, characters that are words by themselves, invisible
# ones, marks that NFKC makes of letters, what Markdown marks with, and the sign between texts.
ALPHABET = "aB1 \n\t\r\x01\x00\x1f\x85!]( )`~_-'\u5b66\u3072\u6f22\u30a1\u00e9\u0301\ufb01\uff21"
ALPHABET += "\u200b\u00ad\u2028\u00df\u0130\ufe70\u3220\U0001f600\u2019\u02bc"


def one_by_one(text):
    """The words with a blank between them; without words, the text without its blanks."""
    return (" ".join(words(text)) or "".join(text.split())).encode()


def check(texts):
    assert plain_words(texts) == [one_by_one(text) for text in texts]
    found = many_word_hashes(texts)
    assert [each.tolist() for each in found] == [word_hashes(text).tolist() for text in texts]


@given(st.lists(st.text(ALPHABET) | st.text(), max_size=20))
def test_all_together_as_one_by_one(texts):
    """Any texts, in their order: the same words, the same numbers."""
    check(texts)


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_pieces_change_nothing(monkeypatch, size):
    """However few characters are taken at once, and where a text is longer than that."""
    monkeypatch.setattr(module, "CHARACTERS_AT_ONCE", size)
    chance = random.Random(size)
    check(["".join(chance.choices(ALPHABET, k=chance.randrange(60))) for _ in range(300)])


def test_markup_is_left_out_text_by_text():
    """A fence or a link of one text does not reach into the next."""
    check(["see [a](b", "c) d", "```", "python", "```py\nx\n```", "~~~", "[a](b.c/d) e", "", " "])
    assert plain_words(["see [a](b.c)", "```py\nx\n```", "?!"]) == [b"see a", b"x", b"?!"]


def test_nothing_comes_of_nothing():
    """No texts, no words."""
    assert plain_words([]) == many_word_hashes([]) == []
