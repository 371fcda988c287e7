"""What a run takes before it starts: bytes of each process, layout, tokens and time.

    plan = plan_training(read_config(base), recipe, job_of(data, recipe))
    print(plan)

`[parallel]` says which GPUs to plan for; without `nodes` it is the fewest that hold the run. A base
needs no weights for that, only its config.json. With the layout "replicate" and no `nodes` the plan
is for one process on this machine's processor. Bytes are by formula (`memory.py`, whose activations
were held against real peaks on a processor), times by the products' operations at a stated share of
the peak: nothing here was measured on a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from worldpm.model.config import ModelConfig
from worldpm.model.memory import free_bytes, gb
from worldpm.model.outline import rough_tokens
from worldpm.records import Comparison
from worldpm.store import read_artifact, read_manifest
from worldpm.tokens.tree import build_tree
from worldpm.train.begin import DTYPES, check_layers
from worldpm.train.flops import matrix_rate, step_flops
from worldpm.train.loss import edge_weights
from worldpm.train.memory import HEADROOM, StepMemory, step_memory, trained_parameters
from worldpm.train.recipe import Recipe

SAMPLE = 2000  # comparisons by whose lengths those of all are judged
MOST_NODES = 1024
LIBRARY_BYTES = 2 * 10**9  # of a GPU: CUDA's context, kernels, and what NCCL holds


@dataclass(frozen=True, slots=True)
class Job:
    """The data of a run, about: lengths are those of a sample, four characters a token."""

    comparisons: int  # of one epoch
    tokens: int  # of all epochs, prompts once
    pairs: float  # of all epochs, as the recipe counts them
    longest: int  # tokens of a conversation, on average


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Bytes are of one process at its fullest, seconds of the whole run."""

    parameters: int
    trained: int
    layout: str
    nodes: int | None  # None: this machine's processor
    processes: int
    shards: int  # processes that hold one copy together
    weights: int
    gradients: int
    optimizer: int
    gathered: int  # what is whole for a while: layers, the embedding with its gradient
    activations: int  # of a micro-batch as the run will keep them
    activations_kept: int  # were no layer computed again
    activations_recomputed: int  # were every layer computed again
    recomputes: bool
    total: int
    room: int  # of a GPU or of this machine, with some left free
    checkpoint_bytes: int  # on disk, each
    job: Job
    steps: int
    flops: float
    peak: float  # operations a second of one process
    utilisation: float
    seconds: float

    @property
    def fits(self) -> bool:
        """Whether a process has room for its bytes."""
        return self.total <= self.room

    def __str__(self) -> str:
        where = "1 process on this machine's processor"
        if self.nodes is not None:
            each = self.processes // self.nodes
            where = f"{self.nodes} x {each} GPUs, {self.layout}"
            if self.shards > 1:
                where += f": a copy is held by {self.shards}"
        fits = "fits" if self.fits else "DOES NOT FIT"
        peak = f"{self.peak / 1e12:.3g} TFLOP/s {'measured' if self.nodes is None else 'stated'}"
        again = "computed again in the backward pass" if self.recomputes else "kept"
        return "\n".join(
            [
                "estimate     by the shape and a sample of the data; not measured on a GPU",
                f"parameters   {self.parameters:,}, {self.trained:,} of them trained",
                f"layout       {where}",
                f"a process    {gb(self.weights)} weights, {gb(self.gradients)} gradients, "
                f"{gb(self.optimizer)} optimiser, {gb(self.gathered)} gathered for a while",
                f"activations  {gb(self.activations)}: layers are {again}; "
                f"{gb(self.activations_kept)} kept, {gb(self.activations_recomputed)} again",
                f"memory       {gb(self.total)} of {gb(self.room)} a process: {fits}",
                f"checkpoint   {gb(self.checkpoint_bytes)} on disk, each",
                f"data         about {self.job.tokens:,} tokens, {self.job.pairs:,.0f} pairs, "
                f"{self.steps:,} steps",
                f"time         about {_duration(self.seconds)} at {self.utilisation:.0%} of {peak} "
                f"a process ({self.flops:.2e} operations)",
            ]
        )


def job_of(folders: Sequence[Path], recipe: Recipe) -> Job:
    """The training part of every folder: counts by its manifest, the rest by its first rows.

    As in training, rows without an edge count nothing unless ratings are fitted, and a source as
    often as the recipe repeats it.
    """
    comparisons = tokens = pairs = longest = 0.0
    for folder in folders:
        count = read_manifest(folder)["counts"].get("train", 0)
        if not count:
            continue
        rows: list[Comparison] = list(islice(read_artifact(folder, Comparison, "train"), SAMPLE))
        share = count / max(1, len(rows))
        used = [each for each in rows if each.better or recipe.loss.attributes]
        _, counted = edge_weights(
            [max(1, len(each.better)) for each in used],
            [len(each.replies) for each in used],
            recipe.data.weighting,
        )
        for each, own in zip(used, counted, strict=True):
            often = share * recipe.data.repeats.get(each.source, 1)
            alone = Comparison(each.id, each.source, None, each.prompt, each.replies[:1], ())
            comparisons += often
            tokens += often * rough_tokens([each])
            pairs += often * own
            longest += often * rough_tokens([alone])
    epochs = recipe.data.epochs
    mean = round(longest / comparisons) if comparisons else 0
    return Job(round(comparisons), round(epochs * tokens), epochs * pairs, max(1, mean))


