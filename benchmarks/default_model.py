"""The default model on comparisons kept out of its training, beside three baselines.

    python benchmarks/default_model.py --data WORK --files FILES --base BASE -o runs/default-eval

WORK and FILES are those of recipes/default.sh (FILES/evals for the suites), BASE the folder that
`worldpm model fetch --base-only` prints. The baselines:
longer-is-better, chance, and a Bradley-Terry head trained on the base's frozen last hidden states.
The layers that the recipe left frozen are the same in the base and the tuned model, so they run
once for both. Scores are kept as they are made: the same command goes on where it was stopped.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import orjson
import torch
from rich.console import Console
from rich.progress import track

from worldpm.evals.metrics import difference, edge_loss, edge_table
from worldpm.evals.run import evaluate, to_json
from worldpm.evals.suites import read_suite
from worldpm.model.allocator import keep_freed_memory
from worldpm.model.batch import collate
from worldpm.model.decoder import RMSNorm
from worldpm.model.default import fetch
from worldpm.model.engine import Engine, HeadRun, LayerRun
from worldpm.model.native import choose_engine
from worldpm.model.weights import EMBEDDING, NORM, Weights
from worldpm.records import Comparison
from worldpm.store import read_artifact
from worldpm.tokens.encode import Encoder
from worldpm.tokens.pack import pack
from worldpm.tokens.tree import build_tree
from worldpm.train.loss import bradley_terry

HELD_OUT = {
    "hh-rlhf helpful-base": ("hh-rlhf", "test", "helpful-base"),
    "Stack Exchange": ("stackexchange", "test", None),
}
TRAIN = ("hh-rlhf", "stackexchange", "qa-feedback", "ukpconvarg", "oasst-zh")
SUITES = {"llmbar": "llmbar", "rewardbench": "rewardbench", "rm-bench": "rm_bench"}
CHUNK = 32
L2_GRID = (1e-3, 1e-2, 1e-1, 1.0)


@dataclass
class Pair:
    """The tuned model and its base; the layers that are the same in both run once."""

    engine: Engine
    encoder: Encoder
    embedding: torch.Tensor
    shared: list[LayerRun]
    tuned: list[LayerRun]
    base: list[LayerRun]
    tuned_head: HeadRun
    base_norm: RMSNorm


def load_pair(model: str | None, base_folder: Path) -> Pair:
    folder = fetch() if model is None else Path(model)
    tuned, base = Weights(folder), Weights(base_folder, head=False)
    config = tuned.config
    engine = choose_engine(config, "auto")
    layers = [(base.layer(i), tuned.layer(i)) for i in range(config.num_hidden_layers)]
    same = [all(torch.equal(ours[name], theirs[name]) for name in ours) for ours, theirs in layers]
    shared = same.index(False)
    ends = tuned.read([EMBEDDING, NORM])
    assert torch.equal(ends[EMBEDDING], base.read([EMBEDDING])[EMBEDDING])
    norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
    norm.weight.data = base.read([NORM])[NORM].float()
    print(f"{engine.name}, {engine.dtype}: {shared} of {len(same)} layers are the same in both")
    return Pair(
        engine,
        Encoder.from_folder(folder),
        ends[EMBEDDING],
        [engine.make_layer(ours) for ours, _ in layers[:shared]],
        [engine.make_layer(theirs) for _, theirs in layers[shared:]],
        [engine.make_layer(ours) for ours, _ in layers[shared:]],
        engine.make_head(ends[NORM], tuned.head()),
        norm,
    )


def through(layers: list[LayerRun], residual: torch.Tensor, plan: object) -> torch.Tensor:
    for layer in layers:
        residual = layer(residual, plan)
    return residual


@torch.inference_mode()
def run_chunk(
    pair: Pair, comparisons: Sequence[Comparison], max_tokens: int, want: frozenset[str]
) -> list[dict[str, object]]:
    """For each comparison: "scores" of the tuned model, "features" of the base, or why neither."""
    results: list[dict[str, object]] = [
        {"id": key(c), "dropped": "over_max_tokens"} for c in comparisons
    ]
    trees = {}
    for i, comparison in enumerate(comparisons):
        sequences = pair.encoder.encode_replies(comparison)
        if max(map(len, sequences)) <= max_tokens:
            trees[i] = build_tree(sequences)
    order = sorted(trees, key=lambda i: trees[i].tokens.size)
    for group in pack([trees[i] for i in order], 4096):
        members = [order[i] for i in group]
        batch = collate([trees[i] for i in members])
        plan = pair.engine.plan(batch)
        residual = through(pair.shared, pair.embedding[batch.tokens].float(), plan)
        found: dict[str, torch.Tensor] = {}
        if "features" in want:
            last = through(pair.base, residual.clone(), plan)
            found["features"] = pair.base_norm(last[batch.leaves]).half()
        if "scores" in want:
            last = through(pair.tuned, residual, plan)
            found["scores"] = pair.tuned_head(last[batch.leaves])
        first = 0
        for i in members:
            own = slice(first, first + len(trees[i].leaves))
            results[i] = {"id": key(comparisons[i])}
            if "scores" in found:
                results[i]["scores"] = found["scores"][own].tolist()
            if "features" in found:
                results[i]["features"] = found["features"][own].numpy().tobytes().hex()
            first = own.stop
    return results


def run_set(
    pair: Pair, name: str, comparisons: Sequence[Comparison], out: Path,
    want: frozenset[str], max_tokens: int = 4096,
) -> dict[str, dict[str, object]]:  # fmt: skip
    """Results by id, appended to OUT/NAME.jsonl as they come."""
    path = out / f"{name.replace(' ', '_')}.jsonl"
    done = {}
    if path.exists():
        for line in path.read_bytes().splitlines():
            row = orjson.loads(line)
            if "dropped" in row or want <= row.keys():
                done[row["id"]] = row
    todo = [c for c in comparisons if key(c) not in done]
    chunks = range(0, len(todo), CHUNK)
    with path.open("ab") as file:
        for start in track(chunks, description=name, console=Console(stderr=True)):
            rows = run_chunk(pair, todo[start : start + CHUNK], max_tokens, want)
            file.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))
            file.flush()
            done.update((row["id"], row) for row in rows)
    return done


def key(comparison: Comparison) -> str:
    """Ids are unique within a source only."""
    return f"{comparison.source}/{comparison.id}"


def features_of(row: dict[str, object]) -> np.ndarray:
    raw = np.frombuffer(bytes.fromhex(str(row["features"])), dtype=np.float16)
    return raw.astype(np.float32).reshape(-1, 576)


def frozen_head(comparisons: Iterable[Comparison], rows: dict[str, dict[str, object]]) -> tuple:
    """A linear Bradley-Terry head on frozen features: weights, scale; L2 chosen on a tenth."""
    contrasts, weights = [], []
    for comparison in comparisons:
        row = rows[key(comparison)]
        if "features" in row and comparison.better:
            states = features_of(row)
            for edge in comparison.better:
                contrasts.append(states[edge.winner] - states[edge.loser])
                weights.append((len(comparison.replies) - 1) / len(comparison.better))
    x, w = torch.tensor(np.stack(contrasts)), torch.tensor(weights, dtype=torch.float32)
    scale = x.std(0) + 1e-6
    x = x / scale
    tenth = torch.arange(len(x)) % 10 == 0
    best = (float("inf"), None, None)
    for l2 in L2_GRID:
        head = torch.zeros(x.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS([head], max_iter=200, line_search_fn="strong_wolfe")

        def closure(head=head, l2=l2, optimizer=optimizer):
            optimizer.zero_grad()
            scores = torch.cat((x[~tenth] @ head, torch.zeros(int((~tenth).sum()))))
            n = len(scores) // 2
            loss = bradley_terry(scores, torch.arange(n), torch.arange(n, 2 * n), w[~tenth])
            loss = loss / w[~tenth].sum() + 0.5 * l2 * (head**2).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        held = torch.nn.functional.softplus(-(x[tenth] @ head.detach()))
        loss = float((held * w[tenth]).sum() / w[tenth].sum())
        best = min(best, (loss, l2, head.detach() / scale), key=lambda item: item[0])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--train-sample", type=int, default=2400, help="comparisons for the head")
    parser.add_argument("--suite-sample", type=int, help="comparisons of a suite; all if not given")
    parser.add_argument("--sets", nargs="*", default=[*HELD_OUT, *SUITES, "frozen-head"])
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    pair = load_pair(args.model, args.base)
    tests = {}
    for name, (folder, part, subset) in HELD_OUT.items():
        rows = read_artifact(args.data / folder, Comparison, part)
        tests[name] = [c for c in rows if subset in (None, c.subset)]
    for name, folder in SUITES.items():
        rows = list(read_suite(name, args.files / "evals" / folder))
        chosen = np.random.default_rng(0).permutation(len(rows))[: args.suite_sample]
        tests[name] = [rows[i] for i in sorted(chosen)]
    head = None
    if "frozen-head" in args.sets:
        train = [c for n in TRAIN for c in read_artifact(args.data / n, Comparison, "train")]
        chosen = np.random.default_rng(0).permutation(len(train))
        train = list(islice((train[i] for i in chosen), args.train_sample))
        features = frozenset({"features"})
        rows = run_set(pair, "train-features", train, args.out, features, max_tokens=700)
        head = frozen_head(train, rows)
        print(f"frozen head: validation loss {head[0]:.4f} nats, l2 {head[1]}", flush=True)
    table = {}
    for name in [n for n in args.sets if n in tests]:
        with_head = head if name in HELD_OUT else None
        want = frozenset({"scores"} | ({"features"} if with_head else set()))
        rows = run_set(pair, name, tests[name], args.out, want)
        kept = [c for c in tests[name] if "scores" in rows[key(c)]]
        scored = [rows[key(c)]["scores"] for c in kept]
        found = evaluate(kept, lambda _, s=scored: s, suite=name, weighting="edge")
        table[name] = {"dropped": len(tests[name]) - len(kept), **to_json(found)}
        if with_head is not None:
            frozen = [(features_of(rows[key(c)]) @ with_head[2].numpy()).tolist() for c in kept]
            other = evaluate(kept, lambda _, s=frozen: s, suite=name, weighting="edge")
            table[name]["frozen_head"] = to_json(other)["lines"][0]
            ahead = difference(edge_table(kept, scored), edge_table(kept, frozen), weighting="edge")
            table[name]["accuracy_over_frozen_head"] = [ahead.value, *ahead.interval]
        ours = edge_table(kept, scored)
        print(name, json.dumps(table[name]["lines"][0], default=str)[:600], flush=True)
        print("  mean loss", float(edge_loss(ours.difference).mean()), flush=True)
        (args.out / "table.json").write_bytes(orjson.dumps(table, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
