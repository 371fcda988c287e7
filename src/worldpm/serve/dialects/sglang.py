"""SGLang's classify and OpenAI's embeddings, of which the one number is the score.

    POST /classify       {"text": rendered text or list}    ->  {"embedding": [x]} or a list of them
    POST /v1/embeddings  {"input": rendered text or list}   ->  {"data": [{"embedding": [x]}], ...}

OpenAI's client asks for base64 of float32 unless told `encoding_format="float"`, which keeps all
the digits.
"""

import base64
import struct
from typing import Any, Literal

from pydantic import BaseModel

from worldpm.records import Comparison, Score
from worldpm.serve.dialects.parts import Texts, TokenUsage, rendered_comparisons, usage
from worldpm.serve.route import Body, Route, Scored


class ClassifyText(Body):
    """Rendered text, one or many."""

    model: str | None = None
    text: Texts
    input_ids: None = None


class Embeddings(Body):
    """Rendered text, one or many, in OpenAI's form."""

    model: str | None = None
    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Literal[1] | None = None


class Meta(BaseModel):
    """What SGLang says of a request."""

    id: str
    prompt_tokens: int


class Embedded(BaseModel):
    """One conversation's score."""

    embedding: list[float]
    meta_info: Meta


class Datum(BaseModel):
    """One conversation's score, as float or as base64 of a float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsAnswer(BaseModel):
    """What /v1/embeddings answers."""

    object: Literal["list"]
    model: str
    data: list[Datum]
    usage: TokenUsage


def parse_classify(body: ClassifyText) -> tuple[Comparison, ...]:
    """A comparison of one reply for each text."""
    return rendered_comparisons(body.text, "text")


def parse_embeddings(body: Embeddings) -> tuple[Comparison, ...]:
    """A comparison of one reply for each text."""
    return rendered_comparisons(body.input, "input")


def answer_classify(body: ClassifyText, scored: Scored) -> Any:
    """An object for one text, a list for a list."""
    found = [
        {
            "embedding": [each.value],
            "meta_info": {"id": scored.id, "prompt_tokens": each.num_tokens},
        }
        for each in scored.flat
    ]
    return found[0] if isinstance(body.text, str) else found


def answer_embeddings(body: Embeddings, scored: Scored) -> dict[str, Any]:
    """A vector of one number for each text."""
    write = _base64 if body.encoding_format == "base64" else _floats
    data = [
        {"object": "embedding", "index": i, "embedding": write(each)}
        for i, each in enumerate(scored.flat)
    ]
    return {"object": "list", "model": scored.model, "data": data, "usage": usage(scored)}


def _floats(score: Score) -> list[float]:
    return [score.value]


def _base64(score: Score) -> str:
    return base64.b64encode(struct.pack("<f", score.value)).decode("ascii")


ROUTES: tuple[Route, ...] = (
    Route("/classify", ClassifyText, parse_classify, answer_classify,
          "Score rendered text as SGLang's classify.", when=("text",),
          response=Embedded | list[Embedded]),
    Route("/v1/embeddings", Embeddings, parse_embeddings, answer_embeddings,
          "Score rendered text as OpenAI's embeddings.", response=EmbeddingsAnswer),
)  # fmt: skip
