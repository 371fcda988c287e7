"""A checkpoint larger than memory: what streaming it takes, against what the disk gives.

    python benchmarks/streaming.py --checkpoint FOLDER --data hh_rlhf -o OUT.json

Makes a random bfloat16 checkpoint of Qwen2.5-7B's shape in FOLDER (15 GB, written shard by shard;
kept, for the next run), then scores pairs of hh-rlhf in child processes whose address space is
limited: once in one go, once killed with -9 in the middle of a layer, once going on after that.
Prints peak memory, the rate of reads beside the disk's own in the same run (large direct reads, one
at a time), how long the run computed and how long it waited for reads, how right the forecasts
of the time left were, and whether the bits are the same.
"""

import argparse
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from large_checkpoint import SHAPE, make_checkpoint

from worldpm.model.checkpoint import weight_files
from worldpm.model.config import parse_config
from worldpm.model.memory import parse_bytes
from worldpm.model.reading import TensorReader
from worldpm.model.streaming import Streaming
from worldpm.model.weights import Weights
from worldpm.pairs.dialogue_sets import read_hh_rlhf
from worldpm.records import Comparison
from worldpm.score import load, plan_score
from worldpm.tokens.encode import Encoder

DISK_SECONDS = 4.0
Report = dict[str, Any]


