"""Linear layers in 8-bit integers: a quarter of float32's memory, for scores that move a little.

    Int8Engine(config)                   weights alone: widened to float32 as a layer runs
    Int8Engine(config, activations=True) both sides: integer products, a scale for each token

A weight's row (output channel) is q * scale with q in [-127, 127], scale = max|row| / 127. Nothing
promises that a model stands it: `worldpm.evals.gate` measures it on comparisons of one's own.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldpm.model.batch import TreeBatch
from worldpm.model.config import ModelConfig
from worldpm.model.decoder import Layer
from worldpm.model.engine import HeadRun, LayerRun, TorchEngine, TorchPlan

LEVELS = 127


def quantize_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, columns) -> int8 (rows, columns) and float32 scales (rows, 1), to the nearest.

    A row of zeros gets the scale one.
    """
    scale = values.float().abs().amax(dim=1, keepdim=True) / LEVELS
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (values.float() / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """float32 (T, inputs) -> float32 (T, outputs) with weights kept as int8."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, activations: bool) -> None:
        super().__init__()
        quantized, scale = quantize_rows(weight)
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", quantized)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().float())
        self.activations = activations

    def forward(self, states: Tensor) -> Tensor:
        """The product, plus the bias if there is one."""
        if self.activations:
            rows, size = quantize_rows(states)
            output = torch._int_mm(rows, self.weight.t()).float() * size * self.scale.t()
            return output if self.bias is None else output + self.bias
        return F.linear(states, self.weight.float() * self.scale, self.bias)


class Int8Engine:
    """Torch's float32 engine with `Int8Linear` for every linear layer of the decoder.

    Embeddings, norms, attention and the head stay as they are.
    """

    dtype = "int8"

    def __init__(self, config: ModelConfig, *, activations: bool = False) -> None:
        self._float = TorchEngine(config, "float32")
        self.activations = activations
        kind = "weights and activations" if activations else "weights"
        self.name = f"{self._float.name}, 8-bit {kind}"

    @property
    def threads(self) -> int:
        """See `Engine.threads`."""
        return self._float.threads

    def plan(self, batch: TreeBatch) -> TorchPlan:
        """See `Engine.plan`."""
        return self._float.plan(batch)

    def make_layer(self, tensors: Mapping[str, Tensor]) -> LayerRun:
        """See `Engine.make_layer`."""
        with torch.device("meta"):
            layer = Layer(self._float.config)
        linears = [name for name, m in layer.named_modules() if isinstance(m, nn.Linear)]
        rest = dict(tensors)
        for name in linears:
            weight, bias = rest.pop(f"{name}.weight"), rest.pop(f"{name}.bias", None)
            layer.set_submodule(name, Int8Linear(weight, bias, activations=self.activations))
        norms = {name: tensor.float() for name, tensor in rest.items()}
        missing = layer.load_state_dict(norms, strict=False, assign=True)
        assert not missing.unexpected_keys
        layer.requires_grad_(False)

        def run(residual: Tensor, plan: TorchPlan) -> Tensor:
            output: Tensor = layer(residual, plan.rope, plan.batch, plan.masks, torch.float32)
            return output

        return run

    def make_head(self, norm: Tensor, head: nn.Module) -> HeadRun:
        """See `Engine.make_head`."""
        return self._float.make_head(norm, head)
