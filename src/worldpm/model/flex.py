"""Attention over token trees as one masked call: what a GPU wants in place of many small ones.

    batch -> tree_block_mask(batch) -> flex_tree_attention(query, key, value, mask) -> (T, H, D)

Segments stand in depth-first order, so the tokens of a subtree are neighbours: a token sees an
earlier one exactly where it lies inside the subtree that begins with it. One integer a token says
all, and FlexAttention (Dong et al. 2024) skips the blocks where nothing is seen. Equal to
`tree_attention` by test, on the processor; its speed on a GPU has not been measured here.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from worldpm.model.batch import TreeBatch


def subtree_ends(batch: TreeBatch) -> Tensor:
    """For each token (T,) the index one past the last token of the subtree of its segment.

    Token q sees token k if and only if k <= q < subtree_ends[k].
    """
    ends: list[int] = []
    first_token = 0
    for lengths, ancestors in zip(batch.segments, batch.ancestors, strict=True):
        end = first_token
        own_ends: list[int] = []
        for length, above in zip(lengths, ancestors, strict=True):
            end += length
            own_ends.append(end)
            for segment in above:  # depth first: who comes last below a segment sets its end
                own_ends[segment] = end
        for length, own in zip(lengths, own_ends, strict=True):
            ends += [own] * length
        first_token = end
    return torch.tensor(ends, device=batch.tokens.device)


def tree_block_mask(batch: TreeBatch) -> BlockMask:
    """What every token of the batch sees, on the batch's device."""
    ends = subtree_ends(batch)

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query < ends[key])

    count = len(ends)
    return create_block_mask(sees, None, None, count, count, device=str(ends.device))


@cache
def _compiled() -> Any:
    """The fused kernel, for any number of tokens; compiled at its first call."""
    return torch.compile(flex_attention, dynamic=True)


def flex_tree_attention(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask) -> Tensor:
    """Attention of `query` (T, heads, head_dim) over `key` and `value` (T, kv_heads, head_dim).

    Compiled on a GPU. On the processor it is the plain computation over all pairs of tokens, which
    is for tests only: compiled there, it took three times as long as a call a segment.
    """
    attend = _compiled() if query.device.type == "cuda" else flex_attention
    inputs = (x.transpose(0, 1)[None] for x in (query, key, value))
    output: Tensor = attend(*inputs, block_mask=mask, enable_gqa=True)
    return output[0].transpose(0, 1)
