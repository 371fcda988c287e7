"""What is known of posts by their numbers, in little memory: which were seen, and their votes.

    seen = Seen()
    seen.add(7)   ->  True the first time
    votes = Votes()
    votes.add_many([7], up=True)
    votes.save(folder);  Votes.counts(folder, [7, 8])  ->  {7: (1, 0)}

Forums number posts from one without large gaps: a site of 80 million posts takes 10 MB as bits and
640 MB as two counts each. Blocks of 1,024 numbers are made as they are needed, so that a few wild
numbers in a broken dump cost a few blocks.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024
FILE = "votes.npy"


class Seen:
    """A set of numbers, a bit each."""

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """Put a number in; whether it is new."""
        place, rest = divmod(number, BLOCK)
        block = self._blocks.get(place)
        if block is None:
            block = self._blocks[place] = bytearray(BLOCK // 8)
        byte, bit = rest >> 3, 1 << (rest & 7)
        if block[byte] & bit:
            return False
        block[byte] |= bit
        return True

    def __contains__(self, number: int) -> bool:
        place, rest = divmod(number, BLOCK)
        block = self._blocks.get(place)
        return block is not None and bool(block[rest >> 3] & 1 << (rest & 7))


class Votes:
    """Votes up and down by the number of their post."""

    def __init__(self) -> None:
        self._blocks: dict[int, NDArray[np.uint32]] = {}

    def add_many(self, numbers: Sequence[int], *, up: bool) -> None:
        """Count a vote for each number; a number may be there several times."""
        if not numbers:
            return
        wanted, counts = np.unique(np.array(numbers, np.int64), return_counts=True)
        places, rests = np.divmod(wanted, BLOCK)
        different, starts = np.unique(places, return_index=True)
        ends = [*starts[1:].tolist(), len(places)]
        for place, start, end in zip(different.tolist(), starts.tolist(), ends, strict=True):
            block = self._blocks.get(place)
            if block is None:
                block = self._blocks[place] = np.zeros((BLOCK, 2), np.uint32)
            block[rests[start:end], int(not up)] += counts[start:end].astype(np.uint32)

    def save(self, folder: Path) -> None:
        """Write posts that have votes, in the order of their numbers: int64 (3, num_posts)."""
        tables = [np.empty((3, 0), np.int64)]
        for place in sorted(self._blocks):
            counts = self._blocks[place]  # (BLOCK, 2)
            (rests,) = np.nonzero(counts.any(axis=1))
            up, down = counts[rests].T
            tables.append(np.stack([place * BLOCK + rests, up, down]).astype(np.int64))
        np.save(folder / FILE, np.concatenate(tables, axis=1), allow_pickle=False)

    @staticmethod
    def counts(folder: Path, numbers: Sequence[int]) -> dict[int, tuple[int, int]]:
        """(up, down) of those numbers that have votes; the file is not read into memory."""
        if not (folder / FILE).exists() or not numbers:
            return {}
        table = np.load(folder / FILE, mmap_mode="r", allow_pickle=False)
        wanted = np.array(sorted(numbers), np.int64)
        places = np.searchsorted(table[0], wanted)
        wanted, places = wanted[places < table.shape[1]], places[places < table.shape[1]]
        found = table[:, places]
        hits = found[:, found[0] == wanted].T.tolist()
        return {number: (up, down) for number, up, down in hits}
