"""Whole artefacts: forum dumps -> a folder of threads with a manifest.

    build_threads([Path("ai.stackexchange.com.7z")], Path("threads"))  ->  the manifest
    build_threads([Path("RS.zst"), Path("RC.zst")], Path("threads"), forum="reddit",
                  settings=RedditSettings(depth=2))

One part a dump, named for its site; where dumps are read together, one part for all. The
manifest's `dropped` counts the dumps' rows that became no post, by reason, and `sources` what each
source gave: rows read = posts + dropped. What a killed run leaves behind (`.NAME.scratch`), the
next one to the same folder removes.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from worldpm.errors import ConfigError, DataError
from worldpm.forum.contacts import mask_contacts
from worldpm.forum.discourse import DiscourseSettings, read_discourse
from worldpm.forum.lines import dump_name
from worldpm.forum.plain import PlainSettings, read_plain
from worldpm.forum.quora import QuoraSettings, read_quora
from worldpm.forum.reading import Count, ForumSettings, Reading
from worldpm.forum.reddit import RedditSettings, dump_files, read_reddit
from worldpm.forum.stackexchange import read_stackexchange, site_name
from worldpm.records import Thread
from worldpm.store import ArtifactWriter, read_manifest


def _read_stackexchange(
    paths: Sequence[Path], settings: ForumSettings, reading: Reading
) -> Iterator[Thread]:
    for path in paths:
        yield from read_stackexchange(path, reading.drop, reading.note)


@dataclass(frozen=True, slots=True)
class Forum:
    """How the dumps of a forum are read."""

    settings: type[ForumSettings]
    read: Callable[[Sequence[Path], Any, Reading], Iterator[Thread]]
    together: bool = False
    """A thread's rows may stand in several dumps."""


FORUMS: Mapping[str, Forum] = {
    "stackexchange": Forum(ForumSettings, _read_stackexchange),
    "reddit": Forum(RedditSettings, read_reddit, together=True),
    "discourse": Forum(DiscourseSettings, read_discourse),
    "quora": Forum(QuoraSettings, read_quora, together=True),
    "plain": Forum(PlainSettings, read_plain),
}


def build_threads(
    paths: Sequence[Path],
    folder: Path,
    *,
    forum: str = "stackexchange",
    settings: ForumSettings | None = None,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Read dumps of one forum into `folder` of threads; returns its manifest.

    Raises DataError for a dump that cannot be read (nothing is kept then), ConfigError for an
    unknown forum, OutputExistsError without `force`.
    """
    if forum not in FORUMS:
        raise ConfigError(f"forum {forum!r} is unknown; choose from {', '.join(sorted(FORUMS))}")
    kind = FORUMS[forum]
    settings = settings or kind.settings()
    assert isinstance(settings, kind.settings)
    numbers: Counter[str] = Counter()
    by_source: dict[str, Counter[str]] = {}
    groups = [(forum, paths)] if kind.together else [(_part(path, forum), [path]) for path in paths]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    scratch = folder.with_name(f".{folder.name}.scratch")
    with (
        ArtifactWriter(
            folder,
            Thread,
            kind="threads",
            settings={"forum": forum, **settings.model_dump(mode="json")},
            force=force,
        ) as out,
        _emptied(scratch),
        Progress(*columns, console=Console(stderr=True), disable=quiet) as progress,
    ):
        task = progress.add_task("", total=None)
        for done, (part, group) in enumerate(groups, 1):
            if part in out.counts:
                raise DataError(f"{group[0]}: {part} was read already; give each site once")
            name = group[0].name if len(group) == 1 else part
            description = f"{name} ({done} of {len(groups)})"
            progress.update(task, description=description)
            reading = Reading(
                out.drop,
                lambda name: numbers.update([name]),
                scratch,
                lambda text, d=description: progress.update(task, description=f"{d}: {text}"),  # type: ignore[misc]
            )
            dropped_before = out.dropped.total()
            sources: Counter[str] = Counter()
            for thread in kind.read(group, settings, reading):
                thread = _finished(thread, settings, reading.note)
                out.add(part, thread)
                sources[thread.source] += 1
                _count(thread, by_source.setdefault(thread.source, Counter()))
                if sources.total() % 100 == 0:
                    reading.say(f"{sources.total():,} threads")
            dropped = out.dropped.total() - dropped_before
            # A row that became no post of a community is the forum's.
            owner = next(iter(sources)) if len(sources) == 1 else part
            by_source.setdefault(owner, Counter())["dropped"] += dropped
            for path in group:
                for file in _inputs(path, forum):
                    out.input(file)
        for counts in by_source.values():
            numbers.update(counts)
        out.notes["numbers"] = dict(numbers)
        out.notes["sources"] = {name: dict(counts) for name, counts in by_source.items()}
    return read_manifest(folder)


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """A folder that is gone at the start and at the end; whoever needs it makes it."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _finished(thread: Thread, settings: ForumSettings, note: Count) -> Thread:
    """The thread as the settings that hold for every forum want it."""
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


def _count(thread: Thread, counts: Counter[str]) -> None:
    """Add a thread to its source's counts; a post counts once, in the chain of others no more."""
    answers = thread.answers
    nested = thread.num_prompt_posts > 1
    counts["threads"] += 1
    counts["posts"] += len(answers) + (0 if nested else 1)
    counts["with_two_answers"] += len(answers) >= 2
    counts["with_differing_votes"] += len({answer.votes for answer in answers}) > 1
    if nested:
        counts["threads_below_an_answer"] += 1


def _part(path: Path, forum: str) -> str:
    return site_name(path) if forum == "stackexchange" else dump_name(path)


def _inputs(path: Path, forum: str) -> list[Path]:
    """The files that were read of a dump; a folder as a whole where all of it was."""
    if forum == "reddit":
        return dump_files(path)
    return [path / "Posts.xml" if forum == "stackexchange" and path.is_dir() else path]
