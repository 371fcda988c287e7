"""`Scorer`: a checkpoint and comparisons -> scores. The one object that knows a model.

>>> scorer = load()                                     # the embedded default, worldpm-135m
>>> scorer.score([comparison])                          # [[0.81, -1.32]]
>>> for scores in scorer.iter_scores(comparisons): ...  # Score(value, num_tokens), any number

The score is read at the last token that the template writes for a conversation, found by its
position, never by comparing token ids.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from worldpm.errors import ConfigError, DataError, WorldPMError
from worldpm.model.batch import collate
from worldpm.model.checkpoint import read_model
from worldpm.model.decoder import PreferenceModel
from worldpm.records import Comparison, Conversation, Message, Score
from worldpm.rows import comparison_from_row
from worldpm.tokens.encode import Encoder
from worldpm.tokens.pack import pack
from worldpm.tokens.tree import TokenTree, build_tree

DTYPES = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
BATCH_TOKENS = 4096
CHUNK_COMPARISONS = 256


class Scorer:
    """Scores comparisons with one checkpoint. `Scorer.score` is a `ScoreFn`."""

    def __init__(self, model: PreferenceModel, encoder: Encoder, name: str) -> None:
        self.model = model
        self.encoder = encoder
        self.name = name

    @property
    def max_tokens(self) -> int:
        """The longest conversation the model takes, in tokens."""
        return self.model.model.config.max_position_embeddings

    def score(self, comparisons: Sequence[Comparison]) -> list[list[float]]:
        """K scores (log-odds units) for each comparison, in order.

        Raises DataError for a conversation that is too long, naming it, and WorldPMError for a
        score that is not finite.
        """
        return [[score.value for score in scores] for scores in self.iter_scores(comparisons)]

    def iter_scores(self, comparisons: Iterable[Comparison]) -> Iterator[tuple[Score, ...]]:
        """Yield each comparison's scores, in order, holding one chunk of comparisons at a time."""
        remaining = iter(comparisons)
        while chunk := list(islice(remaining, CHUNK_COMPARISONS)):
            yield from self._score_chunk(chunk)

    def _score_chunk(self, comparisons: Sequence[Comparison]) -> list[tuple[Score, ...]]:
        trees = [self._tree(comparison) for comparison in comparisons]
        # Neighbours of like size make even batches; the results go back to their own places.
        by_size = sorted(range(len(trees)), key=lambda i: trees[i].tokens.size)
        results: dict[int, tuple[Score, ...]] = {}
        for group in pack([trees[i] for i in by_size], BATCH_TOKENS):
            members = [by_size[i] for i in group]
            with torch.inference_mode():
                values = self.model(collate([trees[i] for i in members])).tolist()
            for i in members:
                count = len(trees[i].leaves)
                own, values = values[:count], values[count:]
                results[i] = self._checked(comparisons[i], trees[i], own)
        return [results[i] for i in range(len(comparisons))]

    def _tree(self, comparison: Comparison) -> TokenTree:
        try:
            sequences = self.encoder.encode_replies(comparison)
        except DataError as error:
            raise DataError(f"{comparison.id}: {error}") from None
        longest = max(range(len(sequences)), key=lambda k: len(sequences[k]))
        if len(sequences[longest]) > self.max_tokens:
            raise DataError(
                f"{comparison.id}: reply {longest} makes a conversation of "
                f"{len(sequences[longest]):,} tokens; {self.name} takes {self.max_tokens:,}"
            )
        return build_tree(sequences)

    def _checked(
        self, comparison: Comparison, tree: TokenTree, values: Sequence[float]
    ) -> tuple[Score, ...]:
        for reply, value in enumerate(values):
            if not math.isfinite(value):
                raise WorldPMError(
                    f"{comparison.id}: reply {reply} got the score {value} from {self.name}; "
                    "the weights or the precision are at fault, not the text"
                )
        tokens = tree.num_tokens.tolist()
        return tuple(Score(v, n) for v, n in zip(values, tokens, strict=True))


def load(model: str | Path | None = None, *, dtype: str = "auto") -> Scorer:
    """Load a checkpoint folder, or with None the embedded default, as a `Scorer`.

    `dtype` is "auto" (float32), "float32" or "bfloat16". Raises CheckpointError for a folder that
    is not a complete checkpoint of a supported shape, ConfigError for an unknown dtype.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if model is None:
        from worldpm.model.default import fetch

        folder = fetch()
    else:
        folder = Path(model).expanduser()
    return Scorer(read_model(folder, DTYPES[dtype]), Encoder.from_folder(folder), folder.name)


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
