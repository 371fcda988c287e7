"""A training step of ours beside TRL's RewardTrainer: same model, comparisons and processor.

    python benchmarks/train.py --data WORK [-o OUT.json] [--steps 10] [--clock wall]

WORK is that of recipes/default.sh. Full fine-tune of the 135M base on hh-rlhf pairs, and on forum
threads of 8 replies whose 28 edges TRL is fed as pairs. Each trainer is a process of its own; ours
and a peer take their steps by turns, so that what else the machine does hits both alike, and one
peer at a time, since three would not fit into 24 GB. A time is the median
of the steps after the first, a ratio the median of the steps' ratios. Peak memory is the process's
own. On a machine that has other work, --threads 1 --clock cpu counts the processor's seconds.

"trl" is TRL as it installs: bfloat16 autocast, padded rows, layers computed again. "trl tuned" has
our allocator and thread settings and keeps all activations, which is faster and takes more memory.
"ours recomputing" computes layers again as well, for the comparison of memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from trainers import ANSWER, Job

from worldpm.model.default import fetch_base
from worldpm.store import versions

SMALL = "ours recomputing"  # beside TRL as it installs, which computes layers again too
PEERS = {"pairs": ("trl", "trl tuned"), "threads": ("trl",)}
ABSENT = "did not run"


class Child:
    """A trainer in its own process, whose steps are asked for one by one."""

    def __init__(self, job: Job, folder: Path, python: str) -> None:
        self.job = job
        path = folder / f"{job.work} {job.trainer}.json"
        path.write_text(json.dumps(asdict(job)))
        script = Path(__file__).with_name("trainers.py")
        self.errors = path.with_suffix(".log")
        self.process = subprocess.Popen(
            [python, str(script), str(path)], cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors.open("w"),
        )  # fmt: skip
        self.sizes = self.answer()
        self.steps: list[dict[str, Any]] = []

    def answer(self) -> dict[str, Any]:
        """The next line that is an answer; empty where the process has ended."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                found: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
                return found
        return {}

    def step(self) -> bool:
        """One step; whether there was an answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write("step\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        found = self.answer()
        if found:
            self.steps.append(found)
        return bool(found)

    def end(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(timeout=30)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()


def run_pair(peer: str, job: Job, python: str, clock: str) -> dict[str, Any]:
    """Our steps and a peer's by turns, and what they come to."""
    with tempfile.TemporaryDirectory() as folder:
        children: list[Child] = []
        try:
            trainers = ("ours", SMALL, peer) if peer == "trl" else ("ours", peer)
            for trainer in trainers:
                children.append(Child(replace(job, trainer=trainer), Path(folder), python))
            for index in range(job.steps):
                for child in children[:: -1 if index % 2 else 1]:
                    if len(child.steps) == index and child.step():
                        seconds = child.steps[-1][f"{clock}_seconds"]
                        print(f"{job.work} {child.job.trainer}: {seconds:.2f} s", file=sys.stderr)
            return {child.job.trainer: summary(child, clock) for child in children}
        finally:
            for child in children:
                child.end()


def summary(child: Child, clock: str) -> dict[str, Any]:
    if len(child.steps) < child.job.steps:
        return {ABSENT: child.errors.read_text()[-500:]}
    return {"sizes": child.sizes, "peak_bytes": child.steps[-1]["peak_bytes"],
            "seconds": [step[f"{clock}_seconds"] for step in child.steps],
            "losses_nats": [step["loss_nats"] for step in child.steps]}  # fmt: skip


def settled(seconds: Sequence[float]) -> Sequence[float]:
    """Without the first step, which pages in code and makes the optimiser's state."""
    return seconds[1:] or seconds


def compare(found: dict[str, Any]) -> list[dict[str, Any]]:
    """For each trainer: seconds a step, how many times faster ours is, memory, the last loss."""
    rows = []
    own = found["ours"]
    for name, theirs in found.items():
        if ABSENT in theirs or ABSENT in own:
            rows.append({"trainer": name, ABSENT: theirs.get(ABSENT, "ours did not run")})
            continue
        steps = zip(settled(theirs["seconds"]), settled(own["seconds"]), strict=False)
        ratios = [a / b for a, b in steps]
        rows.append({
            "trainer": name, "step_seconds": median(settled(theirs["seconds"])),
            "ours_is_faster": median(ratios), "peak_bytes": theirs["peak_bytes"],
            "ours_takes_memory": own["peak_bytes"] / theirs["peak_bytes"],
            "last_loss_differs_nats": abs(theirs["losses_nats"][-1] - own["losses_nats"][-1]),
        })  # fmt: skip
    return rows


def table(work: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{work:16} {'s/step':>8} {'ours x':>7} {'peak GB':>8} {'ours':>6} {'loss differs':>13}"
    ]
    for row in rows:
        if ABSENT in row:
            lines.append(f"{row['trainer']:16} {ABSENT}: {row[ABSENT].strip().splitlines()[-1:]}")
            continue
        lines.append(
            f"{row['trainer']:16} {row['step_seconds']:8.2f} {row['ours_is_faster']:7.2f} "
            f"{row['peak_bytes'] / 1e9:8.2f} {row['ours_takes_memory']:6.2f} "
            f"{row['last_loss_differs_nats']:13.1e}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="default: the 135M base")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--thread-steps", type=int, default=2, help="of the threads of 8 replies")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--only", choices=tuple(PEERS), nargs="+", default=tuple(PEERS))
    parser.add_argument("--peers", choices=PEERS["pairs"], nargs="+", default=PEERS["pairs"])
    parser.add_argument("--trl-python", default=sys.executable, help="a Python that has TRL")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    base = options.base or fetch_base()
    found: dict[str, Any] = {}
    for work in options.only:
        steps = options.steps if work == "pairs" else options.thread_steps
        job = Job(
            "ours", work, str(base.resolve()), str(options.data.resolve()), options.threads, steps,
            dtype=options.dtype, lr=options.lr,
        )  # fmt: skip
        for peer in PEERS[work]:
            if peer in options.peers:
                pair = run_pair(peer, job, options.trl_python, options.clock)
                found[f"{work} {peer}"] = {"trainers": pair, "rows": compare(pair)}
                print(table(work, compare(pair)), flush=True)
    record = {"clock": options.clock, "threads": options.threads,
              "versions": versions("worldpm", "torch", "trl", "transformers"), **found}  # fmt: skip
    if options.output:
        options.output.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
