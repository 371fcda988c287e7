"""Our own two routes: `/v1/score` for any number of conversations, `/v1/compare` for one prompt.

    POST /v1/score    {"items": [{"messages": [...]} or {"prompt", "response"}], "truncate": false}
    POST /v1/compare  {"prompt": text or messages, "responses": [text or messages, ...]}

Scores are in log-odds units with all their digits: sigmoid(a - b) is the modelled probability that
a beats b. With `"trace": true` a comparison's answer has `traces` too: for each response, in their
order, the `pieces` of text that are its tokens, and the `scores` at each, of which the last is the
response's. A character of several tokens stands at the last of them; the others are empty.
A server with a signing key adds `signature` to both answers (`worldpm.serve.signing`).
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from worldpm.records import Comparison, Conversation, Message, Role
from worldpm.report.ranking import beats, best_probabilities, ranked
from worldpm.serve.errors import Refused
from worldpm.serve.route import Route, Scored, StrictBody, text_comparison


class Turn(StrictBody):
    """One message."""

    role: Role
    content: str


class Item(StrictBody):
    """One conversation: `messages`, of which the last is scored, or `prompt` and `response`."""

    messages: list[Turn] | None = None
    prompt: str | list[Turn] | None = None
    response: str | list[Turn] | None = None


class ScoreBody(StrictBody):
    """A request to /v1/score."""

    model: str | None = None
    items: list[Item] = Field(min_length=1)
    truncate: bool = False


class CompareBody(StrictBody):
    """A request to /v1/compare."""

    model: str | None = None
    prompt: str | list[Turn]
    responses: list[str | list[Turn]] = Field(min_length=1)
    truncate: bool = False
    trace: bool = False


class ScoreDatum(BaseModel):
    """The score of one item."""

    index: int
    score: float
    tokens: int
    truncated: bool


class Usage(BaseModel):
    """Tokens of all conversations, each counted whole."""

    prompt_tokens: int
    total_tokens: int


class SignedModel(BaseModel):
    """Who scored; `digest` is SHA-256 of the weights, null where the server has not read them."""

    name: str
    digest: str | None


class Signature(BaseModel):
    """What was scored by whom with what result; `mac` is made of all else with the server's key."""

    version: Literal[1]
    algorithm: Literal["HMAC-SHA256"]
    model: SignedModel
    input_sha256: str
    scores: list[float]
    created: int
    mac: str


class ScoreAnswer(BaseModel):
    """What /v1/score answers; `signature` is there where the server has a key to sign with."""

    id: str
    object: Literal["list"]
    model: str
    data: list[ScoreDatum]
    usage: Usage
    signature: Signature | None = None


class Ranked(BaseModel):
    """A reply in its place."""

    index: int
    score: float
    tokens: int
    truncated: bool
    p_best: float


class Traced(BaseModel):
    """The tokens of one reply, and the score of the text up to each of them."""

    pieces: list[str]
    scores: list[float]


class CompareAnswer(BaseModel):
    """What /v1/compare answers; `beats[i][j]` is the probability that reply i beats reply j.

    `traces` are there where the request asked for them, `signature` where the server has a key to
    sign with.
    """

    id: str
    object: Literal["comparison"]
    model: str
    scores: list[float]
    ranking: list[Ranked]
    beats: list[list[float]]
    usage: Usage
    traces: list[Traced] = Field(default_factory=list)
    signature: Signature | None = None


def conversation(value: str | list[Turn], role: Role) -> Conversation:
    """Text as one message of `role`, or the messages as they stand."""
    if isinstance(value, str):
        return (Message(role, value),)
    return tuple(Message(turn.role, turn.content) for turn in value)


def parse_score(body: ScoreBody) -> tuple[Comparison, ...]:
    """A comparison of one reply for each item."""
    return tuple(_item(item, f"items[{i}]") for i, item in enumerate(body.items))


def _item(item: Item, where: str) -> Comparison:
    if item.messages is not None:
        if item.prompt is not None or item.response is not None:
            raise _invalid("give messages, or prompt and response, not both", where)
        messages = conversation(item.messages, "user")
        if not messages or messages[-1].role != "assistant":
            raise _invalid("the last message must be the assistant's, to be scored",
                           f"{where}.messages")  # fmt: skip
        return text_comparison(messages[:-1], [messages[-1:]], id=where)
    if item.prompt is None or item.response is None:
        raise _invalid("needs messages, or prompt and response", where)
    return _comparison(item.prompt, [item.response], where, f"{where}.response")


def parse_compare(body: CompareBody) -> tuple[Comparison, ...]:
    """One comparison of all responses."""
    return (_comparison(body.prompt, body.responses, "request", "responses"),)


def _comparison(
    prompt: str | list[Turn], responses: list[str | list[Turn]], name: str, where: str
) -> Comparison:
    replies = [conversation(each, "assistant") for each in responses]
    for i, reply in enumerate(replies):
        if not reply or reply[-1].role != "assistant":
            at = f"{where}[{i}]" if len(replies) > 1 else where
            raise _invalid("a response must end with a message of the assistant", at)
    return text_comparison(conversation(prompt, "user"), replies, id=name)


def answer_score(body: ScoreBody, scored: Scored) -> dict[str, Any]:
    """The scores in the order of the items."""
    data = [
        {"index": i, "score": each.value, "tokens": each.num_tokens,
         "truncated": each.cut_tokens > 0}
        for i, each in enumerate(scored.flat)
    ]  # fmt: skip
    return {"id": scored.id, "object": "list", "model": scored.model, "data": data,
            "usage": usage(scored)}  # fmt: skip


def answer_compare(body: CompareBody, scored: Scored) -> dict[str, Any]:
    """Scores, the ranking with the best first, and who beats whom with what probability."""
    values = [each.value for each in scored.flat]
    chances = best_probabilities(values)
    ranking = [
        {"index": i, "score": values[i], "tokens": scored.flat[i].num_tokens,
         "truncated": scored.flat[i].cut_tokens > 0, "p_best": chances[i]}
        for i in ranked(values)
    ]  # fmt: skip
    answer = {
        "id": scored.id, "object": "comparison", "model": scored.model, "scores": values,
        "ranking": ranking, "beats": [[beats(a, b) for b in values] for a in values],
        "usage": usage(scored),
    }  # fmt: skip
    if scored.traces is not None:
        (traces,) = scored.traces
        answer["traces"] = [{"pieces": each.pieces, "scores": each.values} for each in traces]
    return answer


def usage(scored: Scored) -> dict[str, int]:
    """Tokens as OpenAI's clients read them."""
    return {"prompt_tokens": scored.num_tokens, "total_tokens": scored.num_tokens}


def _invalid(message: str, where: str) -> Refused:
    return Refused(422, "invalid_request", message, where=where)


OWN: tuple[Route, ...] = (
    Route("/v1/score", ScoreBody, parse_score, answer_score,
          "Score conversations.", when=("items",), response=ScoreAnswer, signed=True),
    Route("/v1/compare", CompareBody, parse_compare, answer_compare,
          "Rank replies to one prompt.", response=CompareAnswer, signed=True),
)  # fmt: skip
