"""The routes of Hugging Face's text-embeddings-inference.

    POST /predict  {"inputs": rendered text, or [prompt, reply], or a list of [text] and such pairs}
    POST /rerank   {"query": prompt, "texts": [replies]}

As there, a score is a sigmoid unless `raw_scores` is true. `truncate` cuts the oldest tokens.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from worldpm.records import Comparison
from worldpm.serve.dialects.parts import LABEL, order, rendered_comparison, shown
from worldpm.serve.errors import Refused
from worldpm.serve.route import Body, Route, Scored, text_comparison

Single = Annotated[list[str], Field(min_length=1, max_length=1)]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]
Batch = Annotated[list[Single | Pair], Field(min_length=1)]


class _Asked(Body):
    raw_scores: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = None


class Predict(_Asked):
    """One conversation, or a batch of them."""

    inputs: str | Pair | Batch


class RerankTexts(_Asked):
    """One prompt and its replies."""

    query: str
    texts: Annotated[list[str], Field(min_length=1)]
    return_text: bool = False


class Prediction(BaseModel):
    """One conversation's score."""

    score: float
    label: str


class Rank(BaseModel):
    """A reply in its place."""

    index: int
    score: float
    text: str | None = None


def parse_predict(body: Predict) -> tuple[Comparison, ...]:
    """A comparison of one reply for each conversation."""
    _check(body)
    if isinstance(body.inputs, str):
        return (_conversation([body.inputs], "inputs"),)
    if isinstance(body.inputs[0], str):  # a pair
        return (_conversation([str(each) for each in body.inputs], "inputs"),)
    return tuple(_conversation(list(each), f"inputs[{i}]") for i, each in enumerate(body.inputs))


def parse_rerank(body: RerankTexts) -> tuple[Comparison, ...]:
    """One comparison of all replies."""
    _check(body)
    return (text_comparison(body.query, body.texts),)


def answer_predict(body: Predict, scored: Scored) -> Any:
    """A list of one prediction, or for a batch a list of such lists."""
    found = [[{"score": shown(each, not body.raw_scores), "label": LABEL}] for each in scored.flat]
    batch = not isinstance(body.inputs, str) and not isinstance(body.inputs[0], str)
    return found if batch else found[0]


def answer_rerank(body: RerankTexts, scored: Scored) -> list[dict[str, Any]]:
    """The replies, the best first."""
    return [
        {"index": i, "score": shown(scored.flat[i], not body.raw_scores)}
        | ({"text": body.texts[i]} if body.return_text else {})
        for i in order(scored)
    ]


def _conversation(texts: list[str], where: str) -> Comparison:
    if len(texts) == 2:
        return text_comparison(texts[0], [texts[1]], id=where)
    return rendered_comparison(texts[0], where)


def _check(body: _Asked) -> None:
    if body.truncate and (body.truncation_direction or "").lower() == "right":
        raise Refused(422, "invalid_request", "only the oldest tokens can be cut (left): the score "
                      "is read at the last", where="truncation_direction")  # fmt: skip


ROUTES: tuple[Route, ...] = (
    Route("/predict", Predict, parse_predict, answer_predict, "Score conversations as TEI does.",
          response=list[Prediction] | list[list[Prediction]]),
    Route("/rerank", RerankTexts, parse_rerank, answer_rerank, "Rank texts (replies) as TEI does.",
          when=("texts",), response=list[Rank]),
)  # fmt: skip
