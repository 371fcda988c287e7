"""The settings of a training run: what a recipe in `recipes/` may say, and its defaults.

Paths (data, base model, output) are flags of `worldpm train`; everything that decides the numbers
is here and is recorded with the run.
"""

from typing import Literal

from pydantic import Field

from worldpm.config import Settings


class LoRASettings(Settings):
    """Low-rank adaptation of the decoder's linear layers; rank 0 trains the weights themselves."""

    rank: int = Field(default=16, ge=0)
    alpha: float = Field(default=32.0, gt=0)
    modules: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip


class ModelSettings(Settings):
    """Which head to train, on how much of the decoder, at what precision."""

    head: Literal["linear", "mlp"] = "linear"
    frozen_layers: int = Field(default=0, ge=0)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


class DataSettings(Settings):
    """How comparisons become batches. `repeats` gives passes over the data by source name."""

    epochs: int = Field(default=1, ge=1)
    repeats: dict[str, int] = Field(default_factory=dict)
    max_tokens: int = Field(default=2048, ge=16)
    max_tree_tokens: int = Field(default=8192, ge=16)
    micro_batch_tokens: int = Field(default=2048, ge=16)
    batch_pairs: int = Field(default=32, ge=1)
    weighting: Literal["comparison", "replies", "edges"] = "replies"


class OptimSettings(Settings):
    """AdamW; the paper's schedule is a warm-up ratio of 0.1, then constant (appendix A.3)."""

    lr: float = Field(default=3e-6, gt=0)
    head_lr: float | None = None
    weight_decay: float = Field(default=0.1, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    warmup_ratio: float = Field(default=0.1, ge=0, le=1)
    schedule: Literal["constant", "cosine"] = "constant"


class RunSettings(Settings):
    """When to look, when to save, and how much memory frozen activations may keep."""

    validate_every_steps: int = Field(default=50, ge=1)
    validation_comparisons: int = Field(default=300, ge=1)
    checkpoint_every_seconds: float = Field(default=180.0, gt=0)
    keep_checkpoints: int = Field(default=2, ge=1)
    frozen_cache_gigabytes: float = Field(default=4.0, ge=0)


class Recipe(Settings):
    """A whole training run."""

    seed: int = 0
    model: ModelSettings = ModelSettings()
    lora: LoRASettings = LoRASettings()
    data: DataSettings = DataSettings()
    optim: OptimSettings = OptimSettings()
    run: RunSettings = RunSettings()
