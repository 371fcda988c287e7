"""What is kept on disk is what was computed, for that tree and those layers and no others."""

from dataclasses import replace

import pytest
import torch
from tiny import metrics, small_model, tiny_base, toy_data, toy_recipe

from worldpm.errors import UnwrittenError
from worldpm.model.checkpoint import read_model
from worldpm.records import Comparison
from worldpm.score import load
from worldpm.store import read_artifact
from worldpm.tokens.tree import build_tree
from worldpm.train import shelf as shelf_module
from worldpm.train.frozen import Shelved
from worldpm.train.run import train
from worldpm.train.shelf import Shelf, frozen_digest, parts_of


@pytest.fixture
def model(tmp_path):
    return read_model(small_model(tmp_path / "model"))


def forbidden():
    raise AssertionError("it is there already")


def test_a_value_is_computed_once(tmp_path):
    """Another run reads the same bits, and nothing is computed again."""
    tree, value = build_tree([[1, 2, 3], [1, 2, 4]]), torch.randn(4, 8)
    assert Shelf(tmp_path, "a").get(parts_of(tree), lambda: value) is value
    assert torch.equal(Shelf(tmp_path, "a").get(parts_of(tree), forbidden), value)


@pytest.mark.parametrize(
    "other", [[[1, 2, 3], [1, 2, 5]], [[1, 2, 3, 4]], [[1, 2], [3, 4]], [[1, 2, 3], [4]]]
)
def test_another_tree_is_another_value(tmp_path, other):
    """Tokens and shape both count: the same tokens in other segments are other states."""
    Shelf(tmp_path, "a").get(parts_of(build_tree([[1, 2, 3], [1, 2, 4]])), lambda: torch.zeros(1))
    found = Shelf(tmp_path, "a").get(parts_of(build_tree(other)), lambda: torch.ones(1))
    assert float(found) == 1


def test_other_layers_are_other_values(tmp_path, model):
    """Any weight below counts, as does how many layers; what is above does not."""
    tree = build_tree([[1, 2]])
    before = frozen_digest(model, 1)
    assert before != frozen_digest(model, 2)
    model.model.layers[1].mlp.up_proj.weight[0, 0] += 1
    model.score.weight[0, 0] += 1
    assert frozen_digest(model, 1) == before
    model.model.layers[0].mlp.up_proj.weight[0, 0] += 1
    assert frozen_digest(model, 1) != before
    Shelf(tmp_path, before).get(parts_of(tree), lambda: torch.zeros(1))
    assert (
        float(Shelf(tmp_path, frozen_digest(model, 1)).get(parts_of(tree), lambda: torch.ones(1)))
        == 1
    )


@pytest.mark.parametrize("change", [{"rope_theta": 5e5}, {"rms_norm_eps": 1e-5}])
def test_another_arithmetic_is_another_value(model, change):
    """The same weights under another config.json are other layers."""
    before = frozen_digest(model, 1)
    model.model.config = replace(model.model.config, num_hidden_layers=7)
    assert frozen_digest(model, 1) == before
    model.model.config = replace(model.model.config, **change)
    assert frozen_digest(model, 1) != before


@pytest.mark.parametrize("keep", [0, 20, 200])
def test_a_file_cut_short_is_made_again(tmp_path, keep):
    """A disk that lost the end of a file costs time and nothing else."""
    tree, value = build_tree([[1, 2, 3]]), torch.randn(3, 64)
    Shelf(tmp_path, "a").get(parts_of(tree), lambda: value)
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:keep])
    assert torch.equal(Shelf(tmp_path, "a").get(parts_of(tree), lambda: value), value)
    assert torch.equal(Shelf(tmp_path, "a").get(parts_of(tree), forbidden), value)


def test_a_full_disk(tmp_path, monkeypatch):
    """It is one sentence, and no half file takes the rest of the disk."""

    def full(file, array, **flags):
        file.write(b"half")
        raise OSError("192 requested and 4 written")  # numpy's own, without a number

    monkeypatch.setattr(shelf_module.np, "save", full)
    with pytest.raises(UnwrittenError, match=r"192 requested and 4 written.*--frozen-cache"):
        Shelf(tmp_path, "a").get(parts_of(build_tree([[1, 2, 3]])), lambda: torch.randn(3, 16))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_runs_that_share_a_shelf_learn_the_same(tmp_path):
    """A second run reads what the first computed, and its losses are bitwise those without it."""
    base, data = tiny_base(tmp_path / "base", layers=3), toy_data(tmp_path / "data", 24, 8)
    recipe = toy_recipe("model.frozen_layers=2", "lora.rank=2")
    shelf = tmp_path / "shelf"
    train(recipe, base, [data], tmp_path / "plain", quiet=True)
    train(recipe, base, [data], tmp_path / "first", frozen_cache=shelf, quiet=True)
    made = {path: path.stat().st_mtime_ns for path in shelf.rglob("*.npy")}
    assert len(made) == 32
    train(recipe, base, [data], tmp_path / "second", frozen_cache=shelf, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in shelf.rglob("*.npy")} == made
    losses = [
        [row["loss_nats"] for row in metrics(tmp_path / name, "step")]
        for name in ("plain", "first", "second")
    ]
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_shelved_model_has_the_models_bits(tmp_path, engine):
    """Frozen layers come from the shelf the second time; with the last layer changed it is seen."""
    if engine == "native":
        pytest.importorskip("worldpm_kernels")
    folder = small_model(tmp_path / "model")
    comparisons = list(read_artifact(toy_data(tmp_path / "data", 20, 4), Comparison, "train"))
    scorer = load(folder, dtype="float32", engine=engine)
    plain = scorer.score(comparisons)
    shelf, resident = Shelf(tmp_path / "shelf", "a"), scorer.runner
    for _ in range(2):
        scorer.runner = Shelved(resident, 1, shelf)
        assert scorer.score(comparisons) == plain
        resident.layers[0] = resident.embedding = None  # nobody may need them again
    resident.layers[1] = lambda residual, plan: residual
    assert scorer.score(comparisons) != plain
