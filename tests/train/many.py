"""What two processes do for test_parallel.py: torchrun starts this, each writes what it saw.

torchrun --nproc-per-node 2 many.py BASE DATA WORK
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny import toy_recipe

from worldpm.errors import InterruptedRunError, WorldPMError
from worldpm.tokens.encode import Encoder
from worldpm.train import loop, state
from worldpm.train.begin import base_model, whole_tensors
from worldpm.train.examples import load_examples
from worldpm.train.lora import extract
from worldpm.train.parallel import ALONE, joined
from worldpm.train.state import checkpoints

STEPS = ["data.batch_pairs=40"]  # five steps
LORA = ["lora.rank=4", "lora.alpha=8", "optim.lr=1e-2"]
SHARD = [*STEPS, "parallel.layout='shard'"]
BEST = "shard, the best look is kept"  # of a rate so high that it is not the last
CASES = {
    "replicate": STEPS,
    "shard": SHARD,
    "hybrid": [*STEPS, "parallel.layout='hybrid'", "parallel.shard_processes=1"],
    "shard, bfloat16": [*SHARD, "model.dtype='bfloat16'"],
    "shard, lora": [*SHARD, *LORA],
    "shard, upper layer, bfloat16 lora": [
        *SHARD, *LORA, "model.frozen_layers=1", "model.dtype='bfloat16'",
    ],
    "shard, layers computed again": [*SHARD, "run.activation_checkpointing='always'"],
    "shard, less than a comparison for each": [
        "data.batch_pairs=1", "parallel.layout='shard'", "optim.warmup_ratio=0",
    ],
    BEST: [*SHARD, "run.keep_best=true", "run.validate_every_steps=1", "optim.lr=1e-2"],
}  # fmt: skip


def trace(records):
    """The numbers of steps and looks that must be those of one process."""
    return [
        {key: value for key, value in record.items() if key in NUMBERS}
        for record in records
        if record["kind"] in ("step", "validation")
    ]


NUMBERS = {
    "kind", "step", "loss_nats", "accuracy", "grad_norm", "tokens", "pairs", "skipped",
    "validation_loss_nats", "validation_accuracy",
}  # fmt: skip


def sets_of(base, data):
    """(training examples, validation sets) of the toy preference."""
    encoder = Encoder.from_folder(base)
    train, held = (
        load_examples([data], part, encoder, toy_recipe().data)[0]
        for part in ("train", "validation")
    )
    return train, {"toy": held}


def go(base, sets, run, overrides, ranks, *, stop=None, resume=False):
    """Train; (what it logged, the model, what was noted)."""
    recipe = toy_recipe(*overrides)
    ranks = replace(ranks, sharded=ranks.world > 1 and recipe.parallel.layout != "replicate")
    model = base_model(base, recipe, ranks)
    records = []

    def stop_requested():  # asked of one process alone: the last one
        return stop is not None and records[-1]["step"] >= stop and ranks.rank == ranks.world - 1

    try:
        loop.fit(
            model, *sets, recipe, run, resume=resume, log=records.append, ranks=ranks,
            stop_requested=stop_requested,
        )  # fmt: skip
    except InterruptedRunError:
        assert stop is not None
    return records, model, [r["note"] for r in records if r["kind"] == "note"]


def main(base, data, work):
    torch.set_num_threads(1)
    sets = sets_of(base, data)
    seen = {}
    with joined(toy_recipe().parallel) as ranks:
        for name, overrides in CASES.items():
            stop = 2 if "less than" in name else None
            records, model, _ = go(base, sets, work / name, overrides, ranks, stop=stop)
            adapter = extract(model, toy_recipe(*overrides).lora)  # a meeting of both
            whole = {n: float(t.float().abs().sum()) for n, t in whole_tensors(model)}
            seen[name] = {"trace": trace(records), "whole": whole, "head": sorted(adapter.head)}
        seen["1 to 2"] = trace(go(base, sets, work / "one", SHARD, ranks, resume=True)[0])
        go(base, sets, work / "two", SHARD, ranks, stop=2)
        seen["2 to 1 to 2"] = two_one_two(base, sets, work / "chain", ranks)
        seen["damaged"] = damaged(base, sets, work / "damaged", ranks)
        seen["not finite"] = not_finite(base, sets, work / "nan", ranks)
        seen["full"] = full(base, sets, work / "full", ranks)
    (work / f"seen-{ranks.rank}.json").write_text(json.dumps(seen))


def two_one_two(base, sets, run, ranks):
    """Two steps of both, one of the first alone, the rest of both: what the rest saw."""
    go(base, sets, run, SHARD, ranks, stop=2)
    if ranks.first:
        records, _, _ = go(base, sets, run, STEPS, ALONE, resume=True, stop=3)
        assert [r["step"] for r in trace(records)] == [3]
    ranks.barrier()
    return trace(go(base, sets, run, SHARD, ranks, resume=True)[0])


def damaged(base, sets, run, ranks):
    """A bit of the second process's file is turned: both go back to the checkpoint before."""
    often = [*SHARD, "run.checkpoint_every_seconds=1e-9"]
    go(base, sets, run, often, ranks, stop=3)
    if ranks.first:
        newest = checkpoints(run)[-1]
        (path,) = newest.glob("shard-00002-*")
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    ranks.barrier()
    records, _, notes = go(base, sets, run, often, ranks, resume=True)
    return {"trace": trace(records), "notes": notes}


def not_finite(base, sets, run, ranks):
    """The second process's scores are NaN in steps 2 and, three in a row, 3 and 4."""
    real, calls = loop.take_step, []

    def step(scorer, *arguments):
        calls.append(1)
        bad = len(calls) > 1 and ranks.rank == 1
        return real(lambda *b: scorer(*b) * (float("nan") if bad else 1.0), *arguments)

    loop.take_step = step
    try:
        go(base, sets, run, SHARD, ranks)
    except WorldPMError as error:
        return {"error": str(error), "steps": len(calls)}
    finally:
        loop.take_step = real


def full(base, sets, run, ranks):
    """The second process's disk is full."""
    real = state.write_tensors

    def write(tensors, folder, own):
        real(tensors, folder, own)
        if own.rank == 1:
            raise OSError(28, "No space left on device")

    state.write_tensors = write
    try:
        go(base, sets, run, SHARD, ranks)
    except WorldPMError as error:
        left = sorted(path.name for path in (run / "checkpoints").iterdir())
        return {"error": str(error), "left": left}
    finally:
        state.write_tensors = real


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
