"""LoRA on a model's linear layers, trained here and exchanged in peft's format.

PreferenceModel -> add_lora -> same model with LoRALinear layers -> extract -> Adapter
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldpm.errors import CheckpointError, ConfigError
from worldpm.model.adapter import Adapter
from worldpm.model.decoder import PreferenceModel
from worldpm.train.recipe import LoRASettings
from worldpm.train.sharding import whole


class LoRALinear(nn.Module):
    """y = W x + (alpha / r) B A x with W frozen (Hu et al. 2021, section 4.1).

    A starts as peft's does (Kaiming uniform), B as zeros, so that training starts at the base.
    The factors are float32 masters; they are cast to the input's dtype to compute.
    """

    def __init__(
        self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        bound = 1.0 / math.sqrt(base.in_features)
        down = torch.rand(rank, base.in_features, generator=generator) * 2 * bound - bound
        self.lora_A = nn.Parameter(down)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, hidden: Tensor) -> Tensor:
        """(T, in) -> (T, out) in the dtype of `hidden`."""
        low = F.linear(hidden, self.lora_A.to(hidden.dtype))
        change = F.linear(low, self.lora_B.to(hidden.dtype))
        output: Tensor = self.base(hidden) + self.scale * change
        return output


def add_lora(model: PreferenceModel, settings: LoRASettings, first_layer: int, seed: int) -> None:
    """Replace the named linear layers from layer `first_layer` on, in place."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.model.layers[first_layer:]:
        for name in settings.modules:
            parents = (layer.self_attn, layer.mlp)
            found = [p for p in parents if isinstance(getattr(p, name, None), nn.Linear)]
            if not found:
                raise ConfigError(
                    f"lora.modules: {name!r} is not a linear layer of this decoder, or stands twice"
                )
            base = getattr(found[0], name)
            wrapped = LoRALinear(base, settings.rank, settings.alpha, generator)
            setattr(found[0], name, wrapped)


def begin_with(model: PreferenceModel, adapter: Adapter) -> None:
    """Put the factors and the head of `adapter` in the place of the new ones, in place.

    Raises CheckpointError unless it adapts the same layers at the same rank and scale, under a
    head of the same kind.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, LoRALinear)}
    head = {f"score.{name}": tensor for name, tensor in model.score.state_dict().items()}
    differs = sorted(layers.keys() ^ adapter.factors.keys()) + sorted(head.keys() ^ adapter.head)
    for name, (down, up) in adapter.factors.items():
        module = layers.get(name)
        if module is None or (
            (down.shape, up.shape, adapter.alpha / adapter.rank)
            != (module.lora_A.shape, module.lora_B.shape, module.scale)
        ):
            differs.append(name)
    differs += [n for n in head.keys() & adapter.head if head[n].shape != adapter.head[n].shape]
    if differs:
        raise CheckpointError(
            f"the adapter to begin with is not of the recipe's shape: {differs[0]} differs "
            "(layers, modules, rank, alpha and head must be the recipe's)"
        )
    with torch.no_grad():
        for name, (down, up) in adapter.factors.items():
            layers[name].lora_A.copy_(down)
            layers[name].lora_B.copy_(up)
        for name, tensor in head.items():
            tensor.copy_(adapter.head[name])


def extract(model: PreferenceModel, settings: LoRASettings) -> Adapter:
    """The trained factors and the head, whole, as an adapter to write or merge."""
    factors = {
        name: (whole(module.lora_A.detach()), whole(module.lora_B.detach()))
        for name, module in model.named_modules()
        if isinstance(module, LoRALinear)
    }
    head = {f"score.{name}": whole(t.detach()) for name, t in model.score.state_dict().items()}
    return Adapter(factors, head, settings.rank, settings.alpha)
