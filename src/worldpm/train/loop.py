"""The training loop: examples and a recipe -> a trained model, resumable at any step.

    base checkpoint + DATA folders + recipe -> RUN/{metrics.jsonl, checkpoints/, adapter/, model/}

Everything random is a pure function of the recipe's seed and the step, so a resumed run goes on
exactly where it was. Several processes (`Ranks`) go through it side by side: they share a step's
comparisons, and stop, save and skip at the same step.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldpm.errors import InterruptedRunError, WorldPMError
from worldpm.model.decoder import PreferenceModel
from worldpm.train.examples import Example
from worldpm.train.flops import speed, step_flops
from worldpm.train.optim import build_optimizer, learning_rate_factor
from worldpm.train.order import plan_steps
from worldpm.train.parallel import ALONE, Ranks
from worldpm.train.recipe import Recipe
from worldpm.train.state import check_room, load_checkpoint, save_checkpoint
from worldpm.train.step import TreeScorer, take_step
from worldpm.train.validation import sample, validate

Log = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Watch:
    """Someone who looks at the model between steps, and changes nothing.

    `see` gets the counts and the model right after each step, from 1, that `at` names of so many.
    No checkpoint of a step is written before it was seen, so a resumed run misses none; it may show
    one again.
    """

    at: Callable[[int], Collection[int]]
    see: Callable[[Mapping[str, Any], PreferenceModel], None]


def fit(
    model: PreferenceModel,
    examples: Sequence[Example],
    validation: Mapping[str, Sequence[Example]],
    recipe: Recipe,
    run: Path,
    *,
    resume: bool,
    log: Log,
    on_resume: Callable[[int, int | None], None] = lambda step, validated: None,
    stop_requested: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
    frozen_cache: Path | None = None,
    peak: float | None = None,
    watch: Watch | None = None,
) -> None:
    """Train the parameters of `model` that require gradients, in place.

    `log` gets one record a step ("step"), one a look at the validation sets ("validation"), remarks
    ("note") and which look was the best ("best"), whose weights `keep_best` leaves in `model`. With
    `resume`, `on_resume` is told from which step it goes on and at which it last looked: records of
    later ones come again. Raises InterruptedRunError after saving when `stop_requested()` turns
    true in any process, and WorldPMError when the loss is not finite three steps in a row, or where
    the disk has no room for a checkpoint. Each step says its share of `peak`, a process's floating-
    point operations a second. `watch` gets `flops`, too: those of all steps so far.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = build_optimizer(trained, recipe.optim)
    check_room(run, trained, ranks)
    repeats = [recipe.data.repeats.get(example.source, 1) for example in examples]
    pairs = [example.pairs for example in examples]
    steps = plan_steps(pairs, repeats, recipe.data.batch_pairs, recipe.data.epochs, recipe.seed)
    watched = frozenset(watch.at(len(steps))) if watch else frozenset()
    progress: dict[str, Any] = {
        "step": 0, "pairs": 0.0, "tokens": 0, "seconds": 0.0, "skipped_steps": 0, "validated": None,
        "best": None,
    }  # fmt: skip

    def note(text: str) -> None:
        log({"kind": "note", "note": text})

    if resume:
        found = load_checkpoint(run, trained, optimizer, note, ranks)
        if found:
            progress |= {"validated": found["step"], **found}
        on_resume(progress["step"], progress["validated"])
    device = next(model.parameters()).device
    scorer = TreeScorer(model, recipe, device, sharded=ranks.sharded, frozen_cache=frozen_cache)
    most = recipe.run.validation_comparisons
    sets = {name: sample(own, most, recipe.seed) for name, own in validation.items()}
    budget = recipe.data.micro_batch_tokens
    bad_steps: list[dict[str, Any]] = []
    saved = time.monotonic()

    def save() -> None:
        save_checkpoint(run, trained, optimizer, progress, recipe.run.keep_checkpoints, ranks)

    def look_if_due() -> None:
        step = progress["step"]
        due = step % recipe.run.validate_every_steps == 0 or step == len(steps)
        if sets and due and progress["validated"] != step:
            found = validate(scorer, sets, recipe.loss, len(examples), budget, ranks)
            log({"kind": "validation", "step": step, "pairs": progress["pairs"],
                 **{f"validation_{k}": v for k, v in found.items()}})  # fmt: skip
            progress["validated"] = step
            best = progress["best"]
            lowest = math.inf if best is None else best["objective"]
            if step and found["objective"] < lowest:
                progress["best"] = {"step": step, "objective": found["objective"]}
                if recipe.run.keep_best:
                    save()

    look_if_due()
    while progress["step"] < len(steps):
        started = time.monotonic()
        factor = learning_rate_factor(progress["step"], len(steps), recipe.optim)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        keys = steps[progress["step"]]
        record = take_step(scorer, examples, keys, budget, trained, optimizer, recipe, ranks)
        seconds = time.monotonic() - started
        counts = {
            "step": progress["step"] + 1,
            "pairs": progress["pairs"] + record["step_pairs"],
            "tokens": progress["tokens"] + record["step_tokens"],
            "seconds": progress["seconds"] + seconds,
            "skipped_steps": progress["skipped_steps"] + record["skipped"],
        }
        progress |= counts
        flops = step_flops(model.model.config, recipe, (examples[key].tree for key in keys))
        record |= {"lr": optimizer.param_groups[0]["lr"]}
        record |= speed(record, seconds, flops, peak, ranks.world)
        log({"kind": "step", **counts, "steps": len(steps), **record, "step_seconds": seconds})
        if watch and counts["step"] in watched:
            seen = (examples[key].tree for keys in steps[: counts["step"]] for key in keys)
            flops = step_flops(model.model.config, recipe, seen)
            watch.see({**counts, "steps": len(steps), "flops": flops}, model)
        bad_steps = [*bad_steps, {**counts, **record}] if record["skipped"] else []
        if len(bad_steps) == 3:
            raise WorldPMError(f"{run}: {diagnosis(bad_steps)}")
        overdue = time.monotonic() - saved > recipe.run.checkpoint_every_seconds
        signals = ranks.gather([stop_requested(), overdue])
        if any(stop for stop, _ in signals):
            save()
            raise InterruptedRunError(f"{run}: stopped and saved; go on with --resume")
        look_if_due()
        if signals[0][1]:  # by the first one's clock, that all may save together
            save()
            saved = time.monotonic()
    save()
    if best := progress["best"]:
        kept = recipe.run.keep_best
        if kept and best["step"] != progress["step"]:
            found = load_checkpoint(run, trained, optimizer, note, ranks, best["step"])
            kept = found is not None
        log({"kind": "best", **best, "kept": kept})


def diagnosis(bad_steps: Sequence[dict[str, Any]]) -> str:
    """What is known of steps that were not finite, and what to do."""
    first, last = bad_steps[0], bad_steps[-1]
    named = sorted({name for step in bad_steps for name in step.get("not_finite", ())})
    which = "the scores of all comparisons were finite, so it is the gradient"
    if named:
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        which = f"not finite were the scores of {', '.join(named[:5])}{more}"
    return (
        f"the loss or its gradient was not finite in steps {first['step']} to {last['step']} "
        f"(learning rate {last['lr']:.3g}, gradient norm {last['grad_norm']:.3g}; {which}); see "
        "metrics.jsonl, and start anew with a lower optim.lr, or without those comparisons"
    )
