"""What a job takes before it starts: memory, scratch, reads and time; and which runner that asks.

    plan = plan_memory(weights, engine, parse_bytes("8GB"), tokens=88_000)
    print(plan.with_speeds(measure_speeds(weights, engine)))

Weights that fit beside a batch's activations stay in memory; else they are streamed. Of a model
that is only a config.json yet, an `Outline`, all of it is an estimate.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from worldpm.errors import ConfigError
from worldpm.model.engine import Engine, Resident, Runner
from worldpm.model.memory import free_bytes, gb, resident_bytes
from worldpm.model.native import NativeEngine
from worldpm.model.outline import Outline
from worldpm.model.probe import Speeds
from worldpm.model.streaming import Streaming, keeps_tensors
from worldpm.model.weights import EMBEDDING, Weights

BATCH_TOKENS = 4096  # of a batch, if no tree alone is larger
ESTIMATE = (
    "estimate     no weights are there: sizes by config.json, speeds by a small layer and a small "
    "file on that disk"
)
LIBRARY_BYTES = 32 << 20  # code that the first batch pages in: 21 MB with torch
FAST_DISK = 7e9  # bytes a second: what a good NVMe disk of today gives


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes, and with a job's tokens and measured speeds also seconds; None is not known."""

    streaming: bool
    memory_bytes: int  # that the process may hold in all
    peak_bytes: int  # that it will hold, states in memory included
    weights_bytes: int  # of the checkpoint's files
    packed_bytes: int  # of all weights as the engine holds them
    layer_bytes: int  # of the largest layer as stored
    layers: int
    buffers: int  # layers as stored in memory: 1 saves memory, 0 resident
    overlap: bool  # a layer is read while another computes
    activation_bytes: int  # of one batch
    tokens: int | None = None  # of the job, shared prefixes once
    state_bytes: int | None = None  # of all batches between two layers
    scratch_bytes: int | None = None  # on disk; 0 if the states stay in memory
    passes: int = 1  # over the weights
    read_bytes: int = 0
    speeds: Speeds | None = None
    expected_seconds: float | None = None
    fast_disk_seconds: float | None = None  # the same, were the disk one of FAST_DISK
    estimate: bool = False  # there are no weights yet

    def with_speeds(self, speeds: Speeds) -> "MemoryPlan":
        """The same with the seconds that the job takes at those speeds, and from a fast disk."""
        fast = speeds._replace(bytes_per_second=FAST_DISK)
        return replace(
            self,
            speeds=speeds,
            expected_seconds=self._seconds(speeds),
            fast_disk_seconds=self._seconds(fast),
        )

    def _seconds(self, speeds: Speeds) -> float | None:
        if self.tokens is None:
            return None
        compute = speeds.pack_seconds + self.tokens / speeds.tokens_per_second
        read = self.layer_bytes / speeds.bytes_per_second
        ends = max(0, self.read_bytes - self.layers * self.layer_bytes) / speeds.bytes_per_second
        if self.overlap:
            return ends + read + compute + (self.layers - 1) * max(read, compute)
        return ends + self.layers * (read + compute)

    def __str__(self) -> str:
        mode = "resident, all weights in memory"
        if self.streaming:
            ahead = "read ahead" if self.overlap else "not read ahead, to save memory"
            mode = f"streaming, a layer at a time, the next one {ahead}"
        lines = [
            *([ESTIMATE] if self.estimate else []),
            f"mode         {mode}",
            f"weights      {gb(self.weights_bytes)}, {gb(self.packed_bytes)} as computed with, "
            f"{self.layers} layers of {gb(self.layer_bytes)}",
            f"activations  {gb(self.activation_bytes)} for a batch",
            f"memory       {gb(self.peak_bytes)} at most, of {gb(self.memory_bytes)}",
        ]
        if self.tokens is not None and self.scratch_bytes is not None:
            lines.append(f"tokens       {'about ' if self.estimate else ''}{self.tokens:,}")
            lines.append(f"scratch      {gb(self.scratch_bytes)} on disk")
        lines.append(f"passes       {self.passes}, {gb(self.read_bytes)} to read")
        if self.speeds is not None:
            rate = self.speeds.tokens_per_second / self.layers
            lines.append(
                f"measured     {self.speeds.bytes_per_second / 1e9:.2f} GB/s read, "
                f"{rate:,.{0 if rate >= 10 else 2}f} tokens/s through all layers"
            )
            reading = (self.read_bytes / rate for rate in (self.speeds.bytes_per_second, FAST_DISK))
            times = self.expected_seconds, self.fast_disk_seconds
            known = times if self.expected_seconds is not None else reading
            here, fast = (_duration(seconds) for seconds in known if seconds is not None)
            what = "time         about" if self.tokens is not None else "reading      about"
            lines.append(f"{what} {here}; {fast} were the disk one of {FAST_DISK / 1e9:.0f} GB/s")
        return "\n".join(lines)


