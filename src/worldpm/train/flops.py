"""What a step computes, by formula, beside what this machine can: the share of the matrix peak.

    step_flops(config, recipe, [tree, ...])  ->  floating-point operations of the products
    matrix_rate(torch.bfloat16, device)      ->  operations a second of a large product, measured
    speed(record, seconds, flops, peak, 1)   ->  {"tokens_per_second", ..., "matrix_share"}

Only what a plain step needs is counted: no layer that is computed again, and no frozen layer below
the trained ones, whose outputs are kept. A product of (m, k) and (k, n) is 2 m k n operations.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from worldpm.model.config import ModelConfig
from worldpm.tokens.tree import TokenTree
from worldpm.train.recipe import Recipe

SIDE = 1024
SECONDS = 0.3


def step_flops(config: ModelConfig, recipe: Recipe, trees: Iterable[TokenTree]) -> float:
    """Operations of forward and backward through the trained layers.

    A layer's weights take 2 operations a token forward, 2 for the gradient of what came in, and 2
    for their own, which LoRA saves but for its factors. A token's attention takes 4 a channel for
    each token it sees, itself and its ancestors, and twice that backward. In the last layer only
    keys and values are of all tokens; the rest is of the scored ones.
    """
    layers = config.num_hidden_layers - recipe.model.frozen_layers
    queries, rank = config.query_channels, recipe.lora.rank
    costs = {
        name: (4 if rank else 6) * a * b + 6 * rank * (a + b) * (name in recipe.lora.modules)
        for name, (a, b) in config.layer_matrices().items()
    }
    a_token = sum(costs.values())
    of_all = costs["k_proj"] + costs["v_proj"]
    tokens = seen = scored = seen_by_scored = 0
    for tree in trees:
        length, first = tree.length.astype(np.int64), tree.position
        tokens += tree.tokens.size
        seen += int((length * first + length * (length + 1) // 2).sum())
        leaves, first_of = np.unique(tree.leaves, return_index=True)
        scored += leaves.size
        seen_by_scored += int(tree.num_tokens[first_of].sum())
    last = of_all * tokens + (a_token - of_all) * scored + 12 * queries * seen_by_scored
    return float((layers - 1) * (a_token * tokens + 12 * queries * seen) + last)


def speed(
    record: Mapping[str, Any], seconds: float, flops: float, peak: float | None, world: int
) -> dict[str, float]:
    """Tokens and pairs a second of a step, and its share of the peak of `world` processes."""
    found = {
        "tokens_per_second": record["step_tokens"] / seconds,
        "pairs_per_second": record["step_pairs"] / seconds,
    }
    return found | ({"matrix_share": flops / seconds / (peak * world)} if peak else {})


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of a product of two SIDE x SIDE matrices: the best of SECONDS' trials.

    The best, since other work of the machine only ever slows one down.
    """
    a, b = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
    best, until = 0.0, time.perf_counter() + SECONDS
    while best == 0.0 or time.perf_counter() < until:
        started = time.perf_counter()
        product = a @ b
        if device.type != "cpu":
            torch.cuda.synchronize(device)
        best = max(best, 2 * SIDE**3 / (time.perf_counter() - started))
        del product
    return best
