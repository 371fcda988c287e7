"""Token trees -> batches under a token budget, as lists of tree indices.

>>> from worldpm.tokens.tree import build_tree
>>> list(pack([build_tree([[1] * n]) for n in (3, 4, 9, 1)], budget=7))
[[0, 1], [2], [3]]
"""

from collections.abc import Iterator, Sequence

from worldpm.tokens.tree import TokenTree


def pack(trees: Sequence[TokenTree], budget: int) -> Iterator[list[int]]:
    """Yield batches of neighbouring trees of at most `budget` tokens together, in the given order.

    A tree over the budget goes alone. Batches are flat, so there is no padding that sorting by
    length could save.
    """
    batch: list[int] = []
    num_tokens = 0
    for i, tree in enumerate(trees):
        if batch and num_tokens + tree.tokens.size > budget:
            yield batch
            batch, num_tokens = [], 0
        batch.append(i)
        num_tokens += tree.tokens.size
    if batch:
        yield batch
