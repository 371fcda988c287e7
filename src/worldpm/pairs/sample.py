"""A thread -> one comparison: the question as prompt, its answers as replies, votes as edges.

    compare(thread, PairSettings(max_replies=4), drop)  ->  Comparison | None

Answer i beats answer j if its score is higher, score = net votes plus one if accepted (WorldPM,
appendix A.2); any difference counts, and the edge's margin is the difference. `PairSettings` has
the other choices. All the answers of a thread stay in one comparison. Where there are more than
`max_replies`, a sample drawn by hash is kept: choosing by votes or by age would teach the model the
choice.
"""

from collections.abc import Callable, Sequence
from typing import Any

from worldpm.pairs.edges import Rated, Refusal, rate
from worldpm.pairs.settings import PairSettings
from worldpm.pairs.split import unit_hash
from worldpm.pairs.survey import Findings
from worldpm.records import Comparison, Edge, Message, Thread

__all__ = ["PairSettings", "compare", "prompt_text"]


def compare(
    thread: Thread,
    settings: PairSettings,
    drop: Callable[[str], None],
    findings: Findings | None = None,
) -> Comparison | None:
    """The thread as a comparison, or None after `drop(reason)` if it holds no preference.

    `findings` are those of a first pass over all threads, where `needs_survey(settings)`.
    """
    findings = findings or Findings()
    answers = thread.answers
    if len(answers) < 2:
        drop("no_answer" if not answers else "only_one_answer")
        return None
    rated = rate(answers, thread.prompt[-1], settings, findings.exposure)
    edges = _choose(thread, rated, settings)
    if isinstance(edges, Refusal):
        drop(edges.reason)
        return None
    weight = 1.0
    if settings.topics.power is not None:
        assert findings.topics is not None, "topics.power needs the findings of a first pass"
        weight = findings.topics.weight(thread)
    kept, better = edges
    if len(kept) < len(answers) or weight != 1:
        place = {number: index for index, number in enumerate(kept)}
        better = [
            Edge(place[e.winner], place[e.loser], e.margin, e.weight * weight) for e in better
        ]
    return Comparison(
        id=thread.id,
        source=thread.source,
        subset=None,
        # No author of the chain is the assistant: each of its posts is a user's message.
        prompt=(
            Message("user", prompt_text(thread)),
            *(Message("user", post.text) for post in thread.prompt[1:]),
        ),
        replies=tuple((Message("assistant", answers[number].text),) for number in kept),
        better=tuple(better),
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
                for post in (answers[number] for number in kept)
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


def _choose(
    thread: Thread, rated: Rated, settings: PairSettings
) -> tuple[Sequence[int], list[Edge]] | Refusal:
    """The numbers of the answers kept, in thread order, and the edges among them; or why none."""

    def drawn(what: str, *ids: str) -> float:
        return unit_hash(settings.seed, what, thread.source, thread.id, *ids)

    kept = list(range(len(rated.answers)))
    order = kept
    if len(kept) > settings.max_replies:
        order = sorted(kept, key=lambda number: drawn("reply", rated.answers[number].id))
        kept = sorted(order[: settings.max_replies])
    edges = rated.edges(kept)
    if not edges:
        # No two of those drawn make an edge: the last two drawn give way to the first two that do.
        found = rated.first_edge(order)
        if isinstance(found, Refusal):
            return found
        pair = [found.winner, found.loser]
        others = [number for number in order if number not in pair]
        kept = sorted([*others[: settings.max_replies - 2], *pair])
        edges = rated.edges(kept)
    most = settings.pairs_per_thread
    if most is None:
        return kept, edges

    def order_of(edge: Edge) -> float:
        return drawn("pair", *sorted(rated.answers[n].id for n in (edge.winner, edge.loser)))

    chosen = sorted(edges, key=order_of)[:most]
    joined = {number for edge in chosen for number in (edge.winner, edge.loser)}
    return [number for number in kept if number in joined], [e for e in edges if e in chosen]
