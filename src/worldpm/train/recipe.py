"""The settings of a training run: what a recipe in `recipes/` may say, and its defaults.

Paths (data, base model, output) are flags of `worldpm train`; everything that decides the numbers
is here and is recorded with the run.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from worldpm.config import Settings


def _key(description: str, default: Any, **bounds: Any) -> Any:
    return Field(default=default, description=description, **bounds)


class Group(Settings):
    """A group of a recipe: its numbers are finite, for JSON, which records them, has no others."""

    model_config = ConfigDict(allow_inf_nan=False)


class LoRASettings(Group):
    """Low-rank adaptation of the decoder's linear layers; rank 0 trains the weights themselves."""

    rank: int = _key("rank of the factors; 0 trains the weights themselves", 16, ge=0)
    alpha: float = _key("the factors' product is multiplied with alpha / rank", 32.0, gt=0)
    modules: tuple[str, ...] = _key(
        "linear layers to adapt; none trains the head alone",
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )


class ModelSettings(Group):
    """Which head to train, on how much of the decoder, at what precision."""

    head: Literal["linear", "mlp"] = _key("the new head, where the base has none", "linear")
    frozen_layers: int = _key("layers from the first on that are not trained", 0, ge=0)
    dtype: Literal["float32", "bfloat16"] = _key(
        "precision of the products; trained weights, the residual stream and the head keep float32",
        "bfloat16",
    )


class DataSettings(Group):
    """How comparisons become batches."""

    epochs: int = _key("passes over the data", 1, ge=1)
    repeats: dict[str, Annotated[int, Field(ge=0)]] = _key(
        "times that an epoch has the comparisons of a source, by its name; 1 where not named", {}
    )
    max_tokens: int = _key("replies with a longer conversation are left out", 2048, ge=16)
    max_tree_tokens: int = _key("comparisons with a larger token tree are left out", 8192, ge=16)
    micro_batch_tokens: int = _key("tokens computed together (memory, not meaning)", 2048, ge=16)
    batch_pairs: int = _key("pairs of one optimiser step, as `weighting` counts them", 32, ge=1)
    weighting: Literal["comparison", "replies", "edges"] = _key(
        "what a comparison of K replies counts: 1, K - 1, or its known edges", "replies"
    )


class LossSettings(Group):
    """What the scores are fitted to; `worldpm/train/loss.py` has the formulas and their sources."""

    kind: Literal["bradley-terry", "plackett-luce", "rao-kupper", "davidson", "regression"] = _key(
        "bradley-terry over the edges; plackett-luce where they rank all replies; rao-kupper or "
        "davidson where a pair without an edge was judged a tie, as nothing else makes it one; "
        "regression on the ratings of `attributes`",
        "bradley-terry",
    )
    attributes: dict[str, float] = _key(
        "the ratings that a regression fits, by name, and what each adds to the score; a rating "
        "that a reply lacks is left out",
        {},
    )
    soft_labels: bool = _key(
        "read an edge's weight w, which `worldpm pairs` makes of votes with certainty = true, as "
        "the probability (1 + w) / 2 that its winner is better; bradley-terry only",
        False,
    )
    margin_scale: float = _key(
        "a winner must lead by this times ln(1 + the edge's margin); bradley-terry only", 0.0, ge=0
    )
    label_smoothing: float = _key(
        "share of edges taken to be the wrong way round; bradley-terry only", 0.0, ge=0, lt=0.5
    )
    ties: float = _key(
        "rao-kupper's threshold, davidson's ln nu: how near two scores make a tie",
        0.5,
        gt=0,
        le=100,
    )
    centring: float = _key(
        "weight of (winner's + loser's score)^2, which keeps scores about zero; TRL advises 0.01",
        0.0,
        ge=0,
    )

    @model_validator(mode="after")
    def _settings_that_go_together(self) -> Self:
        for name in ("margin_scale", "label_smoothing", "soft_labels"):
            if self.kind != "bradley-terry" and getattr(self, name):
                raise ValueError(f"{name} does not go with {self.kind}")
        if (self.kind == "regression") != bool(self.attributes):
            raise ValueError("attributes must be named for regression, and for nothing else")
        if self.attributes and not any(self.attributes.values()):
            raise ValueError("attributes: all weigh 0, so that every score would be 0")
        return self


class OptimSettings(Group):
    """AdamW; the paper's schedule is a warm-up ratio of 0.1, then constant (appendix A.3)."""

    lr: float = _key("learning rate after the warm-up", 3e-6, gt=0)
    head_lr: float | None = _key("the head's own learning rate; `lr` if not given", None, gt=0)
    weight_decay: float = _key("decoupled decay of the matrices", 0.1, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = _key(
        "AdamW's decay rates of the two moments", (0.9, 0.999)
    )
    eps: float = _key("AdamW's addition to the denominator", 1e-8, gt=0)
    max_grad_norm: float = _key("gradients of a larger norm are scaled down to it", 1.0, gt=0)
    warmup_ratio: float = _key("share of the steps with a linear warm-up", 0.1, ge=0, le=1)
    schedule: Literal["constant", "cosine"] = _key("what follows the warm-up", "constant")


class RunSettings(Group):
    """When to look, when to save, and how much memory frozen activations may keep."""

    validate_every_steps: int = _key("steps from one validation to the next", 50, ge=1)
    validation_comparisons: int = _key(
        "comparisons of each validation set, sampled by the seed", 300, ge=1
    )
    checkpoint_every_seconds: float = _key("seconds from one checkpoint to the next", 180.0, gt=0)
    keep_checkpoints: int = _key("newest checkpoints that are kept", 2, ge=1)
    keep_best: bool = _key(
        "keep the checkpoint of the lowest validation loss, and make it RUN/model", False
    )
    activation_checkpointing: Literal["auto", "always", "never"] = _key(
        "whether layers are computed again for the backward pass, to save memory; the bits are "
        "the same, and auto does it for batches that would not fit",
        "auto",
    )
    frozen_cache_gigabytes: float = _key("memory for outputs of frozen layers", 4.0, ge=0)


class ParallelSettings(Group):
    """How several processes share a run (torchrun says how many), and what `--dry-run` plans for.

    Nothing here decides the numbers beyond rounding: a run may go on with another layout.
    """

    layout: Literal["replicate", "shard", "hybrid"] = _key(
        "replicate: every process holds the whole model; shard: a part of it (FSDP2); hybrid: "
        "`shard_processes` hold a copy together, and copies are replicated",
        "replicate",
    )
    shard_processes: int | None = _key(
        "processes that hold a copy together, hybrid only; a node's if not given", None, ge=1
    )
    nodes: int | None = _key("nodes to plan for; the fewest that fit if not given", None, ge=1)
    gpus_per_node: int = _key("GPUs of a node to plan for", 8, ge=1)
    gpu_gigabytes: float = _key("memory of such a GPU", 80.0, gt=0)
    gpu_teraflops: float = _key(
        "its peak of dense bfloat16 products; 989 is an H100's", 989.0, gt=0
    )
    utilisation: float = _key("share of the peak that a plan's time assumes", 0.4, gt=0, le=1)


class Recipe(Group):
    """A whole training run."""

    seed: int = _key("the seed of all that is random", 0, ge=0, lt=2**63)
    model: ModelSettings = ModelSettings()
    lora: LoRASettings = LoRASettings()
    data: DataSettings = DataSettings()
    loss: LossSettings = LossSettings()
    optim: OptimSettings = OptimSettings()
    run: RunSettings = RunSettings()
    parallel: ParallelSettings = ParallelSettings()
