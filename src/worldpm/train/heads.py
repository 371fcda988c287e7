"""Heads of a regression: one output for each rated attribute, folded into one score at the end.

    base's state + recipe -> new_head(...)         the head to train: A outputs, else one
    head + mean ratings   -> start_at(head, means) predictions begin at the mean
    head + [loss]         -> folded(head, ...)     the weighted sum as a head of one output

Since a score is a weighted sum of the attributes, and they are linear in the last hidden state, the
sum is itself one row: what is written is a model like any other, and RUN/attribute_head.safetensors
keeps the rows apart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from worldpm.model.checkpoint import head_of
from worldpm.model.decoder import linear_head, mlp_head
from worldpm.train.examples import Example
from worldpm.train.recipe import LossSettings, Recipe

ATTRIBUTE_HEAD = "attribute_head.safetensors"


def new_head(state: dict[str, Tensor], hidden_size: int, recipe: Recipe, base: Path) -> nn.Module:
    """The head to train; its values are put into `state`, the base's, as `score.*`.

    The base's own if it has one, its last layer new for a regression; else a new one of the recipe.
    A new last layer starts at zero, so that training starts at one score for every reply.
    """
    outputs = len(recipe.loss.attributes)
    if given := any(name.startswith("score.") for name in state):
        head = head_of(state, hidden_size, base)
        if not outputs:
            return head
    else:
        head = (linear_head if recipe.model.head == "linear" else mlp_head)(hidden_size)
    last = last_layer(head)
    if outputs:
        last = nn.Linear(last.in_features, outputs)
        head = nn.Sequential(*list(head)[:-1], last) if isinstance(head, nn.Sequential) else last
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    fresh = {f"score.{name}": tensor for name, tensor in head.state_dict().items()}
    if given:  # the first layer of the base's MLP head stays
        fresh = {name: t for name, t in fresh.items() if not name.startswith("score.0.")}
    state |= fresh
    return head


def last_layer(head: nn.Module) -> nn.Linear:
    """The layer that a head's outputs come from."""
    *_, last = (module for module in head.modules() if isinstance(module, nn.Linear))
    return last


def head_like(head: nn.Module) -> nn.Module:
    """A head of the same shape, its values new."""
    if isinstance(head, nn.Sequential):
        return nn.Sequential(head_like(head[0]), nn.ReLU(), head_like(head[2]))
    assert isinstance(head, nn.Linear)
    return nn.Linear(head.in_features, head.out_features, bias=head.bias is not None)


@torch.no_grad()
def start_at(head: nn.Module, examples: Sequence[Example]) -> None:
    """Let a new regression head predict each attribute's mean over the examples.

    Ratings run from 0 to 4 or 1 to 10; at a learning rate of 3e-6 a bias would never get there.
    """
    ratings = torch.tensor([own for example in examples for own in example.ratings])
    last_layer(head).bias.copy_(ratings.nanmean(0).nan_to_num())


@torch.no_grad()
def folded(head: nn.Module, settings: LossSettings) -> nn.Module:
    """A head of one output: the weighted sum of a regression's; any other head as it is.

    A linear head comes without a bias, as `*ForSequenceClassification` has none: it is one constant
    in all scores and changes no comparison.
    """
    if not settings.attributes:
        return head
    old = last_layer(head)
    weights = torch.tensor(list(settings.attributes.values()))
    if not isinstance(head, nn.Sequential):
        new = linear_head(old.in_features)
        new.weight.copy_(weights[None] @ old.weight)
        return new
    last = nn.Linear(old.in_features, 1)
    last.weight.copy_(weights[None] @ old.weight)
    last.bias.copy_(weights[None] @ old.bias)
    return nn.Sequential(*list(head)[:-1], last)


def keep_attributes(head: nn.Module, attributes: Mapping[str, float], run: Path) -> None:
    """Write the head of a regression with its rows apart; the metadata say name and weight."""
    tensors = {name: tensor.contiguous() for name, tensor in head.state_dict().items()}
    names = {name: f"{weight:g}" for name, weight in attributes.items()}
    save_file(tensors, run / ATTRIBUTE_HEAD, {"order": "\n".join(attributes), **names})
