"""How much each precision changes scores, on the default model and real held-out pairs.

    python benchmarks/precision.py --data WORK [--engines ...] -o OUT.json

WORK is that of recipes/default.sh. Each rung scores a sample of held-out helpful-base pairs and of
Stack Exchange threads; beside it stand the edges that float32 decides and it does not decide the
same way, the change of the loss, and the speed. A rung of *terms* splits what enters a product into
so many bfloat16 numbers, multiplies by the bfloat16 weights and adds up in float32. Such products
of bfloat16 numbers are exact in float32, so rounding the input to 8, 16 or 24 bits and multiplying
in float32 gives the same: those rungs are emulated, and have no speed of their own. Rungs that are
done stay in OUT.jsonl: the same command goes on.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldpm.errors import ConfigError
from worldpm.evals.gate import compare_precision
from worldpm.model.allocator import keep_freed_memory
from worldpm.model.config import ModelConfig
from worldpm.model.decoder import Layer
from worldpm.model.default import fetch
from worldpm.model.engine import Engine, LayerRun, Resident, TorchEngine, TorchPlan
from worldpm.model.int8 import Int8Engine
from worldpm.model.native import choose_engine
from worldpm.model.weights import Weights
from worldpm.records import Comparison
from worldpm.score import Scorer
from worldpm.store import read_artifact
from worldpm.tokens.encode import Encoder

SETS = {
    "hh-rlhf helpful-base": ("hh-rlhf", "helpful-base"),
    "Stack Exchange": ("stackexchange", None),
}
REFERENCE = "torch float32"
AUTO_MAX_FLIPPED = 0.01
Product = Callable[[Tensor, nn.Linear], Tensor]


def split(values: Tensor, terms: int) -> Tensor:
    """`values` as the sum of `terms` bfloat16 numbers, in float32: 8 bits each."""
    total = torch.zeros_like(values)
    for _ in range(terms):
        total = total + (values - total).bfloat16().float()
    return total


def in_terms(terms: int) -> Product:
    def product(states: Tensor, linear: nn.Linear) -> Tensor:
        return F.linear(split(states, terms), linear.weight, linear.bias)

    return product


class Replaced(nn.Module):
    """A linear layer of float32 weights whose product is computed in another way."""

    def __init__(self, linear: nn.Linear, product: Product) -> None:
        super().__init__()
        self.linear, self.product = linear, product

    def forward(self, states: Tensor) -> Tensor:
        """(T, inputs) -> (T, outputs)."""
        return self.product(states, self.linear)


class Variant(TorchEngine):
    """Float32 throughout, but for the linear layers' products."""

    def __init__(self, config: ModelConfig, product: Product) -> None:
        super().__init__(config, "float32")
        self.product = product

    def prepare(self, linear: nn.Linear) -> nn.Linear:
        """The linear layer as `product` takes it."""
        return linear

    def make_layer(self, tensors: Mapping[str, Tensor]) -> LayerRun:
        """See `Engine.make_layer`."""
        with torch.device("meta"):
            layer = Layer(self.config)
        state = {name: tensor.float() for name, tensor in tensors.items()}
        layer.load_state_dict(state, strict=True, assign=True)
        for name, module in list(layer.named_modules()):
            if isinstance(module, nn.Linear):
                layer.set_submodule(name, Replaced(self.prepare(module), self.product))
        layer.requires_grad_(False)

        def run(residual: Tensor, plan: TorchPlan) -> Tensor:
            output: Tensor = layer(residual, plan.rope, plan.batch, plan.masks, torch.float32)
            return output

        return run


