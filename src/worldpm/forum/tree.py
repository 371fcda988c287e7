"""Posts that reply to posts -> threads: the answers of the question, and replies to replies.

    grow(Thread("1", ..., posts=(question,), ...), replies, depth=2, drop)  ->  Thread, Thread, ...

The first thread is the question with the posts that reply to it. With a depth of two or more, each
post with two replies or more becomes a thread of its own, whose prompt is the chain from the
question down to it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from worldpm.records import Post, Thread


def grow(
    opening: Thread,
    replies: Sequence[Post],
    *,
    depth: int,
    drop: Callable[[str], None],
    lost: Collection[str] = (),
) -> Iterator[Thread]:
    """Yield the thread of `opening` (its question alone) and those below it, answers in order.

    `lost` are the ids of posts that were dropped. A reply outside every thread is dropped as
    reply_to_dropped_post, parent_missing, parent_cycle, reply_below_depth, or only_reply (nothing
    to compare it with). Linear in the posts, whatever the shape of the tree.
    """
    children: dict[str, list[Post]] = {}
    for post in replies:
        children.setdefault(post.parent or "", []).append(post)
    answers = children.pop(opening.question.id, [])
    yield replace(opening, posts=(opening.question, *answers))
    level = [(*opening.posts, answer) for answer in answers]  # the chains that end in each post
    for _ in range(depth - 1):
        deeper = []
        for chain in level:
            below = children.pop(chain[-1].id, [])
            deeper += [(*chain, post) for post in below]
            if len(below) >= 2:
                yield replace(
                    opening,
                    id=f"{opening.id}/{chain[-1].id}",
                    posts=(*chain, *below),
                    num_prompt_posts=len(chain),
                )
            else:
                for _post in below:
                    drop("only_reply")
        level = deeper
    _drop_others(children, [chain[-1].id for chain in level], lost, drop)


def _drop_others(
    children: dict[str, list[Post]],
    last: Sequence[str],
    lost: Collection[str],
    drop: Callable[[str], None],
) -> None:
    """Drop what hangs below the last level, below dropped or missing posts, and in cycles."""

    def prune(roots: Sequence[str], reason: str) -> None:
        stack = list(roots)
        while stack:
            for post in children.pop(stack.pop(), []):
                stack.append(post.id)
                drop(reason)

    prune(last, "reply_below_depth")
    prune([parent for parent in children if parent in lost], "reply_to_dropped_post")
    ids = {post.id for posts in children.values() for post in posts}
    prune([parent for parent in children if parent not in ids], "parent_missing")
    prune(list(children), "parent_cycle")
