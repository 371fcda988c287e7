"""Operations by formula: those that torch counts of the same step, and no more for sharing."""

import torch
from tiny import SMALL, toy_recipe
from torch.utils.flop_counter import FlopCounterMode

from worldpm.model.config import parse_config
from worldpm.tokens.tree import build_tree
from worldpm.train.flops import matrix_rate, speed, step_flops

CONFIG = parse_config(SMALL, "tiny")
LONG = list(range(10, 40))


def test_a_layer_by_hand():
    """One sequence of T tokens: 6 T a weight, and 12 a channel for each of T (T + 1) / 2 looks."""
    recipe = toy_recipe()
    weights = 16 * 16 * 2 + 16 * 8 * 2 + 3 * 16 * 24
    expected = 2 * (6 * weights * 30 + 12 * 16 * 30 * 31 // 2)
    assert step_flops(CONFIG, recipe, [build_tree([LONG])]) == expected


def test_what_is_frozen_or_shared_is_not_counted():
    """Frozen layers count nothing, LoRA saves a third of the rest, a prompt counts once."""
    tree = [build_tree([LONG])]
    whole = step_flops(CONFIG, toy_recipe(), tree)
    assert step_flops(CONFIG, toy_recipe("model.frozen_layers=1"), tree) == whole / 2
    lora = step_flops(CONFIG, toy_recipe("lora.rank=1"), tree)
    assert 0.6 * whole < lora < whole
    assert step_flops(CONFIG, toy_recipe("lora.rank=8"), tree) > lora
    shared = [build_tree([[*LONG, 1], [*LONG, 2]])]
    apart = [build_tree([[*LONG, 1]]), build_tree([[*LONG, 2]])]
    few, many = (step_flops(CONFIG, toy_recipe(), trees) for trees in (shared, apart))
    assert few < 0.55 * many


def test_torch_counts_the_same_for_the_weights():
    """Forward and backward of a layer's linear products, by torch's own counter."""
    layer = torch.nn.Linear(16, 24, bias=False)
    hidden = torch.randn(30, 16, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        layer(hidden).sum().backward()
    assert counter.get_total_flops() == 6 * 16 * 24 * 30


def test_speed_and_peak():
    """Rates are a step's counts over its seconds; the share is of all the processes' peak."""
    record = {"step_tokens": 100, "step_pairs": 8.0}
    found = speed(record, 2.0, 6e9, 1e9, world=4)
    assert found == {"tokens_per_second": 50, "pairs_per_second": 4, "matrix_share": 0.75}
    assert "matrix_share" not in speed(record, 2.0, 6e9, None, world=1)
    rate = matrix_rate(torch.float32, torch.device("cpu"))
    assert 1e8 < rate < 1e15