def plan_memory(
    weights: Weights,
    engine: Engine,
    memory: int | None = None,
    *,
    tokens: int | None = None,
    largest_batch: int = BATCH_TOKENS,
    scratch: bool = False,
) -> MemoryPlan:
    """Plan for a process that may hold `memory` bytes (None: what it holds and what is free).

    `tokens` are the job's, `largest_batch` those of its largest batch; with `scratch` the states go
    to disk even if they would fit. Raises ConfigError if not even a layer at a time fits.
    """
    config = weights.config
    own = resident_bytes()
    memory = own + free_bytes() if memory is None else memory
    layers = [weights.layer_names(index) for index in range(config.num_hidden_layers)]
    packed = [packed_bytes(weights, engine, names) for names in layers]
    stored = max(map(weights.num_bytes, layers))
    head = sum(_numel(weights, n) * 4 for n in weights.places if n.startswith("score."))
    activations = activation_bytes(weights, engine, largest_batch)
    base = own + LIBRARY_BYTES + head + activations
    resident = base + sum(packed) + weights.num_bytes([EMBEDDING])
    states = None if tokens is None else 4 * config.hidden_size * tokens
    plan = MemoryPlan(
        streaming=resident > memory,
        memory_bytes=memory,
        peak_bytes=resident,
        weights_bytes=weights.num_bytes(list(weights.places)),
        packed_bytes=sum(packed) + weights.num_bytes([EMBEDDING]) + head,
        layer_bytes=stored,
        layers=len(layers),
        buffers=0,
        overlap=False,
        activation_bytes=activations,
        tokens=tokens,
        state_bytes=states,
        scratch_bytes=None if tokens is None else 0,
        read_bytes=weights.num_bytes(list(weights.places)),
        estimate=isinstance(weights, Outline),
    )
    if not plan.streaming:
        return plan
    made = 0 if keeps_tensors(weights, engine) else max(packed)
    # The rows of the embedding that a job needs come and go before the layers do.
    rows = min(config.vocab_size, tokens or config.vocab_size)
    rows_bytes = weights.num_bytes([EMBEDDING]) * rows // config.vocab_size
    read = weights.num_bytes([name for names in layers for name in names]) + rows_bytes
    for buffers in (2, 1):
        peak = base + buffers * stored + made
        if peak <= memory:
            break
    else:
        raise ConfigError(
            f"memory of {gb(memory)} is not enough: one layer at a time and a batch of "
            f"{largest_batch:,} tokens take {gb(peak)}"
        )
    in_memory = states is not None and not scratch and peak + states <= memory
    return replace(
        plan,
        peak_bytes=peak + (states if states is not None and in_memory else 0),
        buffers=buffers,
        overlap=buffers == 2 or made > 0,
        scratch_bytes=None if states is None else 0 if in_memory else 2 * states,
        read_bytes=read,
    )


def choose_runner(
    weights: Weights,
    engine: Engine,
    memory: int | None = None,
    scratch: Path | None = None,
) -> Runner:
    """`Resident` if the weights fit in `memory` (see `plan_memory`), else `Streaming`."""
    plan = plan_memory(weights, engine, memory)
    if not plan.streaming:
        return Resident(weights, engine)
    beside = plan.memory_bytes - plan.peak_bytes + plan.activation_bytes

    def room(tokens: int) -> int:
        return beside - activation_bytes(weights, engine, max(tokens, BATCH_TOKENS))

    return Streaming(weights, engine, scratch=scratch, room=room, buffers=plan.buffers)


def packed_bytes(weights: Weights, engine: Engine, names: list[str]) -> int:
    """Bytes of a layer's tensors as the engine holds them."""
    total = 0
    for name in names:
        count = _numel(weights, name)
        matrix = len(weights.places[name].shape) == 2
        wide = weights.places[name].num_bytes >= 4 * count  # stored in float32, or more
        if isinstance(engine, NativeEngine):
            # Matrices are kept in bfloat16 unless that would lose something.
            size = 2 if matrix and (engine.dtype == "bfloat16" or not wide) else 4
        elif engine.dtype == "int8":
            size = 1 if matrix else 4
        else:
            size = getattr(torch, engine.dtype).itemsize
        total += count * size
    return total


def activation_bytes(weights: Weights, engine: Engine, tokens: int) -> int:
    """Most memory that a batch of so many tokens takes on its way through a layer."""
    config = weights.config
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.query_channels, config.key_channels
    residual = 2 * 4 * hidden + 8 * config.head_dim
    if isinstance(engine, NativeEngine):
        return tokens * (residual + 4 * (queries + 2 * keys)) + (64 << 20)
    size = 2 if engine.dtype == "bfloat16" else 4
    widened = 2 * 4 * hidden * inner if engine.dtype == "int8" else 0
    attention = (5 * queries + 2 * keys) * size + 1024 * size  # keys repeated for their queries
    mlp = 3 * inner * size
    return tokens * (residual + hidden * (4 + size) + max(attention, mlp)) + widened + (64 << 20)


def _numel(weights: Weights, name: str) -> int:
    return torch.Size(weights.places[name].shape).numel()


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