class RoundedOutputs(Variant):
    """bfloat16 products with bfloat16 outputs; all between them, attention too, in float32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, lambda states, linear: linear(states.bfloat16()).float())

    def prepare(self, linear: nn.Linear) -> nn.Linear:
        """In bfloat16."""
        return linear.bfloat16()


class NarrowResidual(TorchEngine):
    """bfloat16 throughout: the residual stream is rounded after every addition."""

    def make_layer(self, tensors: Mapping[str, Tensor]) -> LayerRun:
        """See `Engine.make_layer`."""
        with torch.device("meta"):
            layer = Layer(self.config)
        state = {name: tensor.bfloat16() for name, tensor in tensors.items()}
        layer.load_state_dict(state, strict=True, assign=True)
        layer.requires_grad_(False)

        def run(residual: Tensor, plan: TorchPlan) -> Tensor:
            narrow = residual.bfloat16()
            hidden = layer.input_layernorm(narrow).bfloat16()
            narrow = narrow + layer.self_attn(hidden, plan.rope, plan.batch, plan.masks)
            hidden = layer.post_attention_layernorm(narrow).bfloat16()
            return (narrow + layer.mlp(hidden)).float()

        return run


@dataclass(frozen=True)
class Rung:
    """How to make an engine; `setting` is torch.backends.mkldnn.matmul.fp32_precision."""

    engine: Callable[[ModelConfig, int], Engine]
    emulated: bool = False
    setting: str | None = None


def torch_engine(dtype: str) -> Callable[[ModelConfig, int], Engine]:
    return lambda config, threads: choose_engine(config, dtype, "torch", threads)


def native_engine(dtype: str) -> Callable[[ModelConfig, int], Engine]:
    return lambda config, threads: choose_engine(config, dtype, "native", threads)


LADDER = {
    REFERENCE: Rung(torch_engine("float32")),
    "torch bfloat16, bfloat16 residual": Rung(lambda c, _: NarrowResidual(c, "bfloat16")),
    "torch bfloat16, float32 residual (ours)": Rung(torch_engine("bfloat16")),
    "bfloat16 products, float32 attention": Rung(lambda c, _: RoundedOutputs(c)),
    "1 term, float32 outputs and attention": Rung(lambda c, _: Variant(c, in_terms(1)), True),
    "2 terms": Rung(lambda c, _: Variant(c, in_terms(2)), True),
    "3 terms": Rung(lambda c, _: Variant(c, in_terms(3)), True),
    "mkldnn float32 as bf16": Rung(torch_engine("float32"), setting="bf16"),
    "mkldnn float32 as tf32": Rung(torch_engine("float32"), setting="tf32"),
    "native float32": Rung(native_engine("float32")),
    "native bfloat16": Rung(native_engine("bfloat16")),
    "int8 weights": Rung(lambda c, _: Int8Engine(c)),
    "int8 weights and activations": Rung(lambda c, _: Int8Engine(c, activations=True)),
}


def sample(data: Path, name: str, count: int, encoder: Encoder, limit: int) -> list[Comparison]:
    """Held-out comparisons with an edge and no conversation over `limit` tokens."""
    folder, subset = SETS[name]
    rows = [c for c in read_artifact(data / folder, Comparison, "test") if c.better]
    rows = [c for c in rows if subset in (None, c.subset)]
    found: list[Comparison] = []
    for i in np.random.default_rng(0).permutation(len(rows)):
        if max(map(len, encoder.encode_replies(rows[i]))) <= limit:
            found.append(replace(rows[i], id=f"{rows[i].source}/{rows[i].id}"))
        if len(found) == count:
            break
    return found


def climb(rung: Rung, folder: Path, encoder: Encoder, sets: Sequence[Sequence[Comparison]],
          threads: int, rounds: int) -> dict[str, Any]:  # fmt: skip
    """The rung's scores of each set, and its rates over all of them, a number a round."""
    weights = Weights(folder)
    before = torch.backends.mkldnn.matmul.fp32_precision
    try:
        if rung.setting is not None:
            torch.backends.mkldnn.matmul.fp32_precision = rung.setting
        engine = rung.engine(weights.config, threads)
        limit = weights.config.max_position_embeddings
        scorer = Scorer(Resident(weights, engine), encoder, folder.name, limit)
        scorer.score(sets[0][:2])
        rates = []
        for _ in range(rounds):
            started = time.perf_counter()
            found = [list(scorer.iter_scores(comparisons)) for comparisons in sets]
            took = time.perf_counter() - started
            tokens = sum(s.num_tokens for rows in found for row in rows for s in row)
            rates.append(tokens / took)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    values = [[[s.value for s in row] for row in rows] for rows in found]
    return {"engine": engine.name, "scores": values, "tokens_per_second": rates}


