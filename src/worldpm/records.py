"""The records that every stage speaks: frozen, slotted, and without any behaviour of a stage.

    Thread ──pairs──> Comparison ──tokens, model──> Score

A comparison of one prompt with two replies, the first known to be better:

>>> prompt = (Message("user", "Tips for better sleep?"),)
>>> replies = ((Message("assistant", "Keep regular hours."),), (Message("assistant", "No."),))
>>> Comparison("1", "example", None, prompt, replies, (Edge(0, 1),)).conversations()[1][-1].content
'No.'
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Role = Literal["system", "user", "assistant"]
ROLES: frozenset[str] = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = tuple[Message, ...]
"""Messages in order, so that prompt + reply is tuple addition."""


def turns(conversation: Conversation) -> list[dict[str, str]]:
    """The messages as JSON and chat templates have them: `{"role": ..., "content": ...}` each."""
    return [{"role": message.role, "content": message.content} for message in conversation]


@dataclass(frozen=True, slots=True)
class Post:
    """One post of a forum thread, its text already in Markdown.

    `votes` is the forum's own net count. The paper's score adds one for the answer the asker
    accepted (appendix A.2); both numbers are kept, see `score`.
    """

    id: str
    parent: str | None
    author: str | None
    created: str | None
    text: str
    votes: int
    accepted: bool = False
    url: str | None = None
    up: int | None = None
    down: int | None = None

    @property
    def score(self) -> int:
        """Net votes, plus one if accepted (WorldPM, appendix A.2)."""
        return self.votes + int(self.accepted)


@dataclass(frozen=True, slots=True)
class Thread:
    """A question (`posts[0]`) and its answers, with what attribution needs.

    The first `num_prompt_posts` posts are the prompt, each a reply to the one before it; the
    answers reply to the last of them. That is the question alone, except where replies to a reply
    are compared.
    """

    id: str
    source: str
    title: str
    tags: tuple[str, ...]
    posts: tuple[Post, ...]
    url: str | None
    license: str | None
    num_prompt_posts: int = 1

    @property
    def question(self) -> Post:
        """The post that opens the thread."""
        return self.posts[0]

    @property
    def prompt(self) -> tuple[Post, ...]:
        """The chain of posts that the answers reply to, the question first."""
        return self.posts[: self.num_prompt_posts]

    @property
    def answers(self) -> tuple[Post, ...]:
        """The posts that reply to the last post of the prompt itself."""
        asked = self.posts[self.num_prompt_posts - 1].id
        return tuple(post for post in self.posts[self.num_prompt_posts :] if post.parent == asked)


@dataclass(frozen=True, slots=True)
class Edge:
    """Reply number `winner` is known to beat reply number `loser`.

    `margin` is the difference in the source's own units (votes, rating); `weight` multiplies the
    edge's loss.
    """

    winner: int
    loser: int
    margin: float | None = None
    weight: float = 1.0


def edge_fault(edge: Edge, num_replies: int) -> str | None:
    """What is wrong with an edge among `num_replies` replies, or None; every border asks this."""
    if edge.winner == edge.loser or not (
        0 <= edge.winner < num_replies and 0 <= edge.loser < num_replies
    ):
        return f"must be two different numbers from 0 to {num_replies - 1}"
    if not 0 < edge.weight < math.inf:
        return "weight must be over 0; a tie is no edge at all"
    if edge.margin is not None and not math.isfinite(edge.margin):  # Parquet may hold them
        return f"margin must be a number, not {edge.margin}"
    return None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One prompt, K >= 1 replies, and which reply is known to beat which.

    A tie is an absent edge. One reply and no edge is plain scoring. `id` is unique within its
    source only: forums number their threads site by site.
    """

    id: str
    source: str
    subset: str | None
    prompt: Conversation
    replies: tuple[Conversation, ...]
    better: tuple[Edge, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def conversations(self) -> tuple[Conversation, ...]:
        """The K whole conversations, prompt + reply."""
        return tuple(self.prompt + reply for reply in self.replies)


@dataclass(frozen=True, slots=True)
class Score:
    """A reply's score in log-odds units: sigmoid(a - b) is the modelled P(a beats b).

    `num_tokens` is the length that was scored; `cut_tokens` the oldest ones left out before it.
    """

    value: float
    num_tokens: int
    cut_tokens: int = 0


ScoreFn = Callable[[Sequence[Comparison]], Sequence[Sequence[float]]]
"""What evaluation and serving take: K scores for each comparison, in order."""
