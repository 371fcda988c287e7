"""`Scorer`: a checkpoint and comparisons -> scores. The one object that knows a model.

>>> scorer = load()                                     # the embedded default, worldpm-135m
>>> scorer.score([comparison])                          # [[0.81, -1.32]]
>>> scorer.best_of("Why?", ["Because.", "Ask Ann."])    # 1
>>> for scores in scorer.iter_scores(comparisons): ...  # Score(value, num_tokens), any number

The score is read at the last token that the template writes for a conversation, found by its
position, never by comparing token ids.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldpm.errors import ConfigError, DataError, NonFiniteError, WorldPMError
from worldpm.model.allocator import keep_freed_memory
from worldpm.model.batch import collate
from worldpm.model.config import ModelConfig
from worldpm.model.contract import check_contract
from worldpm.model.engine import Engine, Runner
from worldpm.model.hub import Located, locate
from worldpm.model.int8 import Int8Engine
from worldpm.model.native import choose_engine
from worldpm.model.outline import Outline, lacks_weights, rough_tokens
from worldpm.model.plan import BATCH_TOKENS, MemoryPlan, choose_runner, plan_memory
from worldpm.model.probe import measure_speeds, outline_speeds
from worldpm.model.weights import Weights
from worldpm.records import Comparison, Conversation, Message, Score, turns
from worldpm.results import Ranking, Trace
from worldpm.rows import comparison_from_row
from worldpm.tokens.encode import Encoder
from worldpm.tokens.pack import pack
from worldpm.tokens.tree import TokenTree, build_tree, split_sequences

DTYPES = ("auto", "float32", "bfloat16", "int8")
TREE_TOKENS = 16_384  # replies to one prompt beyond this go to another tree, its prompt again
CHUNK_COMPARISONS = 256


@dataclass(frozen=True, slots=True)
class _Request:
    """A comparison ready to run: its replies in one tree, or in several when they are many."""

    comparison: Comparison
    trees: tuple[TokenTree, ...]
    cut_tokens: tuple[int, ...]  # (K,)


class Scorer:
    """Scores comparisons with one checkpoint. `Scorer.score` is a `ScoreFn`.

    With `truncate`, a conversation that is too long loses its oldest tokens, and its `Score` says
    how many; without, it is an error.
    """

    def __init__(
        self,
        runner: Runner,
        encoder: Encoder,
        name: str,
        max_tokens: int,
        *,
        truncate: bool = False,
    ) -> None:
        self.runner = runner
        self.encoder = encoder
        self.name = name
        self.max_tokens = max_tokens
        self.truncate = truncate

    def describe(self) -> str:
        """What computes: engine, precision and threads, in one line."""
        engine = self.runner.engine
        return f"{engine.name}, {engine.dtype}, {engine.threads} threads"

    def score(self, comparisons: Sequence[Comparison]) -> list[list[float]]:
        """K scores (log-odds units) for each comparison, in order.

        Raises DataError for a conversation that is too long, naming it, and NonFiniteError for
        a score that is not finite.
        """
        return [[score.value for score in scores] for scores in self.iter_scores(comparisons)]

    def iter_scores(self, comparisons: Iterable[Comparison]) -> Iterator[tuple[Score, ...]]:
        """Yield each comparison's scores, in order, holding one chunk of comparisons at a time."""
        for request, outputs in self._run(comparisons, every_token=False):
            values = [value for output in outputs for value in output.tolist()]
            tokens = [n for tree in request.trees for n in tree.num_tokens.tolist()]
            self._check(request.comparison, values)
            yield tuple(map(Score, values, tokens, request.cut_tokens))

    def iter_traces(self, comparisons: Iterable[Comparison]) -> Iterator[tuple[Trace, ...]]:
        """Yield, for each comparison, the score at every token of its K whole conversations.

        A score before the end is that of the text so far read by a head which was trained at the
        end only; the last is the reply's score, to the bit.
        """
        for request, outputs in self._run(comparisons, every_token=True):
            traces: list[Trace] = []
            for tree, output in zip(request.trees, outputs, strict=True):
                pieces = self.encoder.pieces(tree.tokens.tolist())  # a prompt's once, for all K
                for indices in tree.path_indices():
                    own = output[torch.from_numpy(indices)].tolist()
                    ids = tree.tokens[indices].tolist()
                    texts = [pieces[i] for i in indices.tolist()]
                    cut = request.cut_tokens[len(traces)]
                    traces.append(Trace(tuple(texts), tuple(own), tuple(ids), cut))
            self._check(request.comparison, [trace.values[-1] for trace in traces])
            yield tuple(traces)

    def rank(self, prompt: str | Conversation, replies: Sequence[str | Conversation]) -> Ranking:
        """The replies to one prompt with their scores, best first."""
        row = {"prompt": _plain(prompt), "replies": [_plain(reply) for reply in replies]}
        comparison = comparison_from_row(row, where="rank", default_id="rank")
        (scores,) = self.iter_scores([comparison])
        return Ranking(comparison, scores)

    def best_of(self, prompt: str | Conversation, replies: Sequence[str | Conversation]) -> int:
        """The index of the reply with the highest score, the first of equals."""
        return self.rank(prompt, replies).order[0]

    def count(self, comparisons: Iterable[Comparison]) -> tuple[int, int]:
        """Tokens of all comparisons' trees, prefixes once, and of the largest batch to plan for.

        A batch is planned full: `load`, which does not know the job yet, plans for the same.
        """
        return _count(map(self._request, comparisons))

    def _run(
        self, comparisons: Iterable[Comparison], *, every_token: bool
    ) -> Iterator[tuple[_Request, list[Tensor]]]:
        """Yield each comparison with one output a tree, in order."""
        size = None if self.runner.whole_job else CHUNK_COMPARISONS
        for requests in _one_ahead(iter(comparisons), size, self._request):
            trees = [
                (i, j) for i, request in enumerate(requests) for j in range(len(request.trees))
            ]
            # Neighbours of like size make even batches; the outputs go back to their own places.
            trees.sort(key=lambda place: requests[place[0]].trees[place[1]].tokens.size)
            ordered = [requests[i].trees[j] for i, j in trees]
            groups = list(pack(ordered, BATCH_TOKENS))
            batches = (collate([ordered[k] for k in group]) for group in groups)
            outputs: dict[tuple[int, int], Tensor] = {}
            runs = self.runner.run(batches, every_token=every_token)
            for group, output in zip(groups, runs, strict=True):
                sizes = [
                    len(ordered[k].tokens if every_token else ordered[k].leaves) for k in group
                ]
                for k, own in zip(group, torch.split(output, sizes), strict=True):
                    outputs[trees[k]] = own
            for i, request in enumerate(requests):
                yield request, [outputs[i, j] for j in range(len(request.trees))]

    def _request(self, comparison: Comparison) -> _Request:
        return _prepare(comparison, self.encoder, self.name, self.max_tokens, self.truncate)

    def _check(self, comparison: Comparison, values: Sequence[float]) -> None:
        for reply, value in enumerate(values):
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"{comparison.id}: reply {reply} got the score {value} from {self.name}; "
                    "the weights or the precision are at fault, not the text"
                )


