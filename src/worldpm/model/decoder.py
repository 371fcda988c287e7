"""The decoder of the Qwen2, Qwen3 and Llama families over flat batches of token trees.

    TreeBatch (T tokens) -> hidden states (T, hidden) -> one score a leaf

Module names are checkpoint keys, so loading is a strict copy. Linear layers run over all the
tokens of a batch at once; attention runs segment by segment, so there is no padding and a branch
never sees its siblings. The residual stream and the norms stay in float32 also when the weights
are bfloat16: in bfloat16 throughout, a prototype's scores moved by 0.13 against 0.05.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask
from torch.utils.checkpoint import checkpoint

from worldpm.model.attention import AttentionPlan, attend, plan_attention, plan_leaves
from worldpm.model.batch import TreeBatch
from worldpm.model.config import ModelConfig
from worldpm.model.flex import flex_tree_attention, tree_block_mask
from worldpm.model.pointwise import gated, normalised

MASKED_TREE_TOKENS = 1024
Rope = tuple[Tensor, Tensor]
Masks = list[Tensor | None] | BlockMask
"""What the tokens of a batch see: a mask a tree (see `tree_masks`), or one for all on a GPU."""
View = Masks | AttentionPlan
"""The same, or the plan of an attention that has its own backward pass."""


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed and returned in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise the last dimension of `hidden` (..., size)."""
        if torch.is_grad_enabled():
            return normalised(hidden, self.weight, self.eps, torch.float32)
        return F.rms_norm(hidden.float(), (hidden.shape[-1],), self.weight.float(), self.eps)


def rotary_table(positions: Tensor, head_dim: int, theta: float) -> Rope:
    """Cosines and sines (T, 1, head_dim) in float32 of rotary embedding at `positions` (T,)."""
    steps = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    frequency = 1.0 / (theta**steps)
    angle = positions.float()[:, None] * frequency[None, :].to(positions.device)
    angle = torch.cat((angle, angle), dim=-1)[:, None, :]
    return angle.cos(), angle.sin()


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of (T, heads, head_dim) states, halves rotated as Hugging Face does."""
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


def masks_for(batch: TreeBatch, dtype: torch.dtype) -> Masks:
    """The masks that suit the batch's device."""
    if batch.tokens.device.type == "cuda":
        return tree_block_mask(batch)
    return tree_masks(batch, dtype)


def tree_masks(batch: TreeBatch, dtype: torch.dtype) -> list[Tensor | None]:
    """For each tree an additive mask (tokens, tokens), or None where no mask is needed or wanted.

    One masked call for a small tree beats a call for each of its segments; above
    `MASKED_TREE_TOKENS` the work spent on invisible pairs outweighs that, and trees of a single
    segment are plainly causal.
    """
    masks: list[Tensor | None] = []
    for lengths, ancestors in zip(batch.segments, batch.ancestors, strict=True):
        total = sum(lengths)
        if len(lengths) == 1 or total > MASKED_TREE_TOKENS:
            masks.append(None)
            continue
        segment = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        sees = torch.eye(len(lengths), dtype=torch.bool)
        for index, above in enumerate(ancestors):
            sees[index, list(above)] = True
        visible = sees[segment][:, segment].tril()
        mask = torch.zeros(total, total, dtype=dtype).masked_fill_(~visible, float("-inf"))
        masks.append(mask.to(batch.tokens.device))
    return masks


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, batch: TreeBatch, masks: Masks
) -> Tensor:
    """Causal attention of each segment over itself and its ancestors.

    `query` is (T, heads, head_dim), `key` and `value` (T, kv_heads, head_dim), `masks` from
    `masks_for`; the result is (T, heads, head_dim). `split` and `cat` keep the backward pass free
    of the zero-filled gradients that slicing would make.
    """
    if isinstance(masks, BlockMask):
        return flex_tree_attention(query, key, value, masks)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    trees = zip(
        *(torch.split(x.transpose(0, 1)[None], batch.tree_lengths, 2) for x in (query, key, value)),
        batch.segments,
        batch.ancestors,
        masks,
        strict=True,
    )
    outputs = []
    for tree_query, tree_key, tree_value, lengths, ancestors, mask in trees:
        if mask is not None:
            output = F.scaled_dot_product_attention(tree_query, tree_key, tree_value, mask)
        elif len(lengths) == 1:
            output = F.scaled_dot_product_attention(
                tree_query, tree_key, tree_value, is_causal=True
            )
        else:
            output = _segment_attention(tree_query, tree_key, tree_value, lengths, ancestors)
        outputs.append(output[0])
    return torch.cat(outputs, dim=1).transpose(0, 1)


