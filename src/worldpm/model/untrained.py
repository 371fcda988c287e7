"""A plain language model with a head that has learnt nothing: the floor under every trained head.

    UntrainedWeights(folder, seed=0)    weights as of the folder, and a random linear head

A frozen base already orders replies somehow, by length and fluency among others. What a preference
model scores above this floor it has from its training.
"""

from pathlib import Path

import torch
from torch import nn

from worldpm.model.weights import Weights


class UntrainedWeights(Weights):
    """The weights of a base without a head; CheckpointError where it has one.

    The head is linear, its values drawn by `seed` from N(0, 1 / hidden), so that scores of a normed
    state are of the order of 1. Its sign means nothing: accuracies of 0.45 and 0.55 are the same.
    """

    def __init__(self, folder: Path, *, seed: int) -> None:
        super().__init__(folder, head=False)
        self.seed = seed

    def head(self) -> nn.Module:
        """The random head, in float32."""
        size = self.config.hidden_size
        values = torch.randn(1, size, generator=torch.Generator().manual_seed(self.seed))
        head = nn.Linear(size, 1, bias=False)
        head.load_state_dict({"weight": values / size**0.5})
        return head.requires_grad_(False)
