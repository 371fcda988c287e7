"""Operations by formula: those that torch counts of the same step, and no more for sharing."""

import pytest
import torch
from tiny import SMALL, toy_recipe
from torch.utils.flop_counter import FlopCounterMode

from worldpm.model.batch import collate
from worldpm.model.config import parse_config
from worldpm.model.decoder import PreferenceModel, linear_head
from worldpm.tokens.tree import build_tree
from worldpm.train.flops import matrix_rate, speed, step_flops

CONFIG = parse_config(SMALL, "tiny")
LONG = list(range(10, 40))


def test_a_layer_by_hand():
    """6 T a weight, 12 a channel for each of T (T + 1) / 2 looks; the last layer scores one."""
    recipe = toy_recipe()
    of_all, other = 16 * 8 * 2, 16 * 16 * 2 + 3 * 16 * 24
    expected = 6 * (of_all + other) * 30 + 12 * 16 * 30 * 31 // 2
    expected += 6 * (of_all * 30 + other) + 12 * 16 * 30
    assert step_flops(CONFIG, recipe, [build_tree([LONG])]) == expected


def test_what_is_frozen_or_shared_is_not_counted():
    """Frozen layers count nothing, LoRA saves a third of the rest, a prompt counts once."""
    tree = [build_tree([LONG])]
    whole = step_flops(CONFIG, toy_recipe(), tree)
    assert step_flops(CONFIG, toy_recipe("model.frozen_layers=1"), tree) < whole / 2
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


def test_torch_counts_the_same_for_a_step():
    """Forward and backward of the whole model over shared prompts, within 1 % of the formula.

    Torch counts in `bmm` what attention masks, too, which is little beside layers of this width.
    """
    hidden = 256
    raw = {**SMALL, "hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": 3}
    config = parse_config(raw, "tiny")
    model = PreferenceModel(config, linear_head(hidden))
    trees = [build_tree([[*LONG, 1, 2], [*LONG[:20], 3, 4, 5]]), build_tree([LONG])]
    with FlopCounterMode(display=False) as counter:
        model(collate(trees)).sum().backward()
    formula = step_flops(config, toy_recipe(), trees)
    assert counter.get_total_flops() == pytest.approx(formula, rel=0.01)
    # Attention apart: all tokens' looks in two layers, the scored ones' in the last.
    looks = 32 * 33 // 2 + (21 + 22 + 23) + 30 * 31 // 2
    attention = 12 * hidden * (2 * looks + 32 + 23 + 30)
    products = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    assert products == pytest.approx(formula - attention, rel=0.001)
