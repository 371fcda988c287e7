"""The optimiser and its schedule."""

import math

import torch
from torch import nn

from worldpm.train.recipe import OptimSettings


def build_optimizer(trained: dict[str, nn.Parameter], settings: OptimSettings) -> torch.optim.AdamW:
    """AdamW with decay on matrices only, and the head's own learning rate if the recipe gives one.

    The fused kernel takes 76 ms a step for 135M parameters on one thread, `foreach` 270 ms.
    """
    head_lr = settings.lr if settings.head_lr is None else settings.head_lr
    groups = []
    for is_head in (False, True):
        for decays in (True, False):
            members = [
                p
                for name, p in trained.items()
                if name.startswith("score.") == is_head and (p.ndim > 1) == decays
            ]
            lr = head_lr if is_head else settings.lr
            if members:
                decay = settings.weight_decay if decays else 0.0
                groups.append({"params": members, "weight_decay": decay, "lr": lr, "base_lr": lr})
    return torch.optim.AdamW(groups, betas=settings.betas, eps=settings.eps, fused=True)


def learning_rate_factor(step: int, num_steps: int, settings: OptimSettings) -> float:
    """What the base learning rate is multiplied with at `step`, counted from 0.

    Linear warm-up over `warmup_ratio` of the steps, then constant (the paper's schedule, appendix
    A.3) or a cosine to zero.
    """
    warmup = max(1, round(settings.warmup_ratio * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, num_steps - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * done))
