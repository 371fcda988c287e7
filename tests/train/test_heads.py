"""Heads of a regression: they begin at the mean, and folded they score as their weighted sum."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from worldpm.model.decoder import linear_head, mlp_head
from worldpm.tokens.tree import build_tree
from worldpm.train.examples import Example
from worldpm.train.heads import (
    ATTRIBUTE_HEAD,
    folded,
    head_like,
    keep_attributes,
    new_head,
    start_at,
)
from worldpm.train.recipe import LossSettings, ModelSettings, Recipe

NOWHERE = Path("base")
LOSS = LossSettings(kind="regression", attributes={"helpfulness": 0.5, "verbosity": -2.0})


def recipe(kind="linear", loss=LOSS):
    return Recipe(model=ModelSettings(head=kind), loss=loss)


def loud(head):
    """Every parameter away from zero, so that a lost one shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return head


def rated(*ratings):
    return Example("toy", build_tree([[1, 2]] * len(ratings)), (), (), (), (), 1.0, ratings)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_new_head_has_an_output_for_each_attribute(kind):
    """Its last layer is zero, and the state to load has just its tensors."""
    state = {}
    head = new_head(state, 8, recipe(kind), NOWHERE)
    assert head(torch.randn(3, 8)).tolist() == [[0.0, 0.0]] * 3
    assert state.keys() == {f"score.{name}" for name in head.state_dict()}
    plain = new_head({}, 8, recipe(kind, LossSettings()), NOWHERE)
    assert plain(torch.randn(3, 8)).tolist() == [[0.0]] * 3


@pytest.mark.parametrize("make", [linear_head, mlp_head])
def test_a_base_keeps_its_head_unless_attributes_need_another(make):
    """All of it for comparisons; for a regression the first layer of an MLP."""
    own = {f"score.{name}": tensor for name, tensor in loud(make(8)).state_dict().items()}
    state = dict(own)
    new_head(state, 8, recipe(loss=LossSettings()), NOWHERE)
    assert all(state[name] is tensor for name, tensor in own.items())
    head = new_head(state, 8, recipe(), NOWHERE)
    head.load_state_dict({name.removeprefix("score."): t for name, t in state.items()})
    kept = [name for name in own if name.startswith("score.0.")]
    assert all(state[name] is own[name] for name in kept)
    assert head(torch.randn(3, 8)).tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_it_starts_at_the_mean_rating(kind):
    """Of each attribute, over the ratings there are."""
    nan = float("nan")
    head = new_head({}, 8, recipe(kind), NOWHERE)
    start_at(head, [rated((4.0, nan), (1.0, 1.0)), rated((nan, 2.0))])
    assert head(torch.randn(1, 8)).tolist() == [[2.5, 1.5]]


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_folding_changes_no_difference_of_scores(kind):
    """One output, the attributes' weighted sum; a linear head loses a constant, an MLP none."""
    head = loud(new_head({}, 8, recipe(kind), NOWHERE))
    hidden = torch.randn(5, 8)
    with torch.no_grad():
        expected = head(hidden) @ torch.tensor([0.5, -2.0])
        found = folded(head, LOSS)(hidden)[:, 0]
    lost = 0.5 * head.bias[0] - 2 * head.bias[1] if kind == "linear" else torch.zeros(())
    torch.testing.assert_close(found + lost, expected, atol=1e-5, rtol=1e-5)
    assert abs(float(expected[0] - expected[1])) > 0.1


def test_a_head_of_one_score_is_not_folded():
    """It is the same object, whatever the other settings."""
    head = linear_head(8)
    assert folded(head, LossSettings()) is head


def test_the_rows_are_kept_apart(tmp_path):
    """With the attributes' names, in order, and weights."""
    head = loud(new_head({}, 8, recipe(), NOWHERE))
    keep_attributes(head, LOSS.attributes, tmp_path)
    with safe_open(tmp_path / ATTRIBUTE_HEAD, "pt") as file:
        assert torch.equal(file.get_tensor("weight"), head.weight)
        assert file.metadata() == {
            "order": "helpfulness\nverbosity", "helpfulness": "0.5", "verbosity": "-2",
        }  # fmt: skip


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("loss", [LOSS, LossSettings()])
def test_a_head_like_another_takes_its_values(kind, loss):
    """Strictly, whatever the number of outputs and with a bias or without."""
    head = loud(new_head({}, 8, recipe(kind, loss), NOWHERE))
    twin = head_like(head)
    twin.load_state_dict(head.state_dict())
    hidden = torch.randn(2, 8)
    assert torch.equal(twin(hidden), head(hidden))
