"""What trainers' reward clients send.

    OpenRLHF       POST /get_reward           {"query": [rendered prompt + reply], "prompts": [...]}
    slime          POST /remote_rm            {"prompt": text or messages, "response": text}
    LLaMA-Factory  POST /v1/score/evaluation  {"messages": [rendered text, ...]}

verl calls /classify (vLLM's form) and /v1/embeddings. Where the prompt is sent beside the query,
all that follows it is the reply, whatever control tokens the policy wrote in it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from worldpm.records import Comparison
from worldpm.serve.dialects.parts import (
    ChatTurn,
    Texts,
    conversation,
    listed,
    rendered_comparison,
    rendered_comparisons,
    sampled_comparison,
)
from worldpm.serve.errors import Refused
from worldpm.serve.route import Body, Route, Scored, text_comparison


class GetReward(Body):
    """OpenRLHF's request; `labels` are of no use to a model of preference."""

    query: Texts
    prompts: str | list[str | None] | None = None


class RemoteRm(Body):
    """slime's request, one sample."""

    prompt: str | Annotated[list[ChatTurn], Field(min_length=1)]
    response: str


class Evaluation(Body):
    """LLaMA-Factory's request."""

    model: str | None = None
    messages: Annotated[list[str], Field(min_length=1)]


class Rewards(BaseModel):
    """What /get_reward answers; `scores` are the rewards again."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


class EvaluationAnswer(BaseModel):
    """What /v1/score/evaluation answers."""

    id: str
    object: Literal["score.evaluation"]
    model: str
    scores: list[float]


def parse_get_reward(body: GetReward) -> tuple[Comparison, ...]:
    """A comparison of one reply for each query."""
    queries = listed(body.query)
    prompts: list[str | None]
    if body.prompts is None:
        prompts = [None] * len(queries)
    else:
        prompts = [body.prompts] if isinstance(body.prompts, str) else body.prompts
    if len(prompts) != len(queries):
        text = f"{len(queries)} queries and {len(prompts)} prompts; give one a query"
        raise Refused(422, "invalid_request", text, where="prompts")
    pairs = zip(queries, prompts, strict=True)
    return tuple(_reward_item(query, prompt, i) for i, (query, prompt) in enumerate(pairs))


def _reward_item(query: str, prompt: str | None, i: int) -> Comparison:
    where = f"query[{i}]"
    if not prompt or not query.startswith(prompt):  # as where a tokenizer rewrote the prompt
        return rendered_comparison(query, where)
    return sampled_comparison(prompt, query[len(prompt) :], where, at=f"prompts[{i}]")


def parse_remote_rm(body: RemoteRm) -> tuple[Comparison, ...]:
    """One comparison of one reply."""
    if not isinstance(body.prompt, str):
        return (text_comparison(conversation(body.prompt), [body.response]),)
    return (sampled_comparison(body.prompt, body.response, "request", at="prompt"),)


def parse_evaluation(body: Evaluation) -> tuple[Comparison, ...]:
    """A comparison of one reply for each text."""
    return rendered_comparisons(body.messages, "messages")


def answer_get_reward(body: GetReward, scored: Scored) -> dict[str, Any]:
    """The scores, twice."""
    values = [each.value for each in scored.flat]
    return {"rewards": values, "scores": values, "extra_logs": {}}


def answer_remote_rm(body: RemoteRm, scored: Scored) -> float:
    """The score, as the whole body."""
    return scored.flat[0].value


def answer_evaluation(body: Evaluation, scored: Scored) -> dict[str, Any]:
    """The scores in the order of the texts."""
    values = [each.value for each in scored.flat]
    return {"id": scored.id, "object": "score.evaluation", "model": scored.model, "scores": values}


ROUTES: tuple[Route, ...] = (
    Route("/get_reward", GetReward, parse_get_reward, answer_get_reward,
          "Reward rendered samples, as OpenRLHF asks.", response=Rewards),
    Route("/remote_rm", RemoteRm, parse_remote_rm, answer_remote_rm,
          "Reward one sample, as slime asks.", response=float),
    Route("/v1/score/evaluation", Evaluation, parse_evaluation, answer_evaluation,
          "Score rendered text, as LLaMA-Factory answers.", response=EvaluationAnswer),
)  # fmt: skip
