"""Our scorer beside its peers: same model, same conversations, same processor, one run.

    python benchmarks/score.py --data WORK [--vllm-python PYTHON] -o OUT.json

WORK is that of recipes/default.sh. Every round runs every row once, in another order each time, so
that what else the machine does hits all alike; a rate is the median of its rounds, a ratio the
median of the rounds' ratios. A row that takes longer than --row-seconds is stopped and its rate is
that of what it did, whole batches in random order; ours and vLLM take everything in one call and
are not stopped. Tokens and work are counted as if nothing were
shared. The processor's matrix rates are torch's own, measured in every round. Rounds that are done
stay in OUT.jsonl: the same command goes on.

On a machine that has other work, --threads 1 --clock cpu counts the seconds that the processor
gave to this process instead of those of the wall. vLLM runs in processes of its own and is left
out there.
"""

import argparse
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import torch
from contenders import (
    LOOPS,
    OURS,
    PADDED,
    PEERS,
    VLLM,
    Absent,
    Row,
    Settings,
    dtype_of,
    forget_models,
    make_row,
)
from workload import (
    QWEN_SHAPE,
    Workload,
    flops,
    long_prompts,
    random_checkpoint,
    real_conversations,
    workload,
)

from worldpm.model.allocator import keep_freed_memory
from worldpm.model.checkpoint import read_config
from worldpm.model.config import ModelConfig
from worldpm.model.default import fetch
from worldpm.tokens.encode import Encoder

REFERENCE = "torch float32"
BF16_PADDED = [name for name in PADDED if dtype_of(name) == "bfloat16"]
F32_PADDED = [name for name in PADDED if dtype_of(name) == "float32"]
ALL_PEERS = [name for names in PEERS.values() for name in names]
# What issue B asks for: against whom (the fastest of these), at least, aim.
GOALS: dict[str, tuple[list[str], float | None, float | None]] = {
    "README loop float32": (LOOPS[:1], 10, 16),
    "README loop bfloat16": (LOOPS[1:], 3.5, 5.5),
    "padded bfloat16, best": (BF16_PADDED, 3.5, 5.5),
    "padded bfloat16 naive 8": (["padded bfloat16 naive 8"], 5, 8),
    "padded float32, best": (F32_PADDED, None, None),
    "vLLM, caching off": (VLLM[:1], 1.8, 3),
    "vLLM, caching on": (VLLM[1:], 1.3, 2),
}
BEST_PEER = {"best of all peers": (ALL_PEERS, 1.5, 2.5)}
QWEN_SHARE = 0.8
"""Of the goals, at the second shape."""

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

Record = Mapping[str, Any]
Clock = Callable[[], float]


