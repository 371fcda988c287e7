"""A thread -> one comparison: the question as prompt, its answers as replies, votes as edges.

    compare(thread, PairSettings(max_replies=4), drop)  ->  Comparison | None

Answer i beats answer j if its score is higher, score = net votes plus one if accepted (WorldPM,
appendix A.2); any difference counts, and the edge's margin is the difference. All the answers of a
thread stay in one comparison. Where there are more than `max_replies`, a sample drawn by hash is
kept: choosing by votes or by age would teach the model the choice.
"""

from collections.abc import Callable
from typing import Any

from pydantic import Field

from worldpm.config import Settings
from worldpm.pairs.split import SplitSettings, unit_hash
from worldpm.records import Comparison, Message, Post, Thread
from worldpm.rows import edges_of


class PairSettings(Settings):
    """How threads become comparisons."""

    max_replies: int = Field(default=8, ge=2)
    """Answers kept of one thread."""
    min_margin: int = Field(default=1, ge=1)
    """Least difference of scores that makes an edge; 1 is the paper's rule, any difference."""
    seed: int = 0
    split: SplitSettings = SplitSettings()


def compare(
    thread: Thread, settings: PairSettings, drop: Callable[[str], None]
) -> Comparison | None:
    """The thread as a comparison, or None after `drop(reason)` if it holds no preference."""
    answers = thread.answers
    if len(answers) < 2:
        drop("no_answer" if not answers else "only_one_answer")
        return None
    scores = [answer.score for answer in answers]
    if max(scores) - min(scores) < settings.min_margin:
        drop("all_scores_equal" if max(scores) == min(scores) else "all_margins_too_small")
        return None
    kept = _sample(thread, settings)
    return Comparison(
        id=thread.id,
        source=thread.source,
        subset=None,
        # No author of the chain is the assistant: each of its posts is a user's message.
        prompt=(
            Message("user", prompt_text(thread)),
            *(Message("user", post.text) for post in thread.prompt[1:]),
        ),
        replies=tuple((Message("assistant", post.text),) for post in kept),
        better=edges_of([post.score for post in kept], settings.min_margin),
        meta={
            "url": thread.url,
            "license": thread.license,
            "tags": list(thread.tags),
            "author": thread.question.author,
            "created": thread.question.created,
            **_chain(thread),
            "num_answers": len(answers),
            "posts": [
                {
                    "id": post.id,
                    "url": post.url,
                    "author": post.author,
                    "created": post.created,
                    "votes": post.votes,
                    "accepted": post.accepted,
                }
                for post in kept
            ],
        },
    )


def _chain(thread: Thread) -> dict[str, Any]:
    """Whom the prompt is by below its question, if it goes on there."""
    below = [{"id": p.id, "url": p.url, "author": p.author} for p in thread.prompt[1:]]
    return {"prompt_posts": below} if below else {}


def prompt_text(thread: Thread) -> str:
    """`Title: ...`, a blank line, the question's body; where one is missing, the other alone."""
    if not thread.title:
        return thread.question.text
    return f"Title: {thread.title}\n\n{thread.question.text}".rstrip()


def _sample(thread: Thread, settings: PairSettings) -> list[Post]:
    """At most `max_replies` answers in thread order, among them two that make an edge."""
    answers = thread.answers
    if len(answers) <= settings.max_replies:
        return list(answers)

    def order(post: Post) -> float:
        return unit_hash(settings.seed, "reply", thread.source, thread.id, post.id)

    shuffled = sorted(answers, key=order)
    chosen = shuffled[: settings.max_replies]
    if not edges_of([post.score for post in chosen], settings.min_margin):
        # All drawn are alike: the last two give way to the highest and the lowest, which differ.
        by_score = sorted(shuffled, key=lambda post: post.score)
        chosen[-2:] = [by_score[0], by_score[-1]]
    kept = {post.id for post in chosen}
    return [post for post in answers if post.id in kept]
