"""What computes a decoder: an engine makes layers and ends of tensors, a runner drives them.

    Weights -> Engine.make_layer, Engine.make_ends -> Resident -> run(batches) -> scores

The residual stream is a float32 tensor (T, hidden) between layers in every engine. `TorchEngine` is
the reference and runs everywhere; `worldpm.model.native` has the other one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from worldpm.model.batch import TreeBatch
from worldpm.model.config import ModelConfig
from worldpm.model.decoder import Layer, Masks, RMSNorm, Rope, masks_for, rotary_table
from worldpm.model.weights import EMBEDDING, NORM, Weights

LayerRun = Callable[[Tensor, Any], Tensor]
"""(residual (T, hidden) float32, plan) -> residual on the engine's device; it may work in place."""
HeadRun = Callable[[Tensor], Tensor]
"""Rows (N, hidden) float32 of the residual stream -> scores (N,) float32."""


class Engine(Protocol):
    """Makes what computes; holds no weights itself."""

    @property
    def name(self) -> str:
        """For people: the engine and what it runs on."""

    @property
    def dtype(self) -> str:
        """The precision of the products: "float32" or "bfloat16"."""

    @property
    def threads(self) -> int:
        """How many threads compute."""

    def plan(self, batch: TreeBatch) -> Any:
        """What the layers need to know of a batch, made once for all of them."""

    def make_layer(self, tensors: Mapping[str, Tensor]) -> LayerRun:
        """A layer of the tensors that `Weights.layer` gives."""

    def make_head(self, norm: Tensor, head: nn.Module) -> HeadRun:
        """The final norm and the head."""


class Runner(Protocol):
    """Scores batches with one checkpoint."""

    @property
    def engine(self) -> Engine:
        """What computes."""

    @property
    def whole_job(self) -> bool:
        """Whether all of a job's batches should come at once, not some at a time."""

    def run(self, batches: Iterable[TreeBatch], *, every_token: bool = False) -> Iterator[Tensor]:
        """For each batch, the scores (leaves,), or with `every_token` those of all tokens (T,)."""


class Resident:
    """A checkpoint with all its weights in memory."""

    whole_job = False

    def __init__(self, weights: Weights, engine: Engine) -> None:
        self.engine = engine
        count = weights.config.num_hidden_layers
        self.layers = [engine.make_layer(weights.layer(index)) for index in range(count)]
        ends = weights.read([EMBEDDING, NORM])
        self.embedding = ends[EMBEDDING]
        self.head = engine.make_head(ends[NORM], weights.head())

    @torch.inference_mode()
    def run(self, batches: Iterable[TreeBatch], *, every_token: bool = False) -> Iterator[Tensor]:
        """See `Runner.run`."""
        for batch in batches:
            plan = self.engine.plan(batch)
            residual = self.rise(self.embed(batch), plan)
            yield run_head(self.head, residual, batch, every_token=every_token)

    def embed(self, batch: TreeBatch) -> Tensor:
        """The residual stream (T, hidden) float32 below the first layer."""
        return self.embedding[batch.tokens].float()

    def rise(self, residual: Tensor, plan: Any, layers: slice = slice(None)) -> Tensor:
        """The residual stream above those layers, from what it is below them."""
        for layer in self.layers[layers]:
            residual = layer(residual, plan)
        return residual


def run_head(head: HeadRun, residual: Tensor, batch: TreeBatch, *, every_token: bool) -> Tensor:
    """The scores (leaves,), or those of all tokens (T,), of which the leaves have the same bits.

    torch's products depend on how many rows they have (1.5e-8 of a score was seen), so the leaves
    are run by themselves in both cases.
    """
    leaves = head(residual[batch.leaves])
    if not every_token:
        return leaves
    scores = head(residual)
    scores[batch.leaves] = leaves
    return scores


@dataclass(frozen=True, slots=True)
class TorchPlan:
    """A batch with its rotary table and masks."""

    batch: TreeBatch
    rope: Rope
    masks: Masks


class TorchEngine:
    """The decoder's own modules, on the processor or on a GPU."""

    def __init__(self, config: ModelConfig, dtype: str, device: str = "cpu") -> None:
        self.config = config
        self.dtype = dtype
        self.device = torch.device(device)
        where = "" if self.device.type == "cpu" else f" on {device}"
        self.name = f"torch {torch.__version__}{where}"
        self._dtype = getattr(torch, dtype)

    @property
    def threads(self) -> int:
        """See `Engine.threads`."""
        return torch.get_num_threads()

    def plan(self, batch: TreeBatch) -> TorchPlan:
        """See `Engine.plan`."""
        batch = batch.to(self.device)
        rope = rotary_table(batch.positions, self.config.head_dim, self.config.rope_theta)
        return TorchPlan(batch, rope, masks_for(batch, self._dtype))

    def make_layer(self, tensors: Mapping[str, Tensor]) -> LayerRun:
        """See `Engine.make_layer`."""
        with torch.device("meta"):
            layer = Layer(self.config)
        state = {name: x.to(self.device, self._dtype) for name, x in tensors.items()}
        layer.load_state_dict(state, strict=True, assign=True)
        layer.requires_grad_(False)

        def run(residual: Tensor, plan: TorchPlan) -> Tensor:
            residual = residual.to(self.device)
            output: Tensor = layer(residual, plan.rope, plan.batch, plan.masks, self._dtype)
            return output

        return run

    def make_head(self, norm: Tensor, head: nn.Module) -> HeadRun:
        """See `Engine.make_head`."""
        final = RMSNorm(self.config.hidden_size, self.config.rms_norm_eps)
        final.weight = nn.Parameter(norm.to(self.device, torch.float32), requires_grad=False)
        head = head.to(self.device)

        def run(rows: Tensor) -> Tensor:
            scores: Tensor = head(final(rows.to(self.device)))
            return scores.squeeze(-1).cpu()

        return run
