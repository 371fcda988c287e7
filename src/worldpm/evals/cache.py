"""Scores kept on disk, so that no conversation is scored twice with the same model.

    ScoreCache(folder, digest)       FOLDER/DIGEST.jsonl: one line a conversation
    cached(cache, comparisons, run)  -> every comparison's scores; `run` sees those it lacks alone

A line is written as soon as its comparison is scored, so a run that was killed goes on where it
was. `digest` must say everything that a score depends on but the conversation: weights, template,
engine, precision. A line cut by a kill, or any other that cannot be read, is scored again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson

from worldpm.errors import DataError
from worldpm.records import Comparison, Conversation, Score

Run = Callable[[Iterable[Comparison]], Iterator[Sequence[Score]]]
"""K scores for each comparison, in order, as `Scorer.iter_scores` gives them."""


def conversation_key(conversation: Conversation) -> str:
    """32 hex digits that tell one conversation from every other: roles, texts and their borders."""
    rows = [[message.role, message.content] for message in conversation]
    # Lone surrogates, which JSON cannot hold, are told apart too.
    text = repr(rows).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


class ScoreCache:
    """The scores of one model that are in a folder; a context that appends the new ones."""

    def __init__(self, folder: Path, digest: str) -> None:
        self.path = folder / f"{digest}.jsonl"
        self._scores = dict(_read(self.path))
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return len(self._scores)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def get(self, comparison: Comparison) -> tuple[Score, ...] | None:
        """All the scores of a comparison, None if one is lacking."""
        found = [self._scores.get(conversation_key(c)) for c in comparison.conversations()]
        kept = tuple(score for score in found if score is not None)
        return kept if len(kept) == len(found) else None

    def add(self, comparison: Comparison, scores: Sequence[Score]) -> None:
        """Keep the scores of a comparison, on disk before this returns.

        Raises DataError where the folder cannot be written to.
        """
        lines = []
        for conversation, score in zip(comparison.conversations(), scores, strict=True):
            key = conversation_key(conversation)
            if key not in self._scores:
                self._scores[key] = score
                row = [key, score.value, score.num_tokens, score.cut_tokens]
                lines.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        if not lines:
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("ab")
                if self._file.tell() and not _ends_a_line(self.path):
                    self._file.write(b"\n")
            self._file.write(b"".join(lines))
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self.path}: scores cannot be kept: {error.strerror}; give another --cache, or "
                "--no-cache"
            ) from None


def _read(path: Path) -> Iterator[tuple[str, Score]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; give another --cache, or --no-cache"
        ) from None
    for line in lines:
        try:
            key, value, num_tokens, cut_tokens = orjson.loads(line)
            yield str(key), Score(float(value), int(num_tokens), int(cut_tokens))
        except (orjson.JSONDecodeError, TypeError, ValueError):
            continue  # cut by a kill: scored again


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def cached(
    cache: ScoreCache, comparisons: Sequence[Comparison], run: Run
) -> list[tuple[Score, ...]]:
    """Each comparison's scores, in order; `run` gets those that the cache lacks, at once.

    `run` is not called where there are none, so a model need not even be loaded.
    """
    found = [cache.get(comparison) for comparison in comparisons]
    missing = [index for index, scores in enumerate(found) if scores is None]
    if missing:
        new = run([comparisons[index] for index in missing])
        for index, scores in zip(missing, new, strict=True):
            cache.add(comparisons[index], scores)
            found[index] = tuple(scores)
    return [scores for scores in found if scores is not None]
