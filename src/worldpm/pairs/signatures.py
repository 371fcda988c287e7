"""A thread -> what duplicates of it are found by: MinHash signatures of its two texts.

    prints = fingerprint(thread)                        # of the prompt, and of prompt and answers
    signatures([prints.prompt, ...])                    # (texts, 256) of 16 bits
    near.join_near(...)                                 # rows that are alike

The sets are of runs of three words. Agreeing shares of two rows of signatures estimate the Jaccard
similarity of the sets (Broder 1997), with a standard error of 0.025 at 0.8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rensa
from numpy.typing import NDArray

from worldpm.pairs.dedup import NUM_PERMUTATIONS
from worldpm.pairs.sample import prompt_text
from worldpm.pairs.shingles import Hashes, shingles, text_hash, word_hashes
from worldpm.records import Thread

SHINGLE_WORDS = 3
SEED = 42


@dataclass(frozen=True, slots=True)
class Prints:
    """What is compared of a thread: the runs of words of both texts, and hashes of the whole.

    A run may be there twice; a minimum over runs does not see it.
    """

    prompt: Hashes
    whole: Hashes
    prompt_hash: int
    whole_hash: int


def fingerprint(thread: Thread, *, near: bool = True) -> Prints:
    """All of a thread's answers count, whichever are sampled; their order does not.

    Without `near` there are no runs of words, only the hashes of the whole.
    """
    asked = [word_hashes(prompt_text(thread))]
    asked += [word_hashes(post.text) for post in thread.prompt[1:]]
    answers = [word_hashes(post.text) for post in thread.answers]
    nothing = [np.empty(0, np.uint64)]
    prompt = [shingles(each, SHINGLE_WORDS) for each in asked] if near else nothing
    rest = [shingles(each, SHINGLE_WORDS) for each in answers] if near else nothing
    # A run never goes from one post into the next.
    return Prints(
        np.concatenate(prompt),
        np.concatenate([*prompt, *rest]),
        text_hash(asked),
        text_hash([*asked, *sorted(answers, key=lambda each: each.tobytes())]),
    )


def signatures(texts: Sequence[Hashes]) -> NDArray[np.uint16]:
    """(texts, 256): of each permutation the low 16 bits of the minimum."""
    if not texts:
        return np.empty((0, NUM_PERMUTATIONS), np.uint16)
    ends = np.cumsum([0, *map(len, texts)]).astype(np.uint64)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(texts), ends, NUM_PERMUTATIONS, SEED
    )
    return np.array(matrix.to_rows(), np.uint32).astype(np.uint16)
