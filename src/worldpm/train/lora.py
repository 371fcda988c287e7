"""LoRA on a model's linear layers, trained here and exchanged in peft's format.

PreferenceModel -> add_lora -> same model with LoRALinear layers -> extract -> Adapter
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldpm.errors import ConfigError
from worldpm.model.adapter import Adapter
from worldpm.model.decoder import PreferenceModel
from worldpm.train.recipe import LoRASettings


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


def extract(model: PreferenceModel, settings: LoRASettings) -> Adapter:
    """The trained factors and the head, as an adapter to write or merge."""
    factors = {
        name: (module.lora_A.detach(), module.lora_B.detach())
        for name, module in model.named_modules()
        if isinstance(module, LoRALinear)
    }
    head = {f"score.{name}": tensor.detach() for name, tensor in model.score.state_dict().items()}
    return Adapter(factors, head, settings.rank, settings.alpha)
