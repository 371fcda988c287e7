"""What the server needs of a model: a score function, the sizes of what it is given, and, where it
has them, traces.

    model = plain_model(lambda comparisons: [[-float(len(r[-1].content)) for r in c.replies]
                                             for c in comparisons])
    model.measure(comparison)     Measured(prompt_tokens=9, num_tokens=(21, 14), cut_tokens=(0, 0))

A checkpoint's is made by the command line from its `Scorer`; a backend's from its client.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worldpm.records import Comparison, ScoreFn


@dataclass(frozen=True, slots=True)
class Measured:
    """The sizes of a comparison's K conversations; the prompt's tokens are shared by all of them.

    `cut_tokens` are the oldest tokens that are left out of a conversation that is too long.
    """

    prompt_tokens: int
    num_tokens: tuple[int, ...]  # (K,) of what is scored, the prompt among it
    cut_tokens: tuple[int, ...]  # (K,)

    @property
    def reply_tokens(self) -> int:
        """Tokens that are computed beside the prompt's."""
        return sum(self.num_tokens) - len(self.num_tokens) * self.prompt_tokens

    @property
    def tree_tokens(self) -> int:
        """Tokens that are computed, the prompt's once."""
        return self.prompt_tokens + self.reply_tokens


@dataclass(frozen=True, slots=True)
class ReplyTrace:
    """The score at every token of one reply, from its first one on; the last is the reply's score.

    A character of several tokens stands at its last one, so that the pieces together are the text.
    """

    pieces: tuple[str, ...]  # the text of each token, the template's closing ones among them
    values: tuple[float, ...]


TraceFn = Callable[[Sequence[Comparison]], Iterable[Sequence[ReplyTrace]]]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A loaded model. `measure` raises DataError for what cannot be scored.

    `score` and `trace` are called in a thread of their own, one call at a time; `measure` in other
    threads. `info` is shown by `/info`: revision, precision, contract. `aliases` are other names
    that a request may use: what the model was loaded by, which a trainer knows it by. `trace` is
    None for what knows the end's score alone, as a plain function or an engine behind the server.
    `digest` is SHA-256 of the weights, None where they were not read.
    """

    name: str
    score: ScoreFn
    measure: Callable[[Comparison], Measured]
    info: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    trace: TraceFn | None = None
    digest: str | None = None


def plain_model(score: ScoreFn, name: str = "model") -> ServedModel:
    """A function as a model; it has no tokenizer, so a character counts as a token."""
    return ServedModel(name, score, _characters)


def _characters(comparison: Comparison) -> Measured:
    prompt = sum(len(message.content) for message in comparison.prompt)
    sizes = tuple(
        prompt + sum(len(message.content) for message in reply) for reply in comparison.replies
    )
    return Measured(prompt, sizes, (0,) * len(sizes))
