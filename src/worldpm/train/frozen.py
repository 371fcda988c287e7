"""The layers below the trained ones, run by the scoring engine: tree -> residual stream.

    FrozenLayers(model, count=20, dtype="bfloat16")(tree)  ->  (T, hidden) float32
    scorer.runner = Shelved(scorer.runner, 20, shelf)          their outputs once for many looks

They learn nothing, so whatever computes scores fastest may compute them. A tree goes alone: the
native engine would give the same bits in any company, torch would not.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from worldpm.model.batch import TreeBatch, collate
from worldpm.model.decoder import PreferenceModel
from worldpm.model.engine import Engine, LayerRun, Resident, run_head
from worldpm.model.native import choose_engine
from worldpm.tokens.tree import TokenTree
from worldpm.train.shelf import Shelf


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


class Shelved:
    """A model in memory whose first `count` layers' outputs come from a shelf, batch by batch.

    Scores have the bits of the model's own: for models that differ above those layers alone, and
    that meet the same comparisons again, as a run's looks at its suites do.
    """

    whole_job = False

    def __init__(self, model: Resident, count: int, shelf: Shelf) -> None:
        self.engine = model.engine
        self._model, self._count, self._shelf = model, count, shelf

    @torch.inference_mode()
    def run(self, batches: Iterable[TreeBatch], *, every_token: bool = False) -> Iterator[Tensor]:
        """See `Runner.run`."""
        for batch in batches:
            plan = self.engine.plan(batch)
            layout = np.frombuffer(repr((batch.segments, batch.ancestors)).encode(), np.uint8)
            key = (batch.tokens.numpy(), batch.positions.numpy(), layout)
            residual = self._shelf.get(key, partial(self._frozen, batch, plan))
            residual = self._model.rise(residual, plan, slice(self._count, None))
            yield run_head(self._model.head, residual, batch, every_token=every_token)

    def _frozen(self, batch: TreeBatch, plan: object) -> Tensor:
        return self._model.rise(self._model.embed(batch), plan, slice(self._count))
