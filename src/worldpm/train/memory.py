"""Memory of a training step: a model's shape, a recipe and a batch -> bytes, by what they are for.

    step_memory(config, recipe, tokens=2048, seen=300_000)   -> StepMemory(weights=..., ...)
    print(StepMemory.activations)                            what the forward pass keeps

With `recomputes`, a layer keeps only its input and is computed again for the backward pass: a third
more work for a fraction of the memory. The bits are the same, so it may be decided batch by batch.
"""

from dataclasses import dataclass

import torch

from worldpm.model.attention import plan_attention
from worldpm.model.batch import TreeBatch
from worldpm.model.config import ModelConfig
from worldpm.model.memory import free_bytes
from worldpm.train.recipe import Recipe

MASTER_BYTES = 4  # of a trained weight, its gradient, and each of AdamW's two moments
HEADROOM = 0.9  # of what is free: an allocator leaves gaps


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes that one process holds in a step with whole weights, nothing shared out."""

    weights: int
    gradients: int
    optimizer: int
    copies: int  # of trained matrices at the precision of the products
    activations: int  # of one micro-batch, kept for the backward pass
    passing: int  # of the layer at work, in the backward pass

    @property
    def total(self) -> int:
        """All of them: the step's peak, to which the libraries' own 0.4 GB come."""
        return (
            self.weights + self.gradients + self.optimizer
            + self.copies + self.activations + self.passing
        )  # fmt: skip


def seen_keys(batch: TreeBatch) -> int:
    """For how many pairs of a token and one that it may see attention weights are kept."""
    return sum(
        (block.rows[1] - block.rows[0]) * sum(end - start for start, end in block.keys)
        for block in plan_attention(batch).blocks
    )


def step_memory(
    config: ModelConfig, recipe: Recipe, tokens: int, seen: int, *, recomputes: bool = False
) -> StepMemory:
    """What a step of micro-batches of `tokens` tokens and `seen` pairs of them takes."""
    trained = trained_parameters(config, recipe)
    layer = config.layer_parameters()
    layers = config.num_hidden_layers - recipe.model.frozen_layers
    width = 2 if recipe.model.dtype == "bfloat16" else 4
    table = config.vocab_size * config.hidden_size
    every = table + config.num_parameters()
    if recipe.lora.rank:  # the base is held at the precision of the products
        weights, copies = width * every + MASTER_BYTES * trained, width * trained
    else:
        weights, copies = MASTER_BYTES * every, width * layers * layer if width == 2 else 0
    own = layer_activations(config, width, tokens, seen)
    entry = 4 * config.hidden_size * tokens
    keys = config.key_channels * (3 if config.qk_norm else 2)
    last = entry + width * tokens * (config.hidden_size + keys)  # it asks for scored tokens alone
    return StepMemory(
        weights=weights,
        gradients=MASTER_BYTES * trained,
        optimizer=2 * MASTER_BYTES * trained,
        copies=copies,
        activations=last + ((layers - 1) * entry + own if recomputes else (layers - 1) * own),
        passing=3 * entry + 2 * width * config.intermediate_size * tokens,
    )


def layer_activations(config: ModelConfig, width: int, tokens: int, seen: int) -> int:
    """Bytes that a layer keeps for its backward pass, of `tokens` tokens at `width` bytes.

    Twice the residual stream in float32 and normed, query, key and value after rotation, what
    attention found, the MLP's gate, its other half and their product; and attention's weights.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.query_channels, config.key_channels
    products = 2 * hidden + 2 * queries + 2 * keys + 3 * inner
    if config.qk_norm:
        products += queries + keys
    weights = width * config.num_attention_heads * seen
    return tokens * (2 * 4 * hidden + width * products) + weights


def trained_parameters(config: ModelConfig, recipe: Recipe) -> int:
    """How many numbers the recipe trains, about: the head is counted as a linear one."""
    hidden = config.hidden_size
    layers = config.num_hidden_layers - recipe.model.frozen_layers
    if recipe.lora.rank == 0:
        table = 0 if recipe.model.frozen_layers else config.vocab_size * hidden
        return table + layers * config.layer_parameters() + 2 * hidden  # the last norm and the head
    matrices = config.layer_matrices()
    factors = sum(recipe.lora.rank * sum(matrices[name]) for name in recipe.lora.modules)
    return layers * factors + hidden


class Recomputing:
    """Whether a batch's layers are to be computed again, as the recipe says or memory asks.

    `sharded` processes must all do the same, and they shard for want of memory: "auto" is always.
    """

    def __init__(
        self, config: ModelConfig, recipe: Recipe, device: torch.device, *, sharded: bool
    ) -> None:
        self.config, self.recipe = config, recipe
        self.setting = recipe.run.activation_checkpointing
        if self.setting == "auto" and sharded:
            self.setting = "always"
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_bytes()
        self.free = int(HEADROOM * free)

    def __call__(self, batch: TreeBatch) -> bool:
        """Decided by what the batch would keep and what was free at the start."""
        if self.setting != "auto":
            return self.setting == "always"
        tokens = int(batch.tokens.numel())
        need = step_memory(self.config, self.recipe, tokens, seen_keys(batch))
        return need.total - need.weights > self.free  # the weights are there already