def short_pairs(data: Path, encoder: Encoder, count: int, most: int) -> list[Comparison]:
    """The first `count` // 2 pairs of the set whose conversations have 40 to `most` tokens."""

    def fits(pair: Comparison) -> bool:
        return all(40 <= len(ids) <= most for ids in encoder.encode_replies(pair))

    return list(islice(filter(fits, read_hh_rlhf(data, lambda reason: None)), count // 2))


def disk_rate(folder: Path, seconds: float = DISK_SECONDS) -> float:
    """Bytes a second of sequential reads past the page cache, one after the other."""
    reader, names = TensorReader(Weights(folder)), [*Weights(folder).places]
    layers = [name for name in names if name.startswith("model.layers.")]
    parts = [layers[i : i + 6] for i in range(0, len(layers), 6)]
    buffer = reader.buffer(max(map(reader.buffer_bytes, parts)))
    buffer[:: 1 << 12] = bytes(len(buffer[:: 1 << 12]))  # pages are taken before the clock starts
    for part in parts:
        reader.read(part, buffer)
        if reader.seconds > seconds:
            break
    return reader.num_bytes / reader.seconds


def child(args: argparse.Namespace) -> None:
    """Score in this process, a line of JSON for every batch, and one of results at the end."""
    encoder = Encoder.from_folder(args.checkpoint)
    pairs = short_pairs(args.data, encoder, args.conversations, args.max_tokens)
    options = {"dtype": args.dtype, "threads": args.threads, "memory": parse_bytes(args.memory)}
    scratch = args.checkpoint.with_name(f"{args.checkpoint.name}-states")
    if args.child == "plan":
        plan = plan_score(args.checkpoint, pairs, scratch=scratch, **options)
        print(orjson.dumps({**asdict(plan), "speeds": None, "text": str(plan)}).decode())
        return
    started = time.perf_counter()
    scorer = load(args.checkpoint, scratch=scratch, **options)
    runner = scorer.runner
    assert isinstance(runner, Streaming), "give less --memory: the weights fit"

    def told(progress: Any) -> None:
        row = {**asdict(progress), "at": time.perf_counter() - started}
        print(orjson.dumps(row).decode(), flush=True)

    runner.on_progress = told
    scores = scorer.score(pairs)
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    result = {
        "engine": scorer.describe(), "seconds": time.perf_counter() - started,
        "cost": asdict(runner.cost), "peak_bytes": int(peak[1]) * 1024 if peak else None,
        "scores": scores, "tokens": scorer.count(pairs)[0],
    }  # fmt: skip
    print(orjson.dumps(result).decode(), flush=True)


def run_child(kind: str, limit: int, kill_at: int | None = None) -> list[Report]:
    """Rows of a child of this script; with `kill_at` it is killed in the middle of that layer."""
    rows: list[Report] = []
    process = subprocess.Popen(
        [sys.executable, __file__, *sys.argv[1:], "--child", kind], stdout=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        rows.append(orjson.loads(line))
        if kill_at is not None and rows[-1].get("layers_done") == kill_at:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    code = process.wait()
    if code != (0 if kill_at is None else -signal.SIGKILL):
        raise SystemExit(f"the {kind} run ended with {code}")
    return rows


def forecast_errors(rows: Iterable[Report], seconds: float) -> list[float]:
    """|forecast - truth| / truth of the time left, from the second layer to the last but one."""
    errors = []
    for row in rows:
        left = seconds - row["at"]
        if 1 <= row["layers_done"] < row["layers"] - 2:
            errors.append(abs(row["seconds_left"] - left) / left)
    return errors


def summary(rows: Sequence[Report], disk: float) -> Report:
    """Rates and shares of one run that came to its end."""
    result, cost = rows[-1], rows[-1]["cost"]
    errors = forecast_errors(rows[:-1], result["seconds"]) or [math.nan]
    rate = cost["num_bytes"] / cost["read_seconds"]
    return {
        "engine": result["engine"], "tokens": result["tokens"], "seconds": result["seconds"],
        "layers": cost["layers"], "peak_bytes": result["peak_bytes"],
        "read_bytes": cost["num_bytes"], "read_bytes_per_second": rate,
        "share_of_disk": rate / disk,
        "busy": (cost["compute_seconds"] + cost["pack_seconds"]) / cost["seconds"],
        "waiting": cost["stalled_seconds"] / cost["seconds"],
        "forecast_error_median": median(errors), "forecast_error_largest": max(errors),
        "forecasts_within_a_fifth": sum(e <= 0.2 for e in errors) / len(errors),
    }  # fmt: skip


def show(found: Report) -> str:
    lines = ["| | one go | after the kill |", "| --- | --- | --- |"]
    whole, rest = found["whole"], found["resumed"]
    for name in whole:
        cells = (f"{x:,.3g}" if isinstance(x, float) else f"{x:,}" if isinstance(x, int) else x
                 for x in (whole[name], rest[name]))  # fmt: skip
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    disk, planned = found["disk_bytes_per_second"] / 1e9, found["plan"]["expected_seconds"]
    lines += ["", f"disk {disk:.2f} GB/s, planned {planned:,.0f} s, load {found['load']:.1f}, "
              f"same bits {found['same_bits']}"]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="hh-rlhf's folder")
    parser.add_argument("--tokenizer", type=Path, help="a folder; the default model's if not given")
    parser.add_argument("--shape", type=Path, help="another config.json")
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=100, help="of a conversation")
    parser.add_argument("--memory", default="5GB", help="what the scorer is told")
    parser.add_argument("--limit", default="6GB", help="of a child's address space")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--child", choices=["plan", "score"], help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    shape = orjson.loads(args.shape.read_bytes()) if args.shape else SHAPE
    make_checkpoint(args.checkpoint, args.tokenizer, shape)
    limit = parse_bytes(args.limit)
    (plan,) = run_child("plan", limit)
    print(plan.pop("text"), file=sys.stderr)
    rates = [disk_rate(args.checkpoint)]
    whole = run_child("score", limit)
    run_child("score", limit, kill_at=parse_config(shape, "shape").num_hidden_layers // 2)
    resumed = run_child("score", limit)
    rates.append(disk_rate(args.checkpoint))
    disk = sum(rates) / 2
    found = {
        "plan": plan, "disk_bytes_per_second": disk,
        "weights_bytes": sum(f.stat().st_size for f in weight_files(args.checkpoint)),
        "limit_bytes": limit, "load": os.getloadavg()[2], "whole": summary(whole, disk),
        "resumed": summary(resumed, disk),
        "same_bits": whole[-1]["scores"] == resumed[-1]["scores"],
    }  # fmt: skip
    args.out.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    print(show(found))


if __name__ == "__main__":
    main()
