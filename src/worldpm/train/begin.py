"""A base and a recipe -> the model to train, whole or each process its part; and whole again.

    model = outline(base, recipe)     head and LoRA factors; the decoder without values yet
    place(model, base, recipe, ranks) the decoder's values, each process reading its own
    whole_model(model)                after the last step: LoRA merged, parts gathered

A decoder of 72B parameters is never whole in one process while it is trained.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from worldpm.errors import CheckpointError, ConfigError
from worldpm.model.checkpoint import all_finite, architecture_of, read_config, weight_files
from worldpm.model.config import ModelConfig
from worldpm.model.decoder import PreferenceModel
from worldpm.model.fingerprint import stored_tensors
from worldpm.model.weights import Weights
from worldpm.train.heads import head_like, new_head
from worldpm.train.lora import LoRALinear, add_lora
from worldpm.train.parallel import ALONE, Ranks
from worldpm.train.recipe import Recipe
from worldpm.train.sharding import part_like, rows_of, shard, whole

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def base_model(base: Path, recipe: Recipe, ranks: Ranks = ALONE) -> PreferenceModel:
    """The base's decoder under a head: the checkpoint's own if it has one, else a new one.

    A new head's last layer starts at zero, so that training starts at a score of 0 for every
    reply. Only what the recipe trains requires gradients. Raises ConfigError for a recipe that the
    base cannot follow, CheckpointError for a base that is incomplete, damaged or of another shape.
    """
    model = outline(base, recipe)
    place(model, base, recipe, ranks)
    return model


def outline(base: Path, recipe: Recipe) -> PreferenceModel:
    """The model to train but for the values of its decoder, which are on the meta device."""
    config = read_config(base)
    check_layers(config, recipe)
    weights = _weights(base)
    state = weights.read([name for name in weights.places if name.startswith("score.")])
    torch.manual_seed(recipe.seed)
    head = new_head(state, config.hidden_size, recipe, base)
    head.load_state_dict({name.removeprefix("score."): t for name, t in state.items()})
    with torch.device("meta"):
        model = PreferenceModel(config, head)
    architecture_of(model)  # refuses now what could not be written at the end
    first = recipe.model.frozen_layers
    model.model.requires_grad_(recipe.lora.rank == 0)
    model.model.embed_tokens.requires_grad_(recipe.lora.rank == 0 and first == 0)
    model.model.layers[:first].requires_grad_(False)
    if recipe.lora.rank:
        model.model.to(DTYPES[recipe.model.dtype])
        add_lora(model, recipe.lora, first, recipe.seed)
    return model


def check_layers(config: ModelConfig, recipe: Recipe) -> None:
    """ConfigError where the recipe freezes every layer of the base."""
    if recipe.model.frozen_layers >= config.num_hidden_layers:
        raise ConfigError(
            f"model.frozen_layers: {recipe.model.frozen_layers} leaves none of the "
            f"{config.num_hidden_layers} layers to train"
        )


def _weights(base: Path) -> Weights:
    """The base's tensors, with a head or without one."""
    read_config(base)
    names = stored_tensors(weight_files(base))
    return Weights(base, head=any(name.startswith("score.") for name in names))


@torch.no_grad()
def place(model: PreferenceModel, base: Path, recipe: Recipe, ranks: Ranks = ALONE) -> None:
    """Give the decoder of `outline` the base's values, in place; sharded, each process its rows.

    Raises CheckpointError for values that are not finite.
    """
    device = ranks.device
    if ranks.sharded:
        shard(model, recipe, ranks)
    weights = _weights(base)
    state: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            stored = name.replace(".base.", ".")
            part = weights.rows(stored, rows_of(parameter))
            if not all_finite(part):
                raise CheckpointError(f"{base}: {stored} has values that are not finite")
            own = torch.empty(part.shape, dtype=parameter.dtype, device=device)
            state[name] = nn.Parameter(part_like(parameter, own.copy_(part)))
    model.load_state_dict(state, strict=False, assign=True)
    if not ranks.sharded:
        model.to(device)


def whole_tensors(model: PreferenceModel) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the model as a checkpoint has it, in memory of the processor, one by one.

    LoRA factors are folded into the weights they adapt. All processes must take all of them.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, LoRALinear)}
    for name, tensor in model.state_dict().items():
        layer, _, last = name.rpartition(".")
        if last in ("lora_A", "lora_B"):
            continue
        value = whole(tensor.detach())
        adapted = layers.get(layer.removesuffix(".base"))
        if adapted is not None and last == "weight":
            up, down = (whole(each.detach()) for each in (adapted.lora_B, adapted.lora_A))
            delta = adapted.scale * (up.float() @ down.float())
            value = (value.float() + delta).to(value.dtype)
        yield name.replace(".base.", "."), value.cpu()


def whole_model(model: PreferenceModel) -> PreferenceModel:
    """The trained model without LoRA layers or parts, in memory of the processor."""
    state = dict(whole_tensors(model))
    config = model.model.config
    with torch.device("meta"):
        made = PreferenceModel(config, head_like(model.score))
    made.load_state_dict(state, strict=True, assign=True)
    return made.requires_grad_(False)
