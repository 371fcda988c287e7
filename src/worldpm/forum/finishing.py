"""What the settings that hold for every forum make of a thread, and what is counted of it.

finished(threads, ForumSettings(mask_contacts=True), reading)   threads, contacts masked
count(thread, counts)                                           adds threads, posts, ...
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from worldpm.forum.contacts import mask_contacts
from worldpm.forum.reading import Count, ForumSettings, Reading
from worldpm.records import Post, Thread


def finished(
    threads: Iterable[Thread], settings: ForumSettings, reading: Reading
) -> Iterator[Thread]:
    """The threads as the settings want them, those of too few answers lost.

    `reading.note` hears of each contact that was masked.
    """
    for thread in threads:
        if len(thread.answers) < settings.min_answers:
            reading.too_few_answers(thread.source, [post.id for post in own_posts(thread)])
        else:
            yield _rewritten(thread, settings, reading.note)


def _rewritten(thread: Thread, settings: ForumSettings, note: Count) -> Thread:
    if not settings.mask_contacts and settings.authors == "keep":
        return thread
    # Contacts in the chain were counted where it is answered.
    noted = range(thread.num_prompt_posts if thread.num_prompt_posts > 1 else 0, len(thread.posts))
    title, posts = thread.title, list(thread.posts)
    if settings.mask_contacts:
        title = mask_contacts(title, note if 0 in noted else lambda name: None)
        for place, post in enumerate(posts):
            hear = note if place in noted else lambda name: None
            posts[place] = replace(post, text=mask_contacts(post.text, hear))
    if settings.authors == "drop":
        posts = [replace(post, author=None) for post in posts]
    return replace(thread, title=title, posts=tuple(posts))


def own_posts(thread: Thread) -> tuple[Post, ...]:
    """The posts that count as this thread's: a chain's are those of the threads above it."""
    return thread.answers if thread.num_prompt_posts > 1 else (thread.question, *thread.answers)


def count(thread: Thread, counts: Counter[str]) -> None:
    """Add a thread to its source's counts; a post counts once, in the chain of others no more."""
    answers = thread.answers
    counts["threads"] += 1
    counts["posts"] += len(own_posts(thread))
    counts["with_two_answers"] += len(answers) >= 2
    counts["with_differing_votes"] += len({answer.votes for answer in answers}) > 1
    if thread.num_prompt_posts > 1:
        counts["threads_below_an_answer"] += 1