def plan_training(config: ModelConfig, recipe: Recipe, job: Job) -> TrainingPlan:
    """The plan for the GPUs that `[parallel]` names, or for this machine's processor.

    Raises ConfigError for a recipe that leaves no layer of the base to train.
    """
    check_layers(config, recipe)
    settings = recipe.parallel
    if settings.nodes is None and settings.layout == "replicate":
        peak = matrix_rate(DTYPES[recipe.model.dtype], torch.device("cpu"))
        return _plan(config, recipe, job, None, int(HEADROOM * free_bytes()), peak)
    room = int(HEADROOM * settings.gpu_gigabytes * 1e9)
    peak = settings.gpu_teraflops * 1e12
    most = MOST_NODES if settings.layout == "shard" else 1  # replicas hold no less for being many
    fewest = range(1, most + 1) if settings.nodes is None else [settings.nodes]
    for nodes in fewest:
        plan = _plan(config, recipe, job, nodes, room, peak)
        if plan.fits:
            break
    return plan


def _plan(
    config: ModelConfig, recipe: Recipe, job: Job, nodes: int | None, room: int, peak: float
) -> TrainingPlan:
    settings = recipe.parallel
    processes = 1 if nodes is None else nodes * settings.gpus_per_node
    shards = {
        "replicate": 1,
        "shard": processes,
        "hybrid": min(processes, settings.shard_processes or settings.gpus_per_node),
    }[settings.layout]
    shards = 1 if nodes is None else shards
    tokens = recipe.data.micro_batch_tokens
    # Attention on a GPU keeps no weights; on a processor those of tokens and what they see.
    seen = tokens * min(tokens, job.longest) // 2 if nodes is None else 0
    kept, again = (
        step_memory(config, recipe, tokens, seen, recomputes=recomputes)
        for recomputes in (False, True)
    )
    setting = recipe.run.activation_checkpointing
    always = setting == "always" or (setting == "auto" and (shards > 1))
    states = [-(-size // shards) for size in (kept.weights, kept.gradients, kept.optimizer)]
    gathered = _gathered(config, recipe) if shards > 1 else kept.copies
    libraries = 0 if nodes is None else LIBRARY_BYTES

    def total(memory: StepMemory) -> int:
        return sum(states) + gathered + memory.activations + memory.passing + libraries

    recomputes = always or (setting == "auto" and total(kept) > room)
    memory = again if recomputes else kept
    tree = build_tree([[0] * job.longest])
    flops = job.tokens * step_flops(config, recipe, [tree]) / job.longest
    trained = trained_parameters(config, recipe)
    return TrainingPlan(
        parameters=config.num_parameters() + config.vocab_size * config.hidden_size,
        trained=trained,
        layout=settings.layout,
        nodes=nodes,
        processes=processes,
        shards=shards,
        weights=states[0],
        gradients=states[1],
        optimizer=states[2],
        gathered=gathered,
        activations=memory.activations + memory.passing,
        activations_kept=kept.activations + kept.passing,
        activations_recomputed=again.activations + again.passing,
        recomputes=recomputes,
        total=total(memory),
        room=room,
        checkpoint_bytes=12 * trained,  # float32 masters and two moments
        job=job,
        steps=max(1, round(job.pairs / recipe.data.batch_pairs)),
        flops=flops,
        peak=peak,
        utilisation=settings.utilisation,
        seconds=flops / (peak * processes * settings.utilisation),
    )


def _gathered(config: ModelConfig, recipe: Recipe) -> int:
    """What FSDP2 has whole at once, at most: this layer and the next with the layer's gradient.

    Or the embedding, with its gradient and the copy that is summed over the processes; it is
    gathered in float32. The last norm and the head stay whole through a step.
    """
    hidden = config.hidden_size
    full = recipe.lora.rank == 0
    width = 2 if recipe.model.dtype == "bfloat16" else 4
    layer = config.layer_parameters()
    layers = 2 * width * layer + ((width + 4) * layer if full else 0)
    table = config.vocab_size * hidden
    embedding = (3 * 4 if full and not recipe.model.frozen_layers else width) * table
    head = hidden * (hidden + 1) if recipe.model.head == "mlp" else hidden
    return max(layers, embedding) + 3 * 4 * head


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