def judge(found: Mapping[str, Any], exact: Mapping[str, Any],
          sets: Mapping[str, Sequence[Comparison]]) -> dict[str, Any]:  # fmt: skip
    """A rung beside the reference: each set, and both together."""
    everything = [c for comparisons in sets.values() for c in comparisons]
    flat = [[row for rows in run["scores"] for row in rows] for run in (exact, found)]
    parts = {"all": (everything, *flat)}
    for i, (name, comparisons) in enumerate(sets.items()):
        parts[name] = (list(comparisons), exact["scores"][i], found["scores"][i])
    judged: dict[str, Any] = {}
    for name, (comparisons, before, after) in parts.items():
        report = compare_precision(comparisons, before, after)
        judged[name] = {
            "decided": report.num_decided, "flips": len(report.flips), "flipped": report.flipped,
            "flipped_interval": report.flipped_interval, "loss_rise_nats": report.loss_rise_nats,
            "loss_nats": report.cheap_loss_nats, "largest": report.largest_difference,
        }  # fmt: skip
    return judged


def auto(judged: Mapping[str, Mapping[str, Any]], rates: Mapping[str, float]) -> str:
    """The fastest rung that flips fewer than AUTO_MAX_FLIPPED of the decided edges."""
    fit = [name for name in rates if judged[name]["all"]["flipped"] < AUTO_MAX_FLIPPED]
    return max(fit, key=lambda name: rates[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--comparisons", type=int, default=300, help="of each set")
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--rungs", nargs="*", choices=list(LADDER), default=list(LADDER))
    parser.add_argument("--rounds", type=int, default=1, help="for the rungs with a speed")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    folder = args.model or fetch()
    encoder = Encoder.from_folder(folder)
    sets = {n: sample(args.data, n, args.comparisons, encoder, args.max_tokens) for n in SETS}
    path = args.out.with_suffix(".jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = [folder.name, args.comparisons, args.max_tokens, args.threads, args.rounds]
    done: dict[str, Any] = {}
    if path.exists():
        first, *rest = path.read_bytes().splitlines()
        if orjson.loads(first) != header:
            raise SystemExit(f"{path} was begun with other settings; give another -o")
        done = dict(map(orjson.loads, rest))
    else:
        path.write_bytes(orjson.dumps(header) + b"\n")
    for name in dict.fromkeys([REFERENCE, *args.rungs]):
        if name in done:
            continue
        rung = LADDER[name]
        try:
            rounds = 1 if rung.emulated else args.rounds
            done[name] = climb(rung, folder, encoder, list(sets.values()), args.threads, rounds)
        except (ConfigError, RuntimeError) as error:
            print(f"{name}: not run: {error}", flush=True)
            continue
        with path.open("ab") as file:
            file.write(orjson.dumps([name, done[name]]) + b"\n")
        print(f"{name}: {median(done[name]['tokens_per_second']):,.0f} tok/s", flush=True)
    exact = done[REFERENCE]
    judged = {name: judge(found, exact, sets) for name, found in done.items()}
    rates = {n: median(done[n]["tokens_per_second"]) for n in done if not LADDER[n].emulated}
    head = ["rung", "tok/s", "flips", "flipped (95 %)", "loss change", "largest diff", *SETS]
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for name, found in judged.items():
        whole = found["all"]
        same = found["all"]["largest"] == 0.0 and name != REFERENCE
        low, high = whole["flipped_interval"]
        cells = [
            name + (" (the reference's bits: no effect here)" if same else ""),
            f"{rates[name]:,.0f}" if name in rates else "emulated",
            f"{whole['flips']} of {whole['decided']:,}",
            f"{whole['flipped']:.2%} ({low:.2%} to {high:.2%})",
            f"{whole['loss_rise_nats']:+.5f}", f"{whole['largest']:.2g}",
            *(f"{found[n]['flipped']:.2%}, {found[n]['loss_rise_nats']:+.5f}" for n in SETS),
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |")
    choice = auto(judged, rates)
    print(f"\nthe fastest that flips under {AUTO_MAX_FLIPPED:.0%}: {choice}")
    result = {"header": header, "auto": choice, "tokens_per_second": rates, "rungs": judged}
    args.out.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