def _prepare(
    comparison: Comparison, encoder: Encoder, name: str, max_tokens: int, truncate: bool
) -> _Request:
    try:
        sequences = encoder.encode_replies(comparison)
    except DataError as error:
        raise DataError(f"{comparison.id}: {error}") from None
    cut = [max(0, len(sequence) - max_tokens) for sequence in sequences]
    if any(cut) and not truncate:
        longest = cut.index(max(cut))
        raise DataError(
            f"{comparison.id}: reply {longest} makes a conversation of "
            f"{len(sequences[longest]):,} tokens; {name} takes {max_tokens:,}; "
            "shorten it, or let its oldest tokens be cut (truncate)"
        )
    kept = [sequence[n:] for sequence, n in zip(sequences, cut, strict=True)]
    groups = split_sequences(kept, TREE_TOKENS)
    trees = tuple(build_tree([kept[k] for k in group]) for group in groups)
    return _Request(comparison, trees, tuple(cut))


def _count(requests: Iterable[_Request]) -> tuple[int, int]:
    total, largest = 0, BATCH_TOKENS
    for request in requests:
        for tree in request.trees:
            total, largest = total + tree.tokens.size, max(largest, tree.tokens.size)
    return total, largest


def _one_ahead(
    comparisons: Iterator[Comparison], size: int | None, prepare: Callable[[Comparison], _Request]
) -> Iterator[list[_Request]]:
    """Chunks of `size` requests (None: one chunk), each encoded while the one before it is used."""
    with ThreadPoolExecutor(1) as worker:

        def begin() -> Future[list[_Request]] | None:
            try:
                chunk = list(islice(comparisons, size))
            except WorldPMError as error:  # of the input; the chunk before it is still scored
                failed: Future[list[_Request]] = Future()
                failed.set_exception(error)
                return failed
            return worker.submit(lambda: [prepare(c) for c in chunk]) if chunk else None

        waiting = begin()
        while waiting is not None:
            requests = waiting.result()
            waiting = begin()
            yield requests


