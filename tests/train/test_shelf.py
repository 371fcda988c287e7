"""What is kept on disk is what was computed, for that tree and those layers and no others."""

import pytest
import torch
from tiny import small_model

from worldpm.model.checkpoint import read_model
from worldpm.tokens.tree import build_tree
from worldpm.train.shelf import Shelf, frozen_digest


@pytest.fixture
def model(tmp_path):
    return read_model(small_model(tmp_path / "model"))


def forbidden():
    raise AssertionError("it is there already")


def test_a_value_is_computed_once(tmp_path):
    """Another run reads the same bits, and nothing is computed again."""
    tree, value = build_tree([[1, 2, 3], [1, 2, 4]]), torch.randn(4, 8)
    assert Shelf(tmp_path, "a").get(tree, lambda: value) is value
    assert torch.equal(Shelf(tmp_path, "a").get(tree, forbidden), value)


@pytest.mark.parametrize(
    "other", [[[1, 2, 3], [1, 2, 5]], [[1, 2, 3, 4]], [[1, 2], [3, 4]], [[1, 2, 3], [4]]]
)
def test_another_tree_is_another_value(tmp_path, other):
    """Tokens and shape both count: the same tokens in other segments are other states."""
    Shelf(tmp_path, "a").get(build_tree([[1, 2, 3], [1, 2, 4]]), lambda: torch.zeros(1))
    found = Shelf(tmp_path, "a").get(build_tree(other), lambda: torch.ones(1))
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
    Shelf(tmp_path, before).get(tree, lambda: torch.zeros(1))
    assert float(Shelf(tmp_path, frozen_digest(model, 1)).get(tree, lambda: torch.ones(1))) == 1


@pytest.mark.parametrize("keep", [0, 20, 200])
def test_a_file_cut_short_is_made_again(tmp_path, keep):
    """A disk that lost the end of a file costs time and nothing else."""
    tree, value = build_tree([[1, 2, 3]]), torch.randn(3, 64)
    Shelf(tmp_path, "a").get(tree, lambda: value)
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:keep])
    assert torch.equal(Shelf(tmp_path, "a").get(tree, lambda: value), value)
    assert torch.equal(Shelf(tmp_path, "a").get(tree, forbidden), value)
