"""The schedule, and who is decayed and at what rate."""

import math

import pytest
import torch
from torch import nn

from worldpm.train.optim import build_optimizer, learning_rate_factor
from worldpm.train.recipe import OptimSettings


def factors(num_steps, **settings):
    return [
        learning_rate_factor(step, num_steps, OptimSettings(**settings))
        for step in range(num_steps)
    ]


def test_papers_schedule():
    """Linear warm-up over a tenth of the steps, then constant (appendix A.3)."""
    assert factors(40) == pytest.approx([0.25, 0.5, 0.75, *[1.0] * 37])
    assert OptimSettings().warmup_ratio == 0.1
    assert OptimSettings().schedule == "constant"


def test_cosine():
    """After the warm-up half a cosine down to zero, through one half at its middle."""
    found = factors(20, schedule="cosine", warmup_ratio=0.2)
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert found[12] == pytest.approx(0.5)
    assert found[19] == pytest.approx(0.5 * (1 + math.cos(math.pi * 15 / 16)))
    assert found[4:] == sorted(found[4:], reverse=True)


@pytest.mark.parametrize("num_steps", [1, 2, 7])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_no_step_without_a_rate(num_steps, ratio, schedule):
    """However few the steps, each has a factor in (0, 1], and no warm-up starts at 1."""
    found = factors(num_steps, warmup_ratio=ratio, schedule=schedule)
    assert all(0 < factor <= 1 for factor in found)
    assert ratio > 0 or found[0] == 1


@pytest.fixture
def trained():
    return {
        name: nn.Parameter(torch.ones(shape))
        for name, shape in {
            "model.layers.0.mlp.up_proj.weight": (2, 2),
            "model.norm.weight": (2,),
            "score.0.weight": (2, 2),
            "score.0.bias": (2,),
        }.items()
    }


def test_groups(trained):
    """Matrices decay, vectors do not; the head has its own rate; each parameter stands once."""
    optimizer = build_optimizer(trained, OptimSettings(lr=1e-3, head_lr=5e-3, weight_decay=0.2))
    found = {
        next(n for n, q in trained.items() if q is p): (g["weight_decay"], g["lr"], g["base_lr"])
        for g in optimizer.param_groups
        for p in g["params"]
    }
    assert found == {
        "model.layers.0.mlp.up_proj.weight": (0.2, 1e-3, 1e-3),
        "model.norm.weight": (0.0, 1e-3, 1e-3),
        "score.0.weight": (0.2, 5e-3, 5e-3),
        "score.0.bias": (0.0, 5e-3, 5e-3),
    }
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(trained)


def test_one_rate_unless_given(trained):
    """Without head_lr the head learns at lr."""
    optimizer = build_optimizer(trained, OptimSettings(lr=1e-3))
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}


def test_a_step_by_hand(trained):
    """The first AdamW step moves by lr, after the decay, whatever the gradient's size."""
    optimizer = build_optimizer(trained, OptimSettings(lr=0.1, weight_decay=0.5, eps=1e-12))
    for parameter in trained.values():
        parameter.grad = torch.full_like(parameter, 3.0)
    optimizer.step()
    matrix, vector = list(trained.values())[:2]
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 1 * (1 - 0.05) - 0.1))
    torch.testing.assert_close(vector.detach(), torch.full((2,), 0.9))
