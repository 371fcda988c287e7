"""Texts -> numbers that are equal where the words are: what duplicates and leaks are found by.

    hashes = word_hashes("Hello, **World**!")       # one number a word: ["hello", "world"]
    ngrams(hashes, 13)                              # one number a run of 13 words, in order
    shingles(hashes, 3)                             # the same of 3, or of all where there are fewer

Case, blanks, punctuation, Markdown marks and the targets of its links are not told apart, nor are
the two forms of a letter that Unicode calls compatible. Chinese and Japanese, which put no blanks
between words, are taken character by character.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_UNSPACED = "぀-ヿ㐀-䶿一-鿿豈-﫿"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_SINGLE = re.compile(f"[{_UNSPACED}]")
_TARGET = re.compile(r"\]\([^()\s]*\)")
# Nothing is given back, since what follows a run cannot begin in it: linear time.
_FENCE = re.compile(r"^[ >]*+(?:```++|~~~++)[ \t]*+[\w+#.-]*+[ \t]*+$", re.MULTILINE)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_ASCII = {n: chr(n).lower() if chr(n).isalnum() else " " for n in range(128)}
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_MAX_CACHED_WORDS = 1 << 20  # some 100 MB; then it is emptied: rare words would fill any memory


class _Numbers(dict[str, int]):
    """The number of each word seen; odd if the word has a letter, which `telling` asks."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MAX_CACHED_WORDS:
            self.clear()
        number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        number = number | 1 if any(map(str.isalpha, word)) else number & ~1
        self[word] = number
        return number


_numbers = _Numbers()


def words(text: str) -> list[str]:
    """The words of a text in order, as they are compared."""
    text = unmarked(text)
    if text.isascii():  # the same words at four times the speed of the pattern's
        return text.translate(_ASCII).split()
    return _WORD.findall(text)


def unmarked(text: str) -> str:
    """A text without what only marks it up, and unless it is ASCII, its letters made alike."""
    # One character is looked for ten times as fast as several, and most texts lack it.
    if "]" in text and "](" in text:
        text = _TARGET.sub("] ", text)
    if ("`" in text and "```" in text) or ("~" in text and "~~~" in text):
        text = _FENCE.sub(" ", text)
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()


def kind_of(character: str) -> int:
    """What a character does to words: 0 parts them, 1 is a part of one, 2 is one by itself."""
    found = _WORD.fullmatch(character)
    return 0 if not found else 1 + bool(_SINGLE.fullmatch(character))


def numbers_of(found: Iterable[str]) -> Iterable[int]:
    """The number of each word."""
    return map(_numbers.__getitem__, found)


def word_hashes(text: str) -> Hashes:
    """A number for each word (blake2b); of a text without words, for the text as it stands."""
    found = words(text)
    if not found and (rest := "".join(text.split())):
        found = [rest]
    return np.fromiter(numbers_of(found), np.uint64, len(found))


def ngrams(hashes: Hashes, size: int) -> Hashes:
    """A number for each run of `size` words: a polynomial modulo 2^64, then mixed (splitmix64)."""
    count = len(hashes) - size + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    total = np.zeros(count, np.uint64)
    for place in range(size):
        total *= _MULTIPLIER
        total += hashes[place : place + count]
    total ^= total >> np.uint64(30)
    total *= _MIX[0]
    total ^= total >> np.uint64(27)
    total *= _MIX[1]
    return total ^ (total >> np.uint64(31))


def telling(hashes: Hashes, size: int) -> NDArray[np.bool_]:
    """Of each run of `size` words whether half of it are different words with letters.

    A matrix of zeros and ones, or counting from 1 to 13, is in texts that have nothing in common.
    """
    if len(hashes) < size:
        return np.empty(0, np.bool_)
    runs = np.sort(np.lib.stride_tricks.sliding_window_view(hashes, size), axis=1)
    lettered = (runs & np.uint64(1)).astype(np.bool_)
    lettered[:, 1:] &= runs[:, 1:] != runs[:, :-1]
    found: NDArray[np.bool_] = lettered.sum(axis=1) >= (size + 1) // 2
    return found


def shingles(hashes: Hashes, size: int) -> Hashes:
    """The n-grams of `size`, or of all the words where there are fewer."""
    return ngrams(hashes, max(1, min(size, len(hashes))))


def text_hash(parts: Iterable[Hashes]) -> int:
    """One number of 64 bits for a text of several parts; the same only where all words are."""
    return parts_hash(part.tobytes() for part in parts)


def parts_hash(parts: Iterable[bytes]) -> int:
    """One number of 64 bits for bytes in several parts; where one ends counts too."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return int.from_bytes(digest.digest(), "little")


def key_hash(*key: str) -> int:
    """One number of 64 bits for a key of texts, as of a source and an id."""
    text = "".join(f"{len(each)}\x1f{each}" for each in key).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
