"""One trainer in a process of its own, a step at a time: the children of benchmarks/train.py.

    python benchmarks/trainers.py JOB.json     then a line on stdin for each step

Each step answers a JSON line: seconds of the wall and of the processor, the loss before the step,
and the process's peak memory so far. All trainers begin with the same weights under a head of
zeros and take the same token ids in the same order; the score is read at the same token.
"""

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worldpm.config import load_settings
from worldpm.model.allocator import keep_freed_memory
from worldpm.records import Comparison
from worldpm.store import read_artifact
from worldpm.tokens.encode import Encoder
from worldpm.train.examples import Example, make_examples
from worldpm.train.recipe import Recipe

ANSWER = "answer "
PAD = "<|im_end|>"  # never the last token of a conversation, which is <|endoftext|>
THREAD_REPLIES = 8
THREAD_EDGES = THREAD_REPLIES * (THREAD_REPLIES - 1) // 2


@dataclass(frozen=True)
class Job:
    """What a child does.

    `trainer` is "ours", "ours recomputing", "trl" or "trl tuned", `work` "pairs" or "threads".
    """

    trainer: str
    work: str
    base: str
    data: str
    threads: int
    steps: int
    batch: int = 8  # pairs a step; of "threads", one comparison is a step
    max_tokens: int = 512
    dtype: str = "bfloat16"
    lr: float = 1e-5

    @property
    def recipe(self) -> Recipe:
        """Our settings where they coincide with TRL's; the head learns at the same rate."""
        again = "always" if self.trainer == "ours recomputing" else "auto"
        return load_settings(
            Recipe,
            None,
            [
                "lora.rank=0", f"model.dtype='{self.dtype}'", f"optim.lr={self.lr}",
                "optim.weight_decay=0.0", "optim.warmup_ratio=0.0",
                f"data.batch_pairs={self.batch}", f"data.max_tokens={self.max_tokens}",
                f"run.activation_checkpointing='{again}'",
                "data.weighting='edges'", "data.micro_batch_tokens=4096",
            ],
        )  # fmt: skip


def examples_of(job: Job) -> list[list[Example]]:
    """The examples of each step: `batch` pairs, or one thread of 8 replies with all its edges."""
    encoder = Encoder.from_folder(Path(job.base))
    steps: list[list[Example]] = [[]]
    folder = Path(job.data) / ("hh-rlhf" if job.work == "pairs" else "stackexchange")
    rows: Iterable[Comparison] = read_artifact(folder, Comparison, "train")
    edges = 1 if job.work == "pairs" else THREAD_EDGES
    rows = (row for row in rows if len(row.better) == edges)
    for example in make_examples(rows, encoder, job.recipe.data, Counter()):
        if len(example.winners) != edges:  # a reply was too long
            continue
        steps[-1].append(example)
        if len(steps[-1]) == (job.batch if job.work == "pairs" else 1):
            if len(steps) == job.steps:
                return steps
            steps.append([])
    raise SystemExit(f"{folder}: has not enough comparisons for {job.steps} steps")


def as_pairs(example: Example) -> list[dict[str, list[int]]]:
    """TRL's rows: one for each edge."""
    paths = example.tree.paths()
    return [
        {"chosen_ids": paths[winner], "rejected_ids": paths[loser]}
        for winner, loser in zip(example.winners, example.losers, strict=True)
    ]


def ours(job: Job, steps: list[list[Example]], timed: Callable[..., Any]) -> None:
    from worldpm.train.begin import base_model
    from worldpm.train.optim import build_optimizer
    from worldpm.train.step import TreeScorer, take_step

    keep_freed_memory()
    model = base_model(Path(job.base), job.recipe)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = build_optimizer(trained, job.recipe.optim)
    scorer = TreeScorer(model, job.recipe)
    examples = [example for step in steps for example in step]
    first = 0
    for step in steps:
        keys = list(range(first, first + len(step)))
        first += len(step)
        budget = job.recipe.data.micro_batch_tokens
        with timed() as record:
            found = take_step(scorer, examples, keys, budget, trained, optimizer, job.recipe)
            record["loss_nats"] = found["loss_nats"]


def trl(job: Job, steps: list[list[Example]], timed: Callable[..., Any]) -> None:
    """RewardTrainer; "trl tuned" has our allocator and computes no layer again."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl import RewardConfig, RewardTrainer

    if job.trainer == "trl tuned":
        keep_freed_memory()
    rows = [row for step in steps for example in step for row in as_pairs(example)]
    pairs = len(rows) // len(steps)
    at_once = job.batch if pairs % job.batch == 0 else 4
    tokenizer = AutoTokenizer.from_pretrained(job.base)
    tokenizer.pad_token = PAD
    model = AutoModelForSequenceClassification.from_pretrained(
        job.base, num_labels=1, dtype=torch.float32
    )
    torch.nn.init.zeros_(model.score.weight)

    class Timed(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.block = timed()
            self.record = self.block.__enter__()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.record["loss_nats"] = sum(losses[-pairs // at_once :]) * at_once / pairs
            self.block.__exit__(None, None, None)

    losses: list[float] = []

    class InOrder(RewardTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

        def compute_loss(self, *arguments: Any, **named: Any) -> Any:
            found = super().compute_loss(*arguments, **named)
            losses.append(float((found[0] if isinstance(found, tuple) else found).detach()))
            return found

    settings = RewardConfig(
        "unused", per_device_train_batch_size=at_once,
        gradient_accumulation_steps=pairs // at_once, max_steps=len(steps),
        learning_rate=job.lr, lr_scheduler_type="constant", bf16=job.dtype == "bfloat16",
        gradient_checkpointing=job.trainer != "trl tuned", use_cpu=True,
        logging_steps=10**6, report_to=[], save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    InOrder(
        model, settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        callbacks=[Timed()],
    ).train()  # fmt: skip


class Turn:
    """A step's turn: waits to be called, and says how long the block took."""

    def __enter__(self) -> dict[str, Any]:
        if not sys.stdin.readline():
            os._exit(0)  # nobody asks any more
        self.record: dict[str, Any] = {}
        self.started = (time.perf_counter(), time.process_time())
        return self.record

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self.started[0], time.process_time() - self.started[1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        say({"wall_seconds": wall, "cpu_seconds": cpu, "peak_bytes": peak, **self.record})


def say(record: dict[str, Any]) -> None:
    print(ANSWER + json.dumps(record), flush=True)


def main() -> None:
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(job.threads)
    steps = examples_of(job)
    every = [e for step in steps for e in step]
    say({
        "pairs": sum(len(e.winners) for e in every),
        "tree_tokens": sum(int(e.tree.tokens.size) for e in every),
        "row_tokens": sum(len(ids) for e in every for row in as_pairs(e) for ids in row.values()),
    })  # fmt: skip
    (ours if job.trainer.startswith("ours") else trl)(job, steps, Turn)


if __name__ == "__main__":
    main()
