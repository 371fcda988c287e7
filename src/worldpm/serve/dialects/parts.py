"""What dialects share: texts, messages, truncation, and a score shown raw or as a probability.

Rendered text is read by `worldpm.rendered`; prompts and replies that come apart are plain text.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from worldpm.records import Comparison, Conversation, Message, Role, Score
from worldpm.rendered import StructureError, read_rendered, read_sample
from worldpm.report.ranking import ranked
from worldpm.serve.errors import Refused
from worldpm.serve.route import Body, Scored, text_comparison

LABEL = "LABEL_0"  # what transformers calls the one label of a model with one output
Texts = str | Annotated[list[str], Field(min_length=1)]


class ChatTurn(Body):
    """One message of a request."""

    role: Role
    content: str


class TokenUsage(BaseModel):
    """Tokens of all conversations, each counted whole."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class Engine(Body):
    """What requests to vLLM may hold beside their texts.

    Only the oldest tokens can be cut (the score is read at the last), to the model's own limit,
    and a template never comes with a request.
    """

    model: str | None = None
    use_activation: bool | None = None
    activation: bool | None = None  # the older name
    truncate_prompt_tokens: Literal[-1] | None = None
    truncation_side: Literal["left"] | None = None
    chat_template: None = None

    @property
    def truncate(self) -> bool:
        """Whether a conversation that is too long is cut."""
        return self.truncate_prompt_tokens is not None

    def activated(self, default: bool) -> bool:
        """Whether the client wants sigmoids of the scores."""
        asked = self.activation if self.use_activation is None else self.use_activation
        return default if asked is None else asked


def listed(texts: str | list[str]) -> list[str]:
    """One text or many as many."""
    return [texts] if isinstance(texts, str) else texts


def rendered_comparisons(texts: str | list[str], key: str) -> tuple[Comparison, ...]:
    """A comparison of one reply for each rendered conversation."""
    many = not isinstance(texts, str)
    return tuple(
        rendered_comparison(text, where)
        for i, text in enumerate(listed(texts))
        for where in [f"{key}[{i}]" if many else key]
    )


def rendered_comparison(text: str, where: str) -> Comparison:
    """The comparison of one rendered conversation; Refused if its turns are in no real order."""
    try:
        return of_messages(read_rendered(text), where)
    except StructureError as error:
        raise Refused(422, "template_structure", str(error), where=where) from None


def sampled_comparison(prompt: str, rest: str, where: str, *, at: str) -> Comparison:
    """The comparison of what a policy wrote after a prompt; a refusal names the prompt, `at`."""
    try:
        asked, reply = read_sample(prompt, rest)
    except StructureError as error:
        raise Refused(422, "template_structure", str(error), where=at) from None
    return text_comparison(asked, [reply], id=where)


def of_messages(messages: Conversation, where: str) -> Comparison:
    """The comparison whose one reply is the last message, which must be the assistant's."""
    if not messages or messages[-1].role != "assistant":
        text = "the last message must be the assistant's, to be scored"
        raise Refused(422, "invalid_request", text, where=where)
    return text_comparison(messages[:-1], [messages[-1:]], id=where)


def conversation(turns: list[ChatTurn]) -> Conversation:
    """The messages of a request as records."""
    return tuple(Message(turn.role, turn.content) for turn in turns)


def shown(score: Score, activated: bool) -> float:
    """The score itself, or its sigmoid, exact at both ends: that of -40 is 4e-18."""
    if not activated:
        return score.value
    small = math.exp(-abs(score.value))
    return (1.0 if score.value >= 0 else small) / (1.0 + small)


def order(scored: Scored, most: int | None = None) -> list[int]:
    """The indices of the replies, best first, equal ones as they stood; the first `most` of them.

    None and 0 mean all, as clients send either.
    """
    return ranked([score.value for score in scored.flat])[: most or None]


def usage(scored: Scored) -> dict[str, Any]:
    """The tokens of an answer."""
    return TokenUsage(prompt_tokens=scored.num_tokens, total_tokens=scored.num_tokens).model_dump()
