"""Many texts at once -> what equal texts are found by, several times as fast as one by one.

    plain_words(["Hello, **World**!", "?"])       ->  [b"hello world", b"?"]
    many_word_hashes(["Hello, **World**!", "?"])  ->  what `word_hashes` makes of each

The texts go through numpy and arrow as one, so that only different words become objects of Python.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from worldpm.pairs.shingles import Hashes, kind_of, numbers_of, unmarked, word_hashes

CHARACTERS_AT_ONCE = 1 << 20  # 30 bytes each at most are made of them
_END = "\x01"  # between texts; no word holds it
_BLANK, _UNKNOWN = 32, 255
_ASCII = bytes(
    ord(chr(n).lower()) if n < 128 and chr(n).isalnum() else n if chr(n) == _END else _BLANK
    for n in range(256)
)
# What each character does to words (`kind_of`), looked at when it first comes.
_kinds = np.full(0x110000, _UNKNOWN, np.uint8)
_kinds[ord(_END)] = 1


def plain_words(texts: Sequence[str]) -> list[bytes]:
    """The words of each text with a blank between them; equal only where all words are."""
    found = _plain(texts)
    # A text without words stands for itself, as it does for `word_hashes`.
    return [each or "".join(text.split()).encode() for each, text in zip(found, texts, strict=True)]


def many_word_hashes(texts: Sequence[str]) -> list[Hashes]:
    """`word_hashes` of each text."""
    found: list[Hashes] = []
    plain = _plain(texts)
    for piece in _pieces(range(len(texts)), [*map(len, plain)]):
        found += _hashes([plain[n] for n in piece])
    return [
        each if len(each) else word_hashes(text) for each, text in zip(found, texts, strict=True)
    ]


def _plain(texts: Sequence[str]) -> list[bytes]:
    cleaned = [unmarked(text).replace(_END, " ") for text in texts]
    found = [b""] * len(texts)
    places: dict[Callable[[str], bytes], list[int]] = {_flat_ascii: [], _flat: []}
    for place, text in enumerate(cleaned):
        places[_flat_ascii if text.isascii() else _flat].append(place)
    for flat, those in places.items():
        for piece in _pieces(those, [*map(len, cleaned)]):
            joined = flat(_END.join(cleaned[n] for n in piece))
            for place, each in zip(piece, joined.split(_END.encode()), strict=True):
                found[place] = each.strip()
    return found


def _pieces(places: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    """The places in order, in pieces of bounded size and at least one place."""
    piece: list[int] = []
    total = 0
    for place in places:
        if piece and total + sizes[place] > CHARACTERS_AT_ONCE:
            yield piece
            piece, total = [], 0
        piece.append(place)
        total += sizes[place]
    if piece:
        yield piece


def _flat_ascii(text: str) -> bytes:
    return _single_blanks(np.frombuffer(text.encode().translate(_ASCII), np.uint8)).tobytes()


def _flat(text: str) -> bytes:
    """Words in UTF-8, blanks about each character that is one by itself."""
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    kinds = _kinds[characters]
    if (unknown := kinds == _UNKNOWN).any():
        for each in np.unique(characters[unknown]).tolist():
            _kinds[each] = kind_of(chr(each))
        kinds = _kinds[characters]
    characters = np.where(kinds == 0, np.uint32(_BLANK), characters)
    if (single := kinds == 2).any():
        ends = np.flatnonzero(single)
        ends += 1 + 2 * np.arange(1, len(ends) + 1)  # each of them has become two longer
        characters = np.repeat(characters, np.where(single, 3, 1))
        characters[ends - 1] = characters[ends - 3] = _BLANK
    return _single_blanks(characters).tobytes().decode("utf-32-le").encode()


def _single_blanks(characters: NDArray[np.generic]) -> NDArray[np.generic]:
    """Of each run of blanks the first."""
    kept = characters != _BLANK
    kept[1:] |= kept[:-1]
    found: NDArray[np.generic] = characters[kept]
    return found


def _hashes(plain: Sequence[bytes]) -> Iterator[Hashes]:
    end = _END.encode()
    joined = (end + b" " + (b" " + end + b" ").join(plain)).rstrip()
    bounds = pa.py_buffer(np.array([0, len(joined)], np.int32))
    text = pa.StringArray.from_buffers(1, bounds, pa.py_buffer(joined))
    words = pc.ascii_split_whitespace(text).flatten().dictionary_encode()
    different = words.dictionary.to_pylist()
    codes = words.indices.to_numpy()
    hashes = np.fromiter(numbers_of(different), np.uint64, len(different))[codes]
    starts = [*np.flatnonzero(codes == 0).tolist(), len(codes)]  # the first word is an end
    for start, stop in pairwise(starts):
        yield hashes[start + 1 : stop]
