"""The training loop: examples and a recipe -> a trained model, resumable at any step.

    base checkpoint + DATA folders + recipe -> RUN/{metrics.jsonl, checkpoints/, adapter/, model/}

Everything random is a pure function of the recipe's seed and the step, so a resumed run goes on
exactly where it was. The frozen layers below the trained ones run once for each tree, alone, and
their output is kept in memory up to a limit: computed together with others, its bits would depend
on which trees shared the batch.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldpm.errors import InterruptedRunError, WorldPMError
from worldpm.model.batch import collate
from worldpm.model.decoder import PreferenceModel
from worldpm.tokens.pack import pack
from worldpm.train.examples import Example, join_edges
from worldpm.train.loss import bradley_terry, edge_accuracy
from worldpm.train.objective import objective
from worldpm.train.optim import build_optimizer, learning_rate_factor
from worldpm.train.order import plan_steps
from worldpm.train.recipe import Recipe
from worldpm.train.state import load_checkpoint, save_checkpoint

Log = Callable[[dict[str, Any]], None]


@dataclass
class FrozenCache:
    """Outputs of the frozen layers by example, float32, up to `limit` bytes."""

    limit: int
    held: dict[int, Tensor] = field(default_factory=dict)
    size: int = 0

    def get(self, key: int, compute: Callable[[], Tensor]) -> Tensor:
        """The value of `key`, computed when it is not held."""
        if key in self.held:
            return self.held[key]
        value = compute()
        num_bytes = value.numel() * value.element_size()
        if self.size + num_bytes <= self.limit:
            self.held[key] = value
            self.size += num_bytes
        return value


class TreeScorer:
    """Scores examples with the layers above `frozen_layers` open to gradients."""

    def __init__(self, model: PreferenceModel, recipe: Recipe) -> None:
        self.model = model
        self.frozen = recipe.model.frozen_layers
        self.cache = FrozenCache(int(recipe.run.frozen_cache_gigabytes * 1e9))
        weights_are_masters = recipe.lora.rank == 0 and recipe.model.dtype == "bfloat16"
        self.autocast = weights_are_masters

    def __call__(self, examples: Sequence[Example], keys: Sequence[int]) -> Tensor:
        """Scores (replies of all examples,) in float32, in the order of `examples`."""
        decoder = self.model.model
        batch = collate([example.tree for example in examples])
        if self.frozen == 0:  # the embeddings may be trained: nothing to keep
            residual = decoder.embed(batch)
        else:
            residual = torch.cat(
                [
                    self.cache.get(key, lambda e=example: self._frozen_layers(e))  # type: ignore[misc]
                    for key, example in zip(keys, examples, strict=True)
                ]
            )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            residual = decoder.run_layers(residual, batch, self.frozen, len(decoder.layers))
        return self.model.apply_head(decoder.at_leaves(residual, batch))

    def _frozen_layers(self, example: Example) -> Tensor:
        with torch.no_grad():
            batch = collate([example.tree])
            embedded = self.model.model.embed(batch)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                return self.model.model.run_layers(embedded, batch, 0, self.frozen)


def micro_batches(examples: Sequence[Example], keys: Sequence[int], budget: int) -> list[list[int]]:
    """Split the keys of one step into groups under a token budget, each key exactly once."""
    groups = pack([examples[key].tree for key in keys], budget)
    return [[keys[i] for i in group] for group in groups]


def sample(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """At most `count` of `examples`, chosen by `seed` alone and left in their order."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return [examples[i] for i in sorted(order[:count].tolist())]


@torch.no_grad()
def validate(
    scorer: TreeScorer, examples: Sequence[Example], first_key: int, budget: int
) -> dict[str, Any]:
    """Loss (nats a pair) and accuracy, weighted as in training, over all and by source."""
    sums: dict[str, list[float]] = {}
    for group in micro_batches(examples, range(len(examples)), budget):
        chosen = [examples[i] for i in group]
        scores = scorer(chosen, [first_key + i for i in group])
        leaves = [len(example.tree.leaves) for example in chosen]
        for example, own in zip(chosen, torch.split(scores, leaves), strict=True):
            e = join_edges([example])
            found = (
                float(bradley_terry(own, e.winners, e.losers, e.weights)),
                edge_accuracy(own, e.winners, e.losers, e.weights),
                float(e.weights.sum()),
            )
            total = sums.setdefault(example.source, [0.0, 0.0, 0.0])
            total[:] = map(sum, zip(total, found, strict=True))

    def record(loss: float, right: float, weight: float) -> dict[str, float]:
        return {"loss_nats": loss / weight, "accuracy": right / weight, "pairs": weight}

    everything = record(*map(sum, zip(*sums.values(), strict=True)))
    return {**everything, "by_source": {s: record(*sums[s]) for s in sorted(sums)}}


