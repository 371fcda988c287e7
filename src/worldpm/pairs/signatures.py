"""A thread -> what duplicates of it are found by: MinHash signatures of its two texts.

    prints = fingerprints([thread, ...])                # of the prompt, and of prompt and answers
    signatures([each.prompt for each in prints])        # (texts, 256) of 16 bits
    near.join_near(...)                                 # rows that are alike

The sets are of runs of three words. Agreeing shares of two rows of signatures estimate the Jaccard
similarity of the sets (Broder 1997), with a standard error of 0.025 at 0.8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import rensa
from numpy.typing import NDArray

from worldpm.pairs.dedup import NUM_PERMUTATIONS
from worldpm.pairs.manytexts import many_word_hashes, plain_words
from worldpm.pairs.sample import prompt_text
from worldpm.pairs.shingles import Hashes, parts_hash, shingles
from worldpm.records import Thread

SHINGLE_WORDS = 3
SEED = 42
_NOTHING: Hashes = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Prints:
    """What is compared of a thread: the runs of words of both texts, and hashes of the whole.

    A run may be there twice; a minimum over runs does not see it.
    """

    prompt: Hashes
    whole: Hashes
    prompt_hash: int
    whole_hash: int


def fingerprints(threads: Sequence[Thread], *, near: bool = True) -> list[Prints]:
    """All of a thread's answers count, whichever are sampled; their order does not.

    Without `near` there are no runs of words, only the hashes of the whole.
    """
    prompts = [[prompt_text(t), *(post.text for post in t.prompt[1:])] for t in threads]
    texts = [
        [*asked, *(post.text for post in thread.answers)]
        for asked, thread in zip(prompts, threads, strict=True)
    ]
    flat = [text for each in texts for text in each]
    hashed = iter(many_word_hashes(flat) if near else [])
    plain = iter(plain_words(flat) if not near else [])
    found = []
    for asked, each in zip(prompts, texts, strict=True):
        runs, parts = list[Hashes](), list[bytes]()
        if near:
            hashes = list(islice(hashed, len(each)))
            # A run never goes from one post into the next.
            runs = [shingles(one, SHINGLE_WORDS) for one in hashes]
            parts = [one.tobytes() for one in hashes]
        else:
            parts = list(islice(plain, len(each)))
        count = len(asked)
        found.append(
            Prints(
                np.concatenate([_NOTHING, *runs[:count]]) if near else _NOTHING,
                np.concatenate([_NOTHING, *runs]) if near else _NOTHING,
                parts_hash(parts[:count]),
                parts_hash([*parts[:count], *sorted(parts[count:])]),
            )
        )
    return found


def signatures(texts: Sequence[Hashes]) -> NDArray[np.uint16]:
    """(texts, 256): of each permutation the low 16 bits of the minimum."""
    if not texts:
        return np.empty((0, NUM_PERMUTATIONS), np.uint16)
    ends = np.cumsum([0, *map(len, texts)]).astype(np.uint64)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(texts), ends, NUM_PERMUTATIONS, SEED
    )
    return np.array(matrix.to_rows(), np.uint32).astype(np.uint16)