def _segment_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: tuple[int, ...],
    ancestors: tuple[tuple[int, ...], ...],
) -> Tensor:
    """Attention of one tree, segment by segment; all tensors (1, heads, tokens, head_dim)."""
    queries, keys, values = (torch.split(x, list(lengths), 2) for x in (query, key, value))
    outputs = []
    for index, above in enumerate(ancestors):
        path = (*above, index)
        path_keys = torch.cat([keys[s] for s in path], dim=2)
        path_values = torch.cat([values[s] for s in path], dim=2)
        length, total = lengths[index], path_keys.shape[2]
        visible = torch.ones(length, total, dtype=torch.bool, device=query.device)
        outputs.append(
            F.scaled_dot_product_attention(
                queries[index], path_keys, path_values, visible.tril(total - length)
            )
        )
    return torch.cat(outputs, dim=2)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, biases and query-key norms as configured."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        hidden, size = config.hidden_size, config.head_dim
        self.q_proj = nn.Linear(hidden, config.num_attention_heads * size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(hidden, config.num_key_value_heads * size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(hidden, config.num_key_value_heads * size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(config.num_attention_heads * size, hidden, bias=config.o_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(size, config.rms_norm_eps)
            self.k_norm = RMSNorm(size, config.rms_norm_eps)

    def forward(self, hidden: Tensor, rope: Rope, batch: TreeBatch, view: View) -> Tensor:
        """Attend within `batch`; `hidden` is (T, hidden), the result that of the rows that ask."""
        size = self.config.head_dim
        rows = view.rows if isinstance(view, AttentionPlan) else None
        asking = hidden if rows is None else hidden[rows]
        query = self.q_proj(asking).unflatten(1, (-1, size))
        key = self.k_proj(hidden).unflatten(1, (-1, size))
        value = self.v_proj(hidden).unflatten(1, (-1, size))
        if self.config.qk_norm:
            query, key = self.q_norm(query), self.k_norm(key)
        if isinstance(view, AttentionPlan):
            found = attend(query, key, value, rope, view)
        else:
            query = rotate(query, *rope).to(hidden.dtype)
            key = rotate(key, *rope).to(hidden.dtype)
            found = tree_attention(query, key, value, batch, view).flatten(1)
        output: Tensor = self.o_proj(found)
        return output


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(hidden, inner, bias=config.mlp_bias)
        self.up_proj = nn.Linear(hidden, inner, bias=config.mlp_bias)
        self.down_proj = nn.Linear(inner, hidden, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(T, hidden) -> (T, hidden)."""
        gate, up = self.gate_proj(hidden), self.up_proj(hidden)
        output: Tensor = self.down_proj(
            gated(gate, up) if torch.is_grad_enabled() else F.silu(gate) * up
        )
        return output


class Layer(nn.Module):
    """One decoder layer; the residual stream comes and goes in float32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(
        self,
        residual: Tensor,
        rope: Rope,
        batch: TreeBatch,
        view: View,
        dtype: torch.dtype,
    ) -> Tensor:
        """(T, hidden) float32 -> (T, hidden) float32, the products computed in `dtype`.

        Under a plan for some rows, the result is that of these rows alone.
        """
        hidden = self.input_layernorm(residual).to(dtype)
        attended = self.self_attn(hidden, rope, batch, view)
        if isinstance(view, AttentionPlan) and view.rows is not None:
            residual = residual[view.rows]
        residual = residual + attended
        hidden = self.post_attention_layernorm(residual).to(dtype)
        output: Tensor = residual + self.mlp(hidden)
        return output


class Decoder(nn.Module):
    """Embeddings, layers and the final norm: the `model.*` part of a checkpoint."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Not drawn: values come from a file, and to draw on the meta device torch imports its
        # compiler, which takes a second of every command's start.
        shape = config.vocab_size, config.hidden_size
        self.embed_tokens = nn.Embedding(shape[0], shape[1], _weight=torch.empty(shape))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.recomputes = False
        """Whether layers are computed again for the backward pass, to save memory."""

    def embed(self, batch: TreeBatch) -> Tensor:
        """Token embeddings (T, hidden) in float32."""
        embedded: Tensor = self.embed_tokens(batch.tokens)
        return embedded.float()

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the products: autocast's, else that of the weights."""
        weight = self.embed_tokens.weight
        if torch.is_autocast_enabled(weight.device.type):
            return torch.get_autocast_dtype(weight.device.type)
        return weight.dtype

    def run_layers(self, residual: Tensor, batch: TreeBatch, first: int, last: int) -> Tensor:
        """Advance the residual stream (T, hidden) through layers `first` to `last` - 1."""
        rope = rotary_table(batch.positions, self.config.head_dim, self.config.rope_theta)
        dtype = self.dtype
        view: View = masks_for(batch, dtype)
        if residual.device.type == "cpu" and torch.is_grad_enabled():
            view = plan_attention(batch)
        for layer in self.layers[first:last]:
            if self.recomputes and torch.is_grad_enabled():
                residual = checkpoint(
                    layer, residual, rope, batch, view, dtype,
                    use_reentrant=False, preserve_rng_state=False,
                )  # fmt: skip
            else:
                residual = layer(residual, rope, batch, view, dtype)
        return residual

    def to_leaves(self, residual: Tensor, batch: TreeBatch, first: int) -> Tensor:
        """From the residual stream before layer `first` to the hidden states (leaves, hidden).

        The last layer is computed for the scored tokens alone, which is all that is asked of it.
        """
        count = len(self.layers)
        if first == count or residual.device.type != "cpu":
            residual = self.run_layers(residual, batch, first, count)
            return self.at_leaves(residual, batch)
        residual = self.run_layers(residual, batch, first, count - 1)
        rope = rotary_table(batch.positions, self.config.head_dim, self.config.rope_theta)
        residual = self.layers[-1](residual, rope, batch, plan_leaves(batch), self.dtype)
        hidden: Tensor = self.norm(residual)
        return hidden

    def forward(self, batch: TreeBatch) -> Tensor:
        """Final hidden states (leaves, hidden) in float32 at the batch's leaves."""
        return self.to_leaves(self.embed(batch), batch, 0)

    def at_leaves(self, residual: Tensor, batch: TreeBatch) -> Tensor:
        """The final norm at the leaves of (T, hidden): (leaves, hidden) in float32."""
        hidden: Tensor = self.norm(residual[batch.leaves])
        return hidden


class PreferenceModel(nn.Module):
    """A decoder with a scalar head: `score.weight` (linear) or `score.0`/`score.2` (MLP).

    The head is computed in float32: it costs nothing and low-precision heads make ties.
    """

    def __init__(self, config: ModelConfig, head: nn.Module) -> None:
        super().__init__()
        self.model = Decoder(config)
        self.score = head

    def forward(self, batch: TreeBatch) -> Tensor:
        """Scores (leaves,) in float32, log-odds units."""
        return self.apply_head(self.model(batch))

    def apply_head(self, hidden: Tensor) -> Tensor:
        """(leaves, hidden) float32 -> (leaves,) float32, whatever the precision around it."""
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = self.score(hidden)
        return scores.squeeze(-1)


def linear_head(hidden_size: int, *, bias: bool = False) -> nn.Linear:
    """The head of `*ForSequenceClassification` with one label."""
    return nn.Linear(hidden_size, 1, bias=bias)


def mlp_head(hidden_size: int) -> nn.Sequential:
    """Linear-ReLU-Linear with biases: `Qwen2ForRewardModel`, the released WorldPM's head."""
    return nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 1))
