"""The layers below the trained ones, run by the scoring engine: tree -> residual stream.

    FrozenLayers(model, count=20, dtype="bfloat16")(tree)  ->  (T, hidden) float32

They learn nothing, so whatever computes scores fastest may compute them. A tree goes alone: the
native engine would give the same bits in any company, torch would not.
"""

from functools import cached_property

import torch
from torch import Tensor

from worldpm.model.batch import collate
from worldpm.model.decoder import PreferenceModel
from worldpm.model.engine import Engine, LayerRun
from worldpm.model.native import choose_engine
from worldpm.tokens.tree import TokenTree


class FrozenLayers:
    """The embeddings and the first `count` layers of a model, as they were at the first call."""

    def __init__(self, model: PreferenceModel, count: int, dtype: str) -> None:
        self._decoder, self._count, self._dtype = model.model, count, dtype
        self._layers: list[LayerRun] = []

    @cached_property
    def engine(self) -> Engine:
        """What computes."""
        threads = torch.get_num_threads()
        return choose_engine(self._decoder.config, self._dtype, threads=threads)

    @property
    def identity(self) -> str:
        """What decides the bits beside the weights."""
        return f"{self.engine.name} {self.engine.dtype}"

    @torch.no_grad()
    def __call__(self, tree: TokenTree) -> Tensor:
        """The residual stream (T, hidden) above the last frozen layer."""
        if not self._layers:
            frozen = self._decoder.layers[: self._count]
            self._layers = [self.engine.make_layer(layer.state_dict()) for layer in frozen]
        batch = collate([tree])
        plan = self.engine.plan(batch)
        embedding = self._decoder.embed_tokens.weight
        residual = embedding[batch.tokens.to(embedding.device)].float()
        for layer in self._layers:
            residual = layer(residual, plan)
        return residual.to(embedding.device)
