"""A step over token trees has the gradients of the unshared computation, however it is cut."""

import random
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from tiny import SMALL, toy_recipe

from worldpm.model.attention import plan_attention
from worldpm.model.config import parse_config
from worldpm.model.decoder import PreferenceModel, linear_head
from worldpm.tokens.tree import build_tree
from worldpm.train.examples import Example
from worldpm.train.step import TreeScorer, take_step

SHAPES = {
    "llama": {},
    "qwen2": {"model_type": "qwen2"},  # biases
    "qwen3": {"model_type": "qwen3", "head_dim": 8},  # norms of queries and keys
}


def loud_model(shape="llama"):
    """A small model whose every parameter moves the scores."""
    config = parse_config({**SMALL, **SHAPES[shape], "rms_norm_eps": 1e-2}, "small")
    model = PreferenceModel(config, linear_head(config.hidden_size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if "norm" in name else 0.3 * noise)
    return model


def example(seed, replies):
    """Random replies to one prompt, some of which begin alike, with all their edges."""
    chance = random.Random(seed)

    def tokens(most):
        return [chance.randrange(250) for _ in range(chance.randint(2, most))]

    prompt, found = tokens(20), []
    for _ in range(replies):
        shared = found[-1][: chance.randint(1, len(found[-1]))] if len(found) % 3 else prompt
        found.append(shared + tokens(12))
    edges = list(combinations(range(replies), 2))
    weights = tuple(chance.uniform(0.5, 1) for _ in edges)
    return Example("toy", build_tree(found), tuple(a for a, _ in edges), tuple(b for _, b in edges),
                   weights, (0.0,) * len(edges), pairs=replies - 1.0)  # fmt: skip


def gradients(model, examples, *overrides, budget=10_000, batches=None):
    """The gradients of one step, by name, before anything is clipped or updated."""
    recipe = toy_recipe("optim.max_grad_norm=1e9", *overrides)
    trained = dict(model.named_parameters())
    found = {}

    class Keeps:
        def step(self):
            found.update({name: p.grad.clone() for name, p in trained.items()})

        def zero_grad(self, set_to_none):
            for p in trained.values():
                p.grad = None

    scorer = TreeScorer(model, recipe)
    keys = range(len(examples))
    take_step(scorer, examples, list(keys), budget, trained, Keeps(), recipe)
    return found


def separately(model, examples):
    """The same by autograd over each reply alone, nothing shared, attention by torch."""
    total = sum(e.pairs for e in examples)
    model.zero_grad()
    for e in examples:
        scores = []
        for path in e.tree.paths():
            tokens = torch.tensor(path)
            scores.append(plain_score(model, tokens))
        for winner, loser, weight in zip(e.winners, e.losers, e.edge_weights, strict=True):
            ahead = scores[winner] - scores[loser]
            loss = -weight * torch.nn.functional.logsigmoid(ahead) / total
            loss.backward(retain_graph=True)
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    return found


def plain_score(model, tokens):
    """The textbook's decoder, operation by operation: no function of ours is in it."""
    decoder, config = model.model, model.model.config
    size, groups = config.head_dim, config.num_attention_heads // config.num_key_value_heads
    count = len(tokens)
    frequency = config.rope_theta ** (-torch.arange(0, size, 2) / size)
    angle = torch.arange(count)[:, None] * frequency
    cos, sin = (torch.cat([f(angle)] * 2, -1)[:, None] for f in (torch.cos, torch.sin))

    def norm(module, x):
        root = (x.square().mean(-1, keepdim=True) + config.rms_norm_eps).rsqrt()
        return x * root * module.weight

    def rotated(x):
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat((-second, first), -1) * sin

    x = decoder.embed_tokens(tokens)
    for layer in decoder.layers:
        attention = layer.self_attn
        h = norm(layer.input_layernorm, x)
        q, k, v = (p(h).view(count, -1, size) for p in
                   (attention.q_proj, attention.k_proj, attention.v_proj))  # fmt: skip
        if config.qk_norm:
            q, k = norm(attention.q_norm, q), norm(attention.k_norm, k)
        q, k = rotated(q), rotated(k).repeat_interleave(groups, 1)
        logits = torch.einsum("qhd,khd->hqk", q, k) / size**0.5
        logits = logits.masked_fill(torch.ones(count, count).triu(1).bool(), float("-inf"))
        found = torch.einsum("hqk,khd->qhd", logits.softmax(-1), v.repeat_interleave(groups, 1))
        x = x + attention.o_proj(found.reshape(count, -1))
        h = norm(layer.post_attention_layernorm, x)
        mlp = layer.mlp
        x = x + mlp.down_proj(torch.nn.functional.silu(mlp.gate_proj(h)) * mlp.up_proj(h))
    return model.score(norm(decoder.norm, x[-1])).squeeze()


def distance(found, expected):
    """The largest difference of a tensor relative to its size."""
    assert found.keys() == expected.keys()
    assert all(float(g.norm()) > 0 for g in expected.values())
    return max(float((found[n] - g).norm() / g.norm()) for n, g in expected.items())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("replies", [2, 5, 16])
def test_gradients_of_trees_are_those_of_separate_rows(shape, replies):
    """Relative 1e-5 in float32, for pairs and for up to sixteen replies that begin alike."""
    model = loud_model(shape)
    examples = [example(10 * replies + i, replies) for i in range(3 if replies < 16 else 1)]
    assert distance(gradients(model, examples), separately(model, examples)) < 1e-5


@pytest.mark.parametrize("slip", ["siblings", "leaf", "weight"])
def test_slips_would_show(slip, monkeypatch):
    """Seeing a sibling, reading a score a token early or losing a weight moves the gradients."""
    model = loud_model()
    examples = [example(i, 5) for i in range(2)]
    expected = separately(model, examples)
    if slip == "siblings":
        joined = "worldpm.model.attention._joined"
        monkeypatch.setattr(joined, lambda ranges: ((ranges[0][0], ranges[-1][1]),))
    elif slip == "leaf":
        trees = [replace(e.tree, leaves=e.tree.leaves - 1) for e in examples]
        examples = [replace(e, tree=tree) for e, tree in zip(examples, trees, strict=True)]
    else:
        examples[0] = replace(examples[0], edge_weights=(1.0,) * 10)
    assert distance(gradients(model, examples), expected) > 1e-3


def test_eight_times_one_is_one_times_eight():
    """Accumulated over micro-batches or computed at once, the gradients are the same."""
    model = loud_model()
    examples = [example(i, 2) for i in range(8)]
    at_once = gradients(model, examples)
    assert distance(gradients(model, examples, budget=16), at_once) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_computing_layers_again_changes_no_bit(dtype):
    """With activation checkpointing the gradients are bitwise those without, and it was used."""
    model = loud_model()
    examples = [example(i, 4) for i in range(3)]
    calls = []
    model.model.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    found = {}
    for setting, times in (("never", 1), ("always", 2)):
        calls.clear()
        override = [f"run.activation_checkpointing='{setting}'", f"model.dtype='{dtype}'"]
        found[setting] = gradients(model, examples, *override)
        assert len(calls) == times
    for name, gradient in found["never"].items():
        assert torch.equal(found["always"][name], gradient), name


def test_one_plan_serves_all_layers(monkeypatch):
    """The batch's plan is made once, not in every layer."""
    made = []
    real = plan_attention
    monkeypatch.setattr(
        "worldpm.model.decoder.plan_attention", lambda batch: made.append(1) or real(batch)
    )
    gradients(loud_model(), [example(0, 3)])
    assert len(made) == 1
