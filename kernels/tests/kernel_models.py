"""Small random models and trees, and the native forward over them."""

import numpy as np
import pytest

kernels = pytest.importorskip("worldpm_kernels", reason="worldpm-kernels is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

from worldpm.model.batch import collate  # noqa: E402
from worldpm.model.config import ModelConfig  # noqa: E402
from worldpm.model.decoder import (  # noqa: E402
    PreferenceModel,
    linear_head,
    mlp_head,
    rotary_table,
)
from worldpm.tokens.tree import build_tree  # noqa: E402

FLOAT = [("float32", isa) for isa in kernels.isas("float32")]
# The tiles of AMX, emulated, are there on any processor, and only for those who ask by name.
BRAIN = [("bfloat16", isa) for isa in (*kernels.isas("bfloat16"), "amx-emulated")]
EVERY = FLOAT + BRAIN
VOCABULARY = 50


def config(**changes):
    """A loud configuration: large eps, small theta, two queries a key, every bias and norm."""
    fields = {
        "model_type": "qwen3",
        "vocab_size": VOCABULARY,
        "hidden_size": 72,
        "intermediate_size": 150,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rms_norm_eps": 1e-2,
        "rope_theta": 1e4,
        "qkv_bias": True,
        "o_bias": True,
        "mlp_bias": True,
        "qk_norm": True,
        "max_position_embeddings": 1 << 20,
    }
    return ModelConfig(**{**fields, **changes})


def model(settings, *, seed=0, mlp=False):
    """Every parameter random, norms around one."""
    torch.manual_seed(seed)
    head = mlp_head(settings.hidden_size) if mlp else linear_head(settings.hidden_size, bias=True)
    made = PreferenceModel(settings, head)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            noise = torch.randn(parameter.shape)
            if "norm" in name:
                parameter.copy_(1 + 0.3 * noise)
            elif parameter.ndim == 2 and "embed" not in name:
                parameter.copy_(noise * parameter.shape[1] ** -0.5)
            else:
                parameter.copy_(0.5 * noise)
    return made


def tokens(rng, count):
    """`count` random token ids."""
    return rng.integers(0, VOCABULARY, count).tolist()


def trees(seed=0):
    """Three trees: odd lengths, nested prefixes, a reply of one token, a whole tree of one."""
    rng = np.random.default_rng(seed)
    prompt, stem = tokens(rng, 37), tokens(rng, 11)
    several = [prompt + stem + tokens(rng, n) for n in (1, 13, 130)] + [prompt + tokens(rng, 61)]
    return [
        build_tree(several),
        build_tree([tokens(rng, 1)]),
        build_tree([tokens(rng, 30) + [i] * (5 + i) for i in range(3)]),
    ]


def plan(made, grown):
    """The kernels' plan of a list of trees."""
    batch = collate(grown)
    settings = made.model.config
    half = settings.head_dim // 2
    cos, sin = (
        table[:, 0, :half].contiguous().numpy()
        for table in rotary_table(batch.positions, settings.head_dim, settings.rope_theta)
    )
    first_token = np.cumsum([0] + [tree.tokens.size for tree in grown])
    first_segment = np.cumsum([0] + [tree.start.size for tree in grown])
    starts = [tree.start + first for tree, first in zip(grown, first_token, strict=False)]
    parents = [
        np.where(tree.parent < 0, -1, tree.parent + first)
        for tree, first in zip(grown, first_segment, strict=False)
    ]
    integers = (
        batch.positions.numpy(),
        np.concatenate(starts),
        np.concatenate([tree.length for tree in grown]),
        np.concatenate(parents),
    )
    positions, *rest = (part.astype(np.int32) for part in integers)
    return kernels.Plan(positions, cos, sin, *rest)


def array(tensor):
    """As the kernels take it: bfloat16 seen as uint16."""
    tensor = tensor.detach().contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def layers(made, **options):
    """The packed layers of a model."""
    return [
        kernels.Layer(
            made.model.config,
            {name: array(tensor) for name, tensor in layer.state_dict().items()},
            **options,
        )
        for layer in made.model.layers
    ]


def head(made, isa=None):
    """The final norm and head of a model; an instruction set without float32 leaves the choice."""
    linear = [part for part in made.score.modules() if isinstance(part, torch.nn.Linear)]
    weights = [(array(x.weight), None if x.bias is None else array(x.bias)) for x in linear]
    if isa is not None and "float32" not in kernels.precisions(isa):
        isa = None
    return kernels.Head(array(made.model.norm.weight), made.model.config.rms_norm_eps, weights, isa)


def forward(made, grown, packed):
    """The residual stream (T, hidden) after the layers."""
    residual = array(made.model.embed(collate(grown))).copy()
    layout = plan(made, grown)
    for layer in packed:
        layer.run(residual, layout)
    return residual


def native(made, grown, precision="float32", isa=None):
    """Residuals (T, hidden) and the scores (T,) at every token."""
    residual = forward(made, grown, layers(made, precision=precision, isa=isa))
    return residual, head(made, isa).run(residual)


def reference(made, grown):
    """The same from torch, in float32."""
    with torch.inference_mode():
        batch = collate(grown)
        count = made.model.config.num_hidden_layers
        residual = made.model.run_layers(made.model.embed(batch), batch, 0, count)
        scores = made.apply_head(made.model.norm(residual))
    return residual.numpy(), scores.numpy()


def leaves(grown):
    """Indices of the scored tokens in the batch."""
    return collate(grown).leaves.numpy()
