"""A checkpoint larger than memory: all batches go through one layer after another.

    Weights -> Streaming(weights, engine, scratch=FOLDER).run(batches) -> scores

Each layer's weights are read once in a whole job, the next layer's while this one computes. The
layers are those of `Resident`, so are the batches, so are the bits of the scores.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldpm.errors import WorldPMError
from worldpm.model.batch import TreeBatch
from worldpm.model.config import ModelConfig
from worldpm.model.engine import Engine, LayerRun, run_head
from worldpm.model.forecast import Forecast, Progress
from worldpm.model.identity import job_identity
from worldpm.model.native import NativeEngine
from worldpm.model.reading import TensorReader
from worldpm.model.states import FileStates, MemoryStates, Say, States
from worldpm.model.weights import EMBEDDING, NORM, Weights


@dataclass(slots=True)
class RunCost:
    """What a run took; seconds are of wall time, those of reads beside the others."""

    num_bytes: int = 0
    read_seconds: float = 0.0
    stalled_seconds: float = 0.0  # waited for a read
    pack_seconds: float = 0.0  # checked values and made layers
    compute_seconds: float = 0.0  # layers, with getting and putting the states
    seconds: float = 0.0
    layers: int = 0  # run, without those that an earlier run had done


class Streaming:
    """A checkpoint whose layers are in memory one or two at a time.

    With `scratch`, a folder, the states between layers are kept in a file there, and a run of the
    same job goes on with it after a kill, with the same bits; the files go when the job is done.
    Without it they are kept in memory if there is room: `room` gives the bytes that are left beside
    a batch of so many tokens (None: any number). The run raises WorldPMError where there is none
    for the states or the largest batch. `buffers` is 2 (a layer is read while another computes) or,
    to save memory, 1. Values are checked to be finite as they are read; of the embedding only the
    rows that the job needs are.
    """

    whole_job = True

    def __init__(
        self,
        weights: Weights,
        engine: Engine,
        *,
        scratch: Path | None = None,
        room: Callable[[int], int] | None = None,
        buffers: int = 2,
        say: Say = lambda text: None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        assert buffers in (1, 2)
        self.engine = engine
        self.scratch = scratch
        self.room = room
        self.buffers = buffers
        self.say = say
        self.on_progress = on_progress
        self.cost = RunCost()
        self._weights = weights
        self._reader = TensorReader(weights)
        self._names = [weights.layer_names(i) for i in range(weights.config.num_hidden_layers)]
        self._keeps = keeps_tensors(weights, engine)
        self._head = engine.make_head(weights.read([NORM])[NORM], weights.head())

    @torch.inference_mode()
    def run(self, batches: Iterable[TreeBatch], *, every_token: bool = False) -> Iterator[Tensor]:
        """See `Runner.run`; nothing comes before all is computed."""
        job = list(batches)
        if not job:
            return
        self.cost = cost = RunCost()
        bytes_before, read_before = self._reader.num_bytes, self._reader.seconds
        started = time.perf_counter()
        with closing(self._states(job)) as states:
            if states.layers_done < 0:
                self._embed(job, states)
            self._advance(job, states)
            outputs = []
            for number, batch in enumerate(job):
                residual = states.get(number)
                outputs.append(run_head(self._head, residual, batch, every_token=every_token))
            states.remove()
        cost.seconds = time.perf_counter() - started
        cost.num_bytes = self._reader.num_bytes - bytes_before
        cost.read_seconds = self._reader.seconds - read_before
        yield from outputs

    def _states(self, job: Sequence[TreeBatch]) -> States:
        tokens = [len(batch.tokens) for batch in job]
        hidden = self._weights.config.hidden_size
        left = None if self.room is None else self.room(max(tokens))
        if left is not None and left < 0:
            raise WorldPMError(
                f"a batch of {max(tokens):,} tokens takes {-left / 1e9:.2f} GB more than there is; "
                "give more --memory, or shorten the longest conversation"
            )
        if self.scratch is not None:
            identity = job_identity(self._weights, self.engine, job)
            states = FileStates(self.scratch, identity, tokens, hidden, self.say)
            if states.layers_done >= 0:
                self.say(f"{self.scratch}: goes on after {states.layers_done} layers")
            return states
        size = 4 * hidden * sum(tokens)
        if left is not None and size > left:
            raise WorldPMError(
                f"the states of {sum(tokens):,} tokens take {size / 1e9:.2f} GB and "
                f"{left / 1e9:.2f} GB are left for them; name a folder on a disk for them "
                "(--scratch), or give more --memory"
            )
        return MemoryStates()

    def _embed(self, job: Sequence[TreeBatch], states: States) -> None:
        """Read the rows of the job's tokens, and put the states before the first layer."""
        sizes = [len(batch.tokens) for batch in job]
        tokens = torch.cat([batch.tokens for batch in job]).numpy()
        rows, places = np.unique(tokens, return_inverse=True)
        table = self._reader.read_rows(EMBEDDING, rows)
        self._reader.check_finite(EMBEDDING, table)
        for number, own in enumerate(torch.split(torch.from_numpy(places), sizes)):
            states.put(number, table[own].float())
        states.commit(0)

    def _advance(self, job: Sequence[TreeBatch], states: States) -> None:
        """Take the states through all the layers that are left."""
        first = states.layers_done
        overlap = self.buffers == 2 or not self._keeps
        costs = [batch_cost(self._weights.config, batch) for batch in job]
        forecast = Forecast(costs, len(self._names) - first, overlap=overlap)
        tokens = sum(len(batch.tokens) for batch in job)
        sizes = [self._weights.num_bytes(names) for names in self._names]
        for index, layer in self._layers(first, forecast):
            done = 0
            for number, batch in enumerate(job):
                begun = time.perf_counter()
                residual = layer(states.get(number), self.engine.plan(batch))
                states.put(number, residual.cpu())  # from a GPU; else it is there already
                forecast.batch_done(number, time.perf_counter() - begun)
                done += len(batch.tokens)
                if self.on_progress is not None:
                    passed = index, len(sizes), sum(sizes[first : index + 1]), sum(sizes[first:])
                    self.on_progress(Progress(*passed, done, tokens, forecast.seconds_left()))
            del layer
            states.commit(index + 1)
            self.cost.layers += 1
        self.cost.compute_seconds = forecast.compute_seconds

    def _layers(self, first: int, forecast: Forecast) -> Iterator[tuple[int, LayerRun]]:
        """Yield the layers from `first` on; the caller drops each before it asks for the next."""
        reader, names = self._reader, self._names[first:]
        if not names:
            return
        size = max(map(reader.buffer_bytes, names))
        buffers = [reader.buffer(size) for _ in range(self.buffers)]
        with ThreadPoolExecutor(1) as thread:

            def ahead(number: int) -> Future[tuple[dict[str, Tensor], float]] | None:
                if number == len(names):
                    return None
                return thread.submit(reader.timed, names[number], buffers[number % len(buffers)])

            waiting = ahead(0)
            for number in range(len(names)):
                assert waiting is not None
                begun = time.perf_counter()
                tensors, read_seconds = waiting.result()
                ready = time.perf_counter()
                self.cost.stalled_seconds += ready - begun
                if self.buffers == 2:
                    waiting = ahead(number + 1)
                layer = self._make_layer(first + number, tensors)
                del tensors
                if self.buffers == 1 and not self._keeps:
                    waiting = ahead(number + 1)
                packed = time.perf_counter() - ready
                self.cost.pack_seconds += packed
                forecast.layer_begins(read_seconds, packed)
                yield first + number, layer
                del layer
                if self.buffers == 1 and self._keeps:
                    waiting = ahead(number + 1)

    def _make_layer(self, index: int, tensors: dict[str, Tensor]) -> LayerRun:
        for name, tensor in tensors.items():
            self._reader.check_finite(name, tensor)
        prefix = f"model.layers.{index}."
        named = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        return self.engine.make_layer(named)


def keeps_tensors(weights: Weights, engine: Engine) -> bool:
    """Whether the engine's layers may use the tensors as they were read; else they have copies."""
    if isinstance(engine, NativeEngine):
        return False
    kept = {torch.float32, getattr(torch, engine.dtype)}  # norms stay in float32 in any precision
    count = weights.config.num_hidden_layers
    layers = [name for index in range(count) for name in weights.layer_names(index)]
    return any(weights.places[name].dtype in kept for name in layers)


def batch_cost(config: ModelConfig, batch: TreeBatch) -> float:
    """Floating-point operations of one layer over a batch: products and attention."""
    matrices = config.num_parameters() / config.num_hidden_layers
    pairs = 0
    for lengths, ancestors in zip(batch.segments, batch.ancestors, strict=True):
        for length, above in zip(lengths, ancestors, strict=True):
            pairs += length * (length + 1) // 2 + length * sum(lengths[i] for i in above)
    width = config.num_attention_heads * config.head_dim
    return 2 * matrices * len(batch.tokens) + 4 * width * pairs