def fit(
    model: PreferenceModel,
    examples: Sequence[Example],
    validation: Sequence[Example],
    recipe: Recipe,
    run: Path,
    *,
    resume: bool,
    log: Log,
    on_resume: Callable[[int, int | None], None] = lambda step, validated: None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> None:
    """Train the parameters of `model` that require gradients, in place.

    `log` gets one record a step ("step"), one a look at the validation set ("validation") and
    remarks ("note"). With `resume`, `on_resume` is told from which step it goes on and at which it
    last looked: records of later ones come again. Raises InterruptedRunError after saving when
    `stop_requested()` turns true, and WorldPMError when the loss is not finite three steps in a
    row.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = build_optimizer(trained, recipe.optim)
    repeats = [recipe.data.repeats.get(example.source, 1) for example in examples]
    pairs = [example.pairs for example in examples]
    steps = plan_steps(pairs, repeats, recipe.data.batch_pairs, recipe.data.epochs, recipe.seed)
    progress: dict[str, Any] = {
        "step": 0, "pairs": 0.0, "tokens": 0, "seconds": 0.0, "skipped_steps": 0, "validated": None,
    }  # fmt: skip
    if resume:
        found = load_checkpoint(
            run, trained, optimizer, lambda text: log({"kind": "note", "note": text})
        )
        if found:
            progress |= {"validated": found["step"], **found}
        on_resume(progress["step"], progress["validated"])
    scorer = TreeScorer(model, recipe)
    validation = sample(validation, recipe.run.validation_comparisons, recipe.seed)
    budget = recipe.data.micro_batch_tokens
    bad_steps = 0
    saved = time.monotonic()

    def save() -> None:
        save_checkpoint(run, trained, optimizer, progress, recipe.run.keep_checkpoints)

    def look_if_due() -> None:
        step = progress["step"]
        due = step % recipe.run.validate_every_steps == 0 or step == len(steps)
        if validation and due and progress["validated"] != step:
            found = validate(scorer, validation, len(examples), budget)
            log({"kind": "validation", "step": step, "pairs": progress["pairs"],
                 **{f"validation_{k}": v for k, v in found.items()}})  # fmt: skip
            progress["validated"] = step

    look_if_due()
    while progress["step"] < len(steps):
        started = time.monotonic()
        factor = learning_rate_factor(progress["step"], len(steps), recipe.optim)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        record = _step(
            scorer, examples, steps[progress["step"]], budget, trained, optimizer, recipe
        )
        bad_steps = bad_steps + 1 if record["skipped"] else 0
        seconds = time.monotonic() - started
        counts = {
            "step": progress["step"] + 1,
            "pairs": progress["pairs"] + record["step_pairs"],
            "tokens": progress["tokens"] + record["step_tokens"],
            "seconds": progress["seconds"] + seconds,
            "skipped_steps": progress["skipped_steps"] + record["skipped"],
        }
        progress |= counts
        log({"kind": "step", **counts, "steps": len(steps), **record, "step_seconds": seconds,
             "lr": optimizer.param_groups[0]["lr"]})  # fmt: skip
        if bad_steps == 3:
            raise WorldPMError(
                f"{run}: the loss or its gradient was not finite in steps {counts['step'] - 2} to "
                f"{counts['step']}; look at metrics.jsonl and start anew with a lower optim.lr"
            )
        if stop_requested():
            save()
            raise InterruptedRunError(f"{run}: stopped and saved; go on with --resume")
        look_if_due()
        if time.monotonic() - saved > recipe.run.checkpoint_every_seconds:
            save()
            saved = time.monotonic()
    save()


def _step(
    scorer: TreeScorer,
    examples: Sequence[Example],
    keys: Sequence[int],
    budget: int,
    trained: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
) -> dict[str, Any]:
    """One optimiser step over the comparisons `keys`; a step that is not finite is skipped."""
    total = sum(examples[key].pairs for key in keys)
    loss_nats = right = 0.0
    tokens = 0
    for group in micro_batches(examples, keys, budget):
        chosen = [examples[key] for key in group]
        edges = join_edges(chosen)
        scores = scorer(chosen, group)
        loss = objective(scores, chosen, recipe.loss) / total
        loss.backward()  # type: ignore[no-untyped-call]
        loss_nats += float(loss.detach())
        right += edge_accuracy(scores, edges.winners, edges.losers, edges.weights) / total
        tokens += sum(example.tree.tokens.size for example in chosen)
    norm = float(nn.utils.clip_grad_norm_(trained.values(), recipe.optim.max_grad_norm))
    skipped = not (math.isfinite(loss_nats) and math.isfinite(norm))
    if not skipped:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"loss_nats": loss_nats, "accuracy": right, "grad_norm": norm, "step_pairs": total,
            "step_tokens": tokens, "skipped": skipped}  # fmt: skip
