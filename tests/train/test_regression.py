"""A run on ratings: it fits the attributes and leaves an ordinary model that ranks by their sum."""

import random
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from tiny import metrics, tiny_base, toy_comparison, toy_recipe

from worldpm.model.adapter import read_adapter
from worldpm.model.checkpoint import read_config, read_model
from worldpm.records import Comparison
from worldpm.store import ArtifactWriter
from worldpm.train.heads import ATTRIBUTE_HEAD
from worldpm.train.run import train

RATED = [
    "loss.kind=regression",
    "loss.attributes={quality=1.0, length=-0.1}",
    "optim.head_lr=3e-2",
    "data.epochs=2",
]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A base, and data with a rating that the good reply has, and one that half lack."""
    folder, rng = tmp_path_factory.mktemp("rated"), random.Random(0)
    with ArtifactWriter(folder / "toy", Comparison, kind="comparisons", settings={}) as writer:
        for part, count in (("train", 96), ("validation", 24)):
            for number in range(count):
                row = toy_comparison(number, rng)
                ratings = [
                    {"quality": 4.0 if "good" in reply[0].content else 1.0}
                    | ({"length": 2.0} if place % 2 else {})
                    for place, reply in enumerate(row.replies)
                ]
                meta = {"replies": [{"ratings": each} for each in ratings]}
                edges = row.better if number % 3 or part == "validation" else ()
                writer.add(part, replace(row, meta=meta, better=edges))
    return tiny_base(folder / "base"), folder / "toy"


@pytest.fixture(scope="module")
def run(given, tmp_path_factory):
    """The folder of a whole run, and what it returned."""
    base, data = given
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, train(toy_recipe(*RATED), base, [data], folder, quiet=True)


def test_it_learns(run):
    """The squared error falls from the ratings' variance, and the sum ranks the good reply first.

    Rows of ratings without an edge are trained on.
    """
    folder, result = run
    steps = metrics(folder, "step")
    assert sum(step["step_pairs"] for step in steps) > 2 * 96
    assert steps[0]["squared_error"] > 0.8
    assert steps[-1]["squared_error"] < 0.5 * steps[0]["squared_error"]
    looks = metrics(folder, "validation")
    assert looks[0]["validation_accuracy"] == 0.5
    assert looks[-1]["validation_objective"] < 0.5 * looks[0]["validation_objective"]
    assert result["validation_accuracy"] > 0.9


def test_the_model_is_an_ordinary_one(run):
    """One output, the weighted sum of the rows that stand beside it."""
    folder, _ = run
    head = read_model(folder / "model").score
    assert head.weight.shape == (1, read_config(folder / "model").hidden_size)
    with safe_open(folder / ATTRIBUTE_HEAD, "pt") as file:
        rows = file.get_tensor("weight")
        assert file.metadata()["order"] == "quality\nlength"
    expected = torch.tensor([1.0, -0.1]) @ rows
    torch.testing.assert_close(head.weight[0], expected, atol=1e-6, rtol=1e-5)


def test_an_adapter_of_it_has_one_score(given, tmp_path):
    """LoRA's adapter carries the folded head, so that it is read as any other."""
    base, data = given
    recipe = toy_recipe(*RATED, "lora.rank=2", "data.epochs=1", "data.batch_pairs=60")
    train(recipe, base, [data], tmp_path / "run", quiet=True)
    adapter = read_adapter(tmp_path / "run" / "adapter")
    whole = read_model(tmp_path / "run" / "model").score.weight
    assert torch.equal(adapter.head["score.weight"], whole)
    assert whole.shape[0] == 1
    assert whole.abs().sum() > 0
