"""The plan of a run: bytes add up by hand, the fewest nodes are the fewest, nothing is fetched."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import tiny_base, toy_comparison, toy_data, toy_recipe

from worldpm.config import load_settings
from worldpm.errors import ConfigError
from worldpm.model.checkpoint import read_config
from worldpm.model.memory import free_bytes
from worldpm.records import Comparison
from worldpm.store import ArtifactWriter
from worldpm.tokens.encode import Encoder
from worldpm.train.begin import base_model
from worldpm.train.examples import load_examples
from worldpm.train.plan import Job, job_of, plan_training
from worldpm.train.recipe import Recipe

ROOT = Path(__file__).parents[2]
JOB = Job(comparisons=100, tokens=50_000, pairs=300.0, longest=200)


def paper(size, *overrides):
    """(shape, recipe) of the paper's pre-training at a size."""
    config = read_config(ROOT / "recipes" / "shapes" / f"qwen2.5-{size}")
    return config, load_settings(Recipe, ROOT / "recipes" / f"worldpm-{size}.toml", list(overrides))


def test_the_72b_plan_names_the_fewest_nodes():
    """It fits on the nodes it names, 8 x 80 GB each, and not on one fewer."""
    plan = plan_training(*paper("72b"), JOB)
    assert plan.fits
    assert plan.nodes > 1
    assert plan.processes == plan.shards == 8 * plan.nodes
    assert plan.total <= 72e9 == plan.room
    fewer = plan_training(*paper("72b", f"parallel.nodes={plan.nodes - 1}"), JOB)
    assert not fewer.fits
    assert "DOES NOT FIT" in str(fewer)
    assert f"{plan.nodes} x 8 GPUs, shard: a copy is held by {plan.shards}" in str(plan)


def test_bytes_by_hand():
    """Masters, gradients and two moments are 16 bytes a parameter, dealt out to all."""
    plan = plan_training(*paper("72b"), JOB)
    states = plan.weights + plan.gradients + plan.optimizer
    assert plan.parameters == pytest.approx(71.46e9, rel=0.001)  # without an output layer
    assert states == pytest.approx(16 * plan.parameters / plan.processes, rel=0.001)
    table = 152064 * 8192
    assert plan.gathered >= 12 * table
    parts = states + plan.gathered + plan.activations
    assert 0 < plan.total - parts < 3e9  # what libraries hold
    assert plan.checkpoint_bytes == 12 * plan.trained


def test_more_processes_hold_less_and_are_faster():
    """Twice the nodes: half the states, half the time; replicas save nothing but time."""
    one, two = (plan_training(*paper("7b", f"parallel.nodes={n}"), JOB) for n in (1, 2))
    assert two.weights == pytest.approx(one.weights / 2, rel=1e-6)
    assert two.seconds == pytest.approx(one.seconds / 2)
    layout = ["parallel.layout='replicate'"]
    one, two = (plan_training(*paper("7b", *layout, f"parallel.nodes={n}"), JOB) for n in (1, 2))
    assert two.weights == one.weights == 4 * one.parameters + (one.weights - 4 * one.parameters)
    assert two.seconds == pytest.approx(one.seconds / 2)
    hybrid = plan_training(*paper("7b", "parallel.layout='hybrid'", "parallel.nodes=4"), JOB)
    assert (hybrid.processes, hybrid.shards) == (32, 8)


def test_recomputing_is_decided_by_room():
    """Layers are kept where they fit and computed again where they do not, unless told."""
    nodes = "parallel.nodes=1"
    replicated = ["parallel.layout='replicate'", nodes]
    roomy = [*replicated, "parallel.gpu_gigabytes=1000"]
    assert plan_training(*paper("1.5b", *replicated), JOB).recomputes
    assert not plan_training(*paper("1.5b", *roomy), JOB).recomputes
    never = plan_training(*paper("7b", nodes, "run.activation_checkpointing='never'"), JOB)
    assert not never.recomputes
    assert never.activations == never.activations_kept > never.activations_recomputed


def test_lora_holds_a_narrow_base():
    """With LoRA the base is 2 bytes a parameter and only factors have gradients and moments."""
    plan = plan_training(*paper("72b", "lora.rank=16"), JOB)
    assert plan.trained < plan.parameters / 100
    assert plan.weights * plan.processes == pytest.approx(2 * plan.parameters, rel=0.02)
    assert plan.nodes < plan_training(*paper("72b"), JOB).nodes


def test_time_by_hand():
    """Six operations a parameter and token, attention beside it, at a share of the peak."""
    config, recipe = paper("72b", "parallel.utilisation=0.5")
    plan = plan_training(config, recipe, JOB)
    matrices = config.num_parameters()
    assert plan.flops == pytest.approx(6 * matrices * JOB.tokens, rel=0.02)
    assert plan.seconds == pytest.approx(plan.flops / (0.5 * 989e12 * plan.processes))


def test_the_job_of_data(tmp_path):
    """Pairs as the batches will have them; tokens within what a rough count can be."""
    base, data = tiny_base(tmp_path / "base"), toy_data(tmp_path / "data")
    recipe = toy_recipe("data.epochs=3")
    job = job_of([data], recipe)
    examples, _ = load_examples([data], "train", Encoder.from_folder(base), recipe.data)
    assert job.comparisons == len(examples) == 96
    assert job.pairs == pytest.approx(3 * sum(e.pairs for e in examples))
    tokens = 3 * sum(e.tree.tokens.size for e in examples)
    assert tokens / 3 < job.tokens < 3 * tokens


@pytest.mark.parametrize("repeats", ["{}", "{a=3, b=0}"])
def test_the_job_is_what_training_uses(tmp_path, repeats):
    """Rows without an edge are in no batch, and a source is in an epoch as often as repeated."""
    base, rng = tiny_base(tmp_path / "base"), random.Random(0)
    with ArtifactWriter(tmp_path / "d", Comparison, kind="comparisons", settings={}) as writer:
        for number in range(40):
            row = toy_comparison(number, rng, "ab"[number % 2])
            writer.add("train", replace(row, better=()) if number % 4 > 1 else row)
    recipe = toy_recipe(f"data.repeats={repeats}")
    encoder = Encoder.from_folder(base)
    examples, dropped = load_examples([tmp_path / "d"], "train", encoder, recipe.data)
    assert dropped == {"no_edge": 20}
    often = [recipe.data.repeats.get(e.source, 1) for e in examples]
    job = job_of([tmp_path / "d"], recipe)
    assert job.comparisons == sum(often)
    assert job.pairs == pytest.approx(
        sum(n * e.pairs for n, e in zip(often, examples, strict=True))
    )


def test_this_machine(tmp_path):
    """One process without GPUs: what is free, a measured peak, and the real number of weights."""
    base, data = tiny_base(tmp_path / "base"), toy_data(tmp_path / "data")
    recipe = toy_recipe()
    plan = plan_training(read_config(base), recipe, job_of([data], recipe))
    assert (plan.nodes, plan.processes, plan.shards) == (None, 1, 1)
    assert plan.room < 2 * free_bytes()
    trained = sum(p.numel() for p in base_model(base, recipe).parameters() if p.requires_grad)
    assert plan.trained == trained
    assert "this machine's processor" in str(plan)
    with pytest.raises(ConfigError, match="leaves none of the 2 layers"):
        plan_training(read_config(base), toy_recipe("model.frozen_layers=2"), JOB)
