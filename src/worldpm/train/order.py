"""The order of training: a pure function of the seed and the data, so resuming needs no replay.

weights of N comparisons, seed -> [[indices of step 0], [indices of step 1], ...]
"""

from collections.abc import Sequence

import numpy as np


def plan_steps(
    pairs: Sequence[float], repeats: Sequence[int], batch_pairs: int, epochs: int, seed: int
) -> list[list[int]]:
    """Indices of the comparisons of every optimiser step.

    `pairs[i]` is what comparison i counts in a batch, `repeats[i]` how often an epoch has it.
    Each epoch is a fresh shuffle of all comparisons; a step ends when it holds at least
    `batch_pairs` pairs. Steps cross the border of epochs, and a last step that is less than half
    full joins the one before.
    """
    once = np.repeat(np.arange(len(pairs)), np.asarray(repeats))
    steps: list[list[int]] = []
    current: list[int] = []
    held = 0.0
    for epoch in range(epochs):
        for index in np.random.default_rng([seed, epoch]).permutation(once).tolist():
            current.append(index)
            held += pairs[index]
            if held >= batch_pairs:
                steps.append(current)
                current, held = [], 0.0
    if current and steps and held < batch_pairs / 2:
        steps[-1] += current
    elif current:
        steps.append(current)
    return steps
