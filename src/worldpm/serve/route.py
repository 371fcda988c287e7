"""A dialect route: how one wire form becomes comparisons, and scores that form's answer.

    class Ask(Body):
        query: str
        documents: list[str]

    RERANK = Route("/rerank", Ask, parse=..., answer=...)      a dialect is a tuple of these

`parse(request) -> tuple[Comparison, ...]` and `answer(request, scored) -> JSON-able` are pure.
What `parse` finds wrong it raises as `Refused` (its own status) or DataError (422). A request's
`model` names a loaded model (None or absent: the first), its `truncate`, if it has one, lets the
oldest tokens of a long conversation be cut, and its `trace` asks for traces. Several routes may
share a path: the first of whose `when` keys one stands in the body answers; `when=()` answers
whatever is left.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from worldpm.records import Comparison, Conversation, Message, Score
from worldpm.serve.models import ReplyTrace


class Body(BaseModel):
    """Base of a dialect's requests: frozen, no number from text; keys it does not know are passed
    over, since clients send many. NaN, duplicate keys and broken text are refused before it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class StrictBody(Body):
    """Base of our own requests: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a request's comparisons, in their order, and who made them."""

    id: str  # of the request, as the header x-request-id
    model: str
    created: int  # seconds since 1970
    scores: tuple[tuple[Score, ...], ...]  # one row a comparison, one Score a reply
    traces: tuple[tuple[ReplyTrace, ...], ...] | None = None  # None where nobody asked for them

    @property
    def flat(self) -> tuple[Score, ...]:
        """The scores of all replies, one after another."""
        return tuple(score for row in self.scores for score in row)

    @property
    def num_tokens(self) -> int:
        """Tokens of all conversations, each counted whole."""
        return sum(score.num_tokens for score in self.flat)


@dataclass(frozen=True, slots=True)
class Route:
    """One wire form; `about` is its line in the OpenAPI document, `response` its answer's schema.

    `response` is a pydantic model or annotation that the answer fits, for the document only. The
    answer of a `signed` one is an object, to which a server with a signing key adds `signature`.
    """

    path: str
    request: type[BaseModel]
    parse: Callable[[Any], tuple[Comparison, ...]]
    answer: Callable[[Any, Scored], Any]
    about: str
    when: tuple[str, ...] = ()
    response: Any = Any
    method: str = "POST"
    signed: bool = False


def text_comparison(
    prompt: str | Conversation, replies: Iterable[str | Conversation], *, id: str = "request"
) -> Comparison:
    """A comparison from texts: a prompt is the user's message, a reply the assistant's."""
    asked = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    given = tuple(
        (Message("assistant", reply),) if isinstance(reply, str) else reply for reply in replies
    )
    return Comparison(id, "http", None, asked, given)


def choose(routes: Sequence[Route], keys: Iterable[str]) -> Route | None:
    """The route, of those on one path, that a body with these keys is for."""
    present = set(keys)
    return next((r for r in routes if not r.when or present & set(r.when)), None)