def _plain(text: str | Conversation) -> object:
    return text if isinstance(text, str) else turns(text)


def load(
    model: str | Path | None = None,
    *,
    dtype: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
    truncate: bool = False,
    memory: int | None = None,
    scratch: Path | None = None,
) -> Scorer:
    """Load a checkpoint folder, a Hugging Face id, or with None the embedded default.

    `dtype` is "auto", "float32", "bfloat16" or "int8" (weights alone, by torch, a quarter of the
    memory, to be judged on comparisons of one's own first: `worldpm.evals.gate`); `engine` is
    "auto" (native where it is installed), "native" or "torch"; `threads` defaults to the processors
    at hand. Weights that do not fit in `memory`, the bytes that the process may hold (None: what is
    free), are read from disk for every job, a layer at a time; `scratch` is a folder where such a
    job keeps its states, to go on after a stop.

    Raises CheckpointError for a folder that is not a complete checkpoint of a supported shape,
    ConfigError for a dtype or engine that is unknown or not to be had, and for too little memory.
    """
    found, weights, encoder, chosen = _open(model, dtype, engine, threads)
    return Scorer(
        choose_runner(weights, chosen, memory, scratch),
        encoder,
        found.name,
        weights.config.max_position_embeddings,
        truncate=truncate,
    )


def plan_score(
    model: str | Path | None,
    comparisons: Iterable[Comparison] | None,
    *,
    dtype: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
    truncate: bool = False,
    memory: int | None = None,
    scratch: Path | None = None,
) -> MemoryPlan:
    """What scoring `comparisons` (None: any) would take; settings and errors as of `load`.

    Encodes them, reads one layer and runs it on a few tokens, and scores nothing. Where `model` is
    a folder with a config.json and no weights, the plan is an estimate.
    """
    found = locate(model)
    bare = lacks_weights(found.folder)
    weights: Weights = Outline(found.folder) if bare else Weights(found.folder)
    config = weights.config

    def make_engine(config: ModelConfig) -> Engine:
        return _make_engine(config, dtype, engine, threads)

    tokens, largest = None, BATCH_TOKENS
    if comparisons is not None and (not bare or (found.folder / "tokenizer.json").is_file()):
        encoder, limit = Encoder.from_folder(found.folder), config.max_position_embeddings
        tokens, largest = _count(
            _prepare(each, encoder, found.name, limit, truncate) for each in comparisons
        )
    elif comparisons is not None:
        tokens = rough_tokens(comparisons)
    chosen = make_engine(config)
    plan = plan_memory(
        weights, chosen, memory, tokens=tokens, largest_batch=largest, scratch=scratch is not None
    )
    if isinstance(weights, Outline):
        return plan.with_speeds(outline_speeds(weights, make_engine))
    return plan.with_speeds(measure_speeds(weights, chosen))


def _open(
    model: str | Path | None, dtype: str, engine: str, threads: int | None
) -> tuple[Located, Weights, Encoder, Engine]:
    found = locate(model)
    keep_freed_memory()
    weights = Weights(found.folder)
    encoder = Encoder.from_folder(found.folder)
    check_contract(found.folder, encoder)
    return found, weights, encoder, _make_engine(weights.config, dtype, engine, threads)


def _make_engine(config: ModelConfig, dtype: str, engine: str, threads: int | None) -> Engine:
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if dtype != "int8":
        return choose_engine(config, dtype, engine, threads)
    if engine == "native":
        raise ConfigError("the native engine has no int8; use --engine torch")
    choose_engine(config, "float32", "torch", threads)  # sets the threads
    return Int8Engine(config)


def get_score(
    model: Scorer, tokenizer: object, conversation: Sequence[Mapping[str, Any]] | Conversation
) -> float:
    """The score of one conversation, with the signature of the released README's function.

    `tokenizer` is accepted for that signature and not used: the scorer carries its own encoder,
    which keeps typed control tokens plain.
    """
    del tokenizer
    messages = [
        {"role": m.role, "content": m.content} if isinstance(m, Message) else m
        for m in conversation
    ]
    row = {"messages": messages}
    comparison = comparison_from_row(row, where="conversation", default_id="conversation")
    return model.score([comparison])[0][0]