def timed(
    row: Row, work: Workload, seconds: float, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """One run of a row, stopped after `seconds` at the end of a part."""
    places: list[int] = []
    scores: list[float] = []
    started = clock()
    for done, values in row(work):
        places += done
        scores += values
        if clock() - started > seconds:
            break
    took = clock() - started
    tokens = sum(len(work.sequences[i]) for i in places)
    return {"seconds": took, "places": places, "scores": scores, "tokens": tokens}


def matmul_rate(
    dtype: torch.dtype, config: ModelConfig, seconds: float = 0.25, clock: Clock = time.perf_counter
) -> float:
    """Floating-point operations a second of torch.mm at its best of several shapes.

    The model's own shapes and square ones; outputs reused, since fresh ones cost up to half.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = [(4096, hidden, hidden), (4096, hidden, 2 * inner), (4096, inner, hidden)]
    shapes += [(n, n, n) for n in (1024, 2048)]
    best = 0.0
    for m, k, n in shapes:
        left, right = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
        for weight in (right.t(), right.t().contiguous()):
            out = torch.mm(left, weight)
            ends = clock() + seconds
            while (started := clock()) < ends:
                torch.mm(left, weight, out=out)
                best = max(best, 2 * m * k * n / (clock() - started))
    return best


class Log:
    """The records of a run, a line each; those of an earlier run with the same header stay."""

    def __init__(self, path: Path, header: Record) -> None:
        self.path, self.records = path, list[Record]()
        if path.exists():
            first, *rest = path.read_bytes().splitlines()
            if orjson.loads(first) != orjson.loads(orjson.dumps(header)):
                raise SystemExit(f"{path} was begun with other settings; give another -o")
            self.records = [orjson.loads(line) for line in rest if line.endswith(b"}")]
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(orjson.dumps(header) + b"\n")

    def add(self, record: Record) -> None:
        """Keep a record, on disk at once."""
        with self.path.open("ab") as file:
            file.write(orjson.dumps(record) + b"\n")
        self.records.append(record)

    def find(self, **wanted: object) -> list[Record]:
        """The records with these values."""
        return [r for r in self.records if all(r.get(k) == v for k, v in wanted.items())]


def run_model(
    log: Log, folder: Path, works: Sequence[Workload], names: Sequence[str], settings: Settings,
    rounds: int, seconds: float, clock: Clock,
) -> dict[str, str]:  # fmt: skip
    """All rounds of all rows with one checkpoint; the rows that could not run, and why."""
    rows: dict[str, Row] = {}
    absent: dict[str, str] = {}
    config = read_config(folder)
    for number in range(rounds):
        peak = works[0].name
        if not log.find(kind="peak", workload=peak, round=number):
            rates = {
                d: matmul_rate(getattr(torch, d), config, clock=clock)
                for d in ("float32", "bfloat16")
            }
            log.add({"kind": "peak", "workload": peak, "round": number, **rates})
        order = [(name, work) for name in names for work in works]
        random.Random(number).shuffle(order)
        for name, work in order:
            key = {"kind": "row", "workload": work.name, "round": number, "row": name}
            if name in absent or log.find(**key):
                continue
            try:
                if name not in rows:
                    rows[name] = make_row(name, folder, settings)
                    few = works[0].comparisons[:2]
                    first = works[0].sequences[: sum(len(c.replies) for c in few)]
                    timed(rows[name], Workload("warm-up", few, first), seconds)
                found = timed(rows[name], work, seconds, clock)
            except Absent as reason:
                absent[name] = str(reason)
                print(f"{name}: absent: {reason}", flush=True)
                continue
            log.add({**key, **found})
            rate = found["tokens"] / found["seconds"]
            print(f"{work.name}, round {number}, {name}: {rate:,.0f} tok/s", flush=True)
    rows.clear()
    forget_models()
    return absent


def differences(runs: Sequence[Record], reference: Record, work: Workload) -> dict[str, float]:
    """How a row's scores, of all its rounds, stand to the reference's."""
    exact = dict(zip(reference["places"], reference["scores"], strict=True))
    found: list[float] = []
    flipped = decided = 0
    for run in runs:
        own = dict(zip(run["places"], run["scores"], strict=True))
        found += [abs(own[i] - exact[i]) for i in own]
        pairs = [(i, j) for i, j in work.pairs if i in own and j in own and exact[i] != exact[j]]
        decided += len(pairs)
        flipped += sum((own[i] - own[j]) * (exact[i] - exact[j]) <= 0 for i, j in pairs)
    return {
        "largest": max(found), "mean": sum(found) / len(found),
        "flipped": flipped / decided if decided else float("nan"), "decided_pairs": decided,
    }  # fmt: skip


def summary(log: Log, work: Workload, config: ModelConfig, peak: str) -> dict[str, Any]:
    """The rows' rates, shares and differences, and our ratios to each peer."""
    rates = {
        name: {r["round"]: r["tokens"] / r["seconds"] for r in runs}
        for name in (*OURS, *ALL_PEERS)
        if (runs := log.find(kind="row", workload=work.name, row=name))
    }
    peaks = log.find(kind="peak", workload=peak)
    reference = log.find(kind="row", workload=work.name, row=REFERENCE)[0]
    rows = {}
    for name, by_round in rates.items():
        runs = log.find(kind="row", workload=work.name, row=name)
        top = median(p[dtype_of(name)] for p in peaks)
        per_conversation = [
            (len(r["places"]) / r["seconds"], flops(config, [len(work.sequences[i])
            for i in r["places"]]) / r["seconds"]) for r in runs
        ]  # fmt: skip
        rows[name] = {
            "conversations_per_second": median(c for c, _ in per_conversation),
            "tokens_per_second": median(by_round.values()),
            "slowest_and_fastest": [min(by_round.values()), max(by_round.values())],
            "share_of_matmul": median(f for _, f in per_conversation) / top,
            "conversations_run": sorted({len(r["places"]) for r in runs}),
            "rounds": len(runs),
            "against_float32": differences(runs, reference, work),
        }
    goals = BEST_PEER if "long" in work.name else GOALS
    share = QWEN_SHARE if "Qwen" in work.name else 1.0
    ratios = {}
    for label, (peers, least, aim) in goals.items():
        measured = [name for name in peers if name in rates]
        if not measured:
            continue
        best = max(measured, key=lambda name: median(rates[name].values()))
        against = {name: ratio(rates[name], rates[best]) for name in OURS if name in rates}
        ratios[label] = {
            "peer": best, "ours": against,
            "least": least and least * share, "aim": aim and aim * share,
        }  # fmt: skip
    return {
        "conversations": len(work.sequences), "tokens": work.num_tokens,
        "unique_tokens": work.unique_tokens, "rows": rows, "ratios": ratios,
        "torch_matmul_flops": {d: median(p[d] for p in peaks) for d in ("float32", "bfloat16")},
    }  # fmt: skip


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    """The median over the rounds that both have."""
    both = ours.keys() & theirs.keys()
    return median(ours[r] / theirs[r] for r in both) if both else None


def times(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}x"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show(name: str, found: Record, absent: Mapping[str, str]) -> str:
    peaks = found["torch_matmul_flops"]
    lines = [
        f"\n## {name}: {found['conversations']} conversations, {found['tokens']:,} tokens, "
        f"{found['unique_tokens']:,} once shared",
        f"torch's matmul: float32 {peaks['float32'] / 1e12:.3f}, bfloat16 "
        f"{peaks['bfloat16'] / 1e12:.3f} TFLOP/s\n",
    ]
    rows = [
        [
            row, f"{r['conversations_per_second']:.2f}", f"{r['tokens_per_second']:,.0f}",
            "{:,.0f} to {:,.0f}".format(*r["slowest_and_fastest"]),
            f"{r['share_of_matmul']:.0%}", f"{r['against_float32']['largest']:.2g}",
            f"{r['against_float32']['mean']:.2g}", f"{r['against_float32']['flipped']:.2%}",
        ]
        for row, r in found["rows"].items()
    ]  # fmt: skip
    head = ["row", "conv/s", "tok/s", "rounds", "of matmul", "largest diff", "mean", "flipped"]
    lines.append(table(head, rows))
    own = [row for row in OURS if row in found["rows"]]
    ratios = [
        [f"{label} ({r['peer']})", *map(times, [*map(r["ours"].get, own), r["least"], r["aim"]])]
        for label, r in found["ratios"].items()
    ]
    lines += ["", table(["against", *own, "least", "aim"], ratios)]
    lines += [f"\nnot run: {row}: {why}" for row, why in absent.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--model", type=Path, help="a checkpoint; the embedded default if not given"
    )
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument(
        "--long-prompts", type=int, default=4, help="eight replies to each; 0: none"
    )
    parser.add_argument("--qwen-conversations", type=int, default=40, help="0: not that shape")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--row-seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--vllm-python", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    folder = args.model or fetch()
    encoder = Encoder.from_folder(folder)
    real = real_conversations(args.data, encoder, args.conversations)
    works = [workload("real", real, encoder)]
    if args.long_prompts:
        made = long_prompts(real, encoder, args.long_prompts)
        works.append(workload("long prompts", made, encoder))
    clock = CLOCKS[args.clock]
    peers = [peer for peer in args.peers if args.clock == "wall" or peer != "vllm"]
    names = [*OURS, *(name for peer in peers for name in PEERS[peer])]
    settings = Settings(args.threads, args.vllm_python)
    header = {
        "model": folder.name, "threads": args.threads, "clock": args.clock,
        "row_seconds": args.row_seconds,
        "conversations": args.conversations, "tokens": [w.num_tokens for w in works],
        "torch": torch.__version__,
    }  # fmt: skip
    log = Log(args.out.with_suffix(".jsonl"), header)
    results: dict[str, Any] = {}
    absent = run_model(log, folder, works, names, settings, args.rounds, args.row_seconds, clock)
    for work in works:
        results[work.name] = summary(log, work, read_config(folder), works[0].name)
        print(show(work.name, results[work.name], absent), flush=True)
    if args.qwen_conversations:
        second = random_checkpoint(args.out.parent / "qwen2.5-0.5b-shape", folder, QWEN_SHAPE)
        few = real_conversations(args.data, encoder, args.qwen_conversations)
        own = workload("Qwen2.5-0.5B's shape", few, Encoder.from_folder(second))
        gone = run_model(log, second, [own], names, settings, args.rounds, args.row_seconds, clock)
        results[own.name] = summary(log, own, read_config(second), own.name)
        print(show(own.name, results[own.name], gone), flush=True)
        absent |= gone
    args.out.write_bytes(
        orjson.dumps({"header": header, "absent": absent, **results}, option=orjson.OPT_INDENT_2)
    )


if __name__ == "__main__":
    main()
