"""vLLM's routes, with which Cohere's and Jina's for ranking agree.

    POST /classify  {"input": rendered text or list, or "messages": [...]}
    POST /pooling   {"input" or "messages", "task": "classify" or "token_classify"}
    POST /score     {"queries": text or list, "documents": text or list}    a query is a prompt
    POST /rerank    {"query", "documents": [text or {"text"}], "top_n"?}

As vLLM does, /classify answers a sigmoid unless `use_activation` is false. The others answer the
score itself unless it is true: each answer says in `activation` which it is. Token ids are refused:
nobody could tell who typed a control token among them.
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field

from worldpm.records import Comparison
from worldpm.serve.dialects.parts import (
    LABEL,
    ChatTurn,
    Engine,
    Texts,
    TokenUsage,
    conversation,
    listed,
    of_messages,
    order,
    rendered_comparisons,
    shown,
    usage,
)
from worldpm.serve.errors import Refused
from worldpm.serve.route import Body, Route, Scored, text_comparison


class Input(Engine):
    """Rendered text, one or many."""

    input: Texts


class Chat(Engine):
    """One conversation as messages."""

    messages: list[ChatTurn]


class PoolingInput(Input):
    """Rendered text for /pooling; no task asks for the score."""

    task: Literal["classify", "score", "token_classify"] | None = None
    encoding_format: Literal["float"] | None = None


class PoolingChat(Chat):
    """One conversation for /pooling."""

    task: Literal["classify", "score", "token_classify"] | None = None
    encoding_format: Literal["float"] | None = None


class Pairs(Engine):
    """Prompts and replies: one prompt for all replies, or as many prompts as replies."""

    queries: Texts = Field(validation_alias=AliasChoices("queries", "text_1", "data_1"))
    documents: Texts = Field(validation_alias=AliasChoices("documents", "text_2", "data_2"))


class Document(Body):
    """A document with its text, and whatever else a client keeps with it."""

    text: str


class RerankDocuments(Engine):
    """One prompt and its replies."""

    query: str
    documents: Annotated[list[str | Document], Field(min_length=1)]
    top_n: Annotated[int, Field(ge=0)] | None = None
    return_documents: bool = True


class Probs(BaseModel):
    """One conversation's score, of a class which is the only one."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class Pooled(BaseModel):
    """One conversation's score, in a row of its own for `token_classify`."""

    index: int
    object: Literal["pooling"]
    data: list[float] | list[list[float]]


class PairScore(BaseModel):
    """One reply's score."""

    index: int
    object: Literal["score"]
    score: float


class _List(BaseModel):
    id: str
    object: Literal["list"]
    created: int
    model: str
    usage: TokenUsage
    activation: bool


class ProbsAnswer(_List):
    """What /classify answers."""

    data: list[Probs]


class PoolingAnswer(_List):
    """What /pooling answers."""

    data: list[Pooled]


class PairsAnswer(_List):
    """What /score answers."""

    data: list[PairScore]


class Result(BaseModel):
    """A reply in its place."""

    index: int
    relevance_score: float
    document: Document | None = None


class RerankAnswer(BaseModel):
    """What /rerank answers, the best reply first."""

    id: str
    model: str
    results: list[Result]
    usage: TokenUsage
    activation: bool


def parse_input(body: Input) -> tuple[Comparison, ...]:
    """A comparison of one reply for each text."""
    return rendered_comparisons(body.input, "input")


def parse_chat(body: Chat) -> tuple[Comparison, ...]:
    """The one conversation."""
    return (of_messages(conversation(body.messages), "messages"),)


def parse_pairs(body: Pairs) -> tuple[Comparison, ...]:
    """One comparison of all replies, or one a pair."""
    queries, documents = listed(body.queries), listed(body.documents)
    if len(queries) == 1:
        return (text_comparison(queries[0], documents),)
    if len(queries) != len(documents):
        text = f"{len(queries)} queries and {len(documents)} documents; give one query, or as many"
        raise Refused(422, "invalid_request", text, where="queries")
    pairs = zip(queries, documents, strict=True)
    return tuple(text_comparison(q, [d], id=f"documents[{i}]") for i, (q, d) in enumerate(pairs))


def parse_rerank(body: RerankDocuments) -> tuple[Comparison, ...]:
    """One comparison of all replies."""
    return (text_comparison(body.query, [_text(each) for each in body.documents]),)


def answer_classify(body: Engine, scored: Scored) -> dict[str, Any]:
    """A probability a conversation, or its score where `use_activation` is false."""
    on = body.activated(True)
    return _answer(scored, on, [
        {"index": i, "label": LABEL, "probs": [shown(each, on)], "num_classes": 1}
        for i, each in enumerate(scored.flat)
    ])  # fmt: skip


def answer_pooling(body: PoolingInput | PoolingChat, scored: Scored) -> dict[str, Any]:
    """A score a conversation; for `token_classify` one row, that of the last token."""
    on = body.activated(False)
    rows = [[shown(each, on)] for each in scored.flat]
    by_token = body.task == "token_classify"
    return _answer(scored, on, [
        {"index": i, "object": "pooling", "data": [row] if by_token else row}
        for i, row in enumerate(rows)
    ])  # fmt: skip


def answer_pairs(body: Pairs, scored: Scored) -> dict[str, Any]:
    """A score a reply, in their order."""
    on = body.activated(False)
    return _answer(scored, on, [
        {"index": i, "object": "score", "score": shown(each, on)}
        for i, each in enumerate(scored.flat)
    ])  # fmt: skip


def answer_rerank(body: RerankDocuments, scored: Scored) -> dict[str, Any]:
    """The replies, the best first."""
    on = body.activated(False)
    results = [
        {"index": i, "relevance_score": shown(scored.flat[i], on)}
        | ({"document": {"text": _text(body.documents[i])}} if body.return_documents else {})
        for i in order(scored, body.top_n)
    ]
    return {"id": scored.id, "model": scored.model, "results": results, "usage": usage(scored),
            "activation": on}  # fmt: skip


def _answer(scored: Scored, activated: bool, data: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": scored.id, "object": "list", "created": scored.created, "model": scored.model,
            "data": data, "usage": usage(scored), "activation": activated}  # fmt: skip


def _text(document: str | Document) -> str:
    return document if isinstance(document, str) else document.text


_PAIRS = ("queries", "text_1", "data_1")
ROUTES: tuple[Route, ...] = (
    *(
        route
        for path in ("/classify", "/v1/classify")
        for route in (
            Route(path, Chat, parse_chat, answer_classify, "Score messages as vLLM's classify.",
                  when=("messages",), response=ProbsAnswer),
            Route(path, Input, parse_input, answer_classify,
                  "Score rendered text as vLLM's classify.", when=("input",),
                  response=ProbsAnswer),
        )
    ),
    Route("/pooling", PoolingChat, parse_chat, answer_pooling, "Score messages as vLLM's pooling.",
          when=("messages",), response=PoolingAnswer),
    Route("/pooling", PoolingInput, parse_input, answer_pooling,
          "Score rendered text as vLLM's pooling.", when=("input",), response=PoolingAnswer),
    *(
        Route(path, Pairs, parse_pairs, answer_pairs, "Score documents (replies) for queries "
              "(prompts).", when=_PAIRS, response=PairsAnswer)
        for path in ("/score", "/v1/score")
    ),
    *(
        Route(path, RerankDocuments, parse_rerank, answer_rerank,
              "Rank documents (replies) for a query (prompt).", when=("documents",),
              response=RerankAnswer)
        for path in ("/rerank", "/v1/rerank", "/v2/rerank")
    ),
)  # fmt: skip
