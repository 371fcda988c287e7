"""What a step is said to take is what it takes: counted tensor by tensor, and by the process."""

from dataclasses import replace

import pytest
import torch
from tiny import SMALL, toy_recipe

from worldpm.model.batch import collate
from worldpm.model.config import parse_config
from worldpm.model.decoder import PreferenceModel, linear_head
from worldpm.tokens.tree import build_tree
from worldpm.train import memory
from worldpm.train.lora import add_lora
from worldpm.train.memory import Recomputing, seen_keys, step_memory, trained_parameters

CPU = torch.device("cpu")
SHAPES = {"llama": {}, "qwen3": {"model_type": "qwen3", "head_dim": 8}}


def model_of(shape="llama", layers=4):
    config = parse_config({**SMALL, **SHAPES[shape], "num_hidden_layers": layers}, "small")
    return PreferenceModel(config, linear_head(config.hidden_size))


def batch_of(trees=3):
    generator = torch.Generator().manual_seed(0)
    return collate([
        build_tree(torch.randint(0, 250, (3, 40), generator=generator).tolist())
        for _ in range(trees)
    ])  # fmt: skip


def kept_bytes(model, batch, dtype):
    """What autograd keeps of a forward pass beside weights and the batch, each storage once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    weights |= {t.untyped_storage().data_ptr() for t in (batch.tokens, batch.leaves)}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.shape[:1] != ():
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        scores = model(batch)
    casts = sum(p.numel() * 2 for n, p in model.named_parameters() if "_proj" in n)
    assert scores.requires_grad
    return sum(size for size, _ in kept.values()) - (casts if dtype == "bfloat16" else 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("recomputes", [False, True])
def test_activations_are_what_autograd_keeps(shape, dtype, recomputes):
    """Within a fifth, counted storage by storage; computing again keeps the layers' inputs."""
    model = model_of(shape, layers=8)
    model.model.recomputes = recomputes
    batch = batch_of()
    recipe = toy_recipe(f"model.dtype='{dtype}'")
    tokens = len(batch.tokens)
    said = step_memory(
        model.model.config, recipe, tokens, seen_keys(batch), recomputes=recomputes
    ).activations
    if recomputes:  # the layer that is computed again is not there yet
        said -= memory.layer_activations(
            model.model.config, 2 if dtype == "bfloat16" else 4, tokens, seen_keys(batch)
        )
    assert said == pytest.approx(kept_bytes(model, batch, dtype), rel=0.2)


def test_pairs_that_are_seen_by_hand():
    """[1 2] and the branches [3] and [4 5]: 2 x 2, 1 x 3 and 2 x 4 weights are kept."""
    assert seen_keys(collate([build_tree([[1, 2, 3], [1, 2, 4, 5]])])) == 4 + 3 + 8


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("rank", [0, 4])
def test_trained_numbers_are_counted(rank, frozen):
    """Weights, or factors and head, of the layers that are not frozen."""
    model = model_of()
    recipe = toy_recipe(f"lora.rank={rank}", f"model.frozen_layers={frozen}")
    model.model.requires_grad_(rank == 0)
    model.model.embed_tokens.requires_grad_(rank == 0 and frozen == 0)
    model.model.layers[:frozen].requires_grad_(False)
    if rank:
        add_lora(model, recipe.lora, frozen, 0)
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained_parameters(model.model.config, recipe) == counted


def test_memory_decides(monkeypatch):
    """Under auto a batch that would not fit is computed again, and one that fits is not."""
    batch, config = batch_of(), model_of().model.config
    recipe = toy_recipe()
    need = step_memory(config, recipe, len(batch.tokens), seen_keys(batch))
    free = (need.total - need.weights) / memory.HEADROOM
    monkeypatch.setattr(memory, "free_bytes", lambda: free * 1.02)
    assert not Recomputing(config, recipe, CPU, sharded=False)(batch)
    assert Recomputing(config, recipe, CPU, sharded=True)(batch)  # all processes alike
    assert Recomputing(config, recipe, CPU, sharded=False)(batch_of(trees=4))
    monkeypatch.setattr(memory, "free_bytes", lambda: free * 0.98)
    assert Recomputing(config, recipe, CPU, sharded=False)(batch)
    never = toy_recipe("run.activation_checkpointing='never'")
    assert not Recomputing(config, never, CPU, sharded=False)(batch)


def test_total_is_the_sum():
    """Nothing is left out of the total."""
    found = step_memory(model_of().model.config, toy_recipe(), 100, 1000)
    parts = [getattr(found, name) for name in found.__slots__]
    assert found.total == sum(parts)
    assert replace(found, weights=0).total == found.total - found.weights
