"""Whole artefacts: forum dumps -> a folder of threads with a manifest.

    build_threads([Path("ai.stackexchange.com.7z")], Path("threads"))  ->  the manifest

One part a dump, named for its site. The manifest's `dropped` counts the dumps' rows that became no
post, by reason, and `sources` what each dump gave: rows read = posts + dropped.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from worldpm.errors import ConfigError, DataError
from worldpm.forum.stackexchange import read_stackexchange
from worldpm.records import Thread
from worldpm.store import ArtifactWriter, read_manifest

Count = Callable[[str], None]
Reader = Callable[[Path, Count, Count], Iterator[Thread]]
"""Takes a dump, what to call for each row dropped, and for each thing worth a count."""
FORUMS: Mapping[str, Reader] = {"stackexchange": read_stackexchange}


def build_threads(
    paths: Sequence[Path],
    folder: Path,
    *,
    forum: str = "stackexchange",
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Read dumps of one forum into `folder` of threads; returns its manifest.

    Raises DataError for a dump that cannot be read (nothing is kept then), ConfigError for an
    unknown forum, OutputExistsError without `force`.
    """
    if forum not in FORUMS:
        raise ConfigError(f"forum {forum!r} is unknown; choose from {', '.join(sorted(FORUMS))}")
    read = FORUMS[forum]
    numbers: Counter[str] = Counter()
    by_source: dict[str, dict[str, int]] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        ArtifactWriter(
            folder, Thread, kind="threads", settings={"forum": forum}, force=force
        ) as out,
        Progress(*columns, console=Console(stderr=True), disable=quiet) as progress,
    ):
        task = progress.add_task("", total=None)
        for done, path in enumerate(paths, 1):
            description = f"{path.name} ({done} of {len(paths)})"
            progress.update(task, description=description)
            dropped_before = out.dropped.total()
            counts: Counter[str] = Counter()
            source = path.stem
            for thread in read(path, out.drop, lambda name: numbers.update([name])):
                source = thread.source
                if source in by_source:
                    raise DataError(f"{path}: {source} was read already; give each site once")
                out.add(source, thread)
                counts["threads"] += 1
                counts["posts"] += len(thread.posts)
                counts["with_two_answers"] += len(thread.answers) >= 2
                counts["with_differing_votes"] += len({a.votes for a in thread.answers}) > 1
                if counts["threads"] % 100 == 0:
                    text = f"{description}: {counts['threads']:,} threads"
                    progress.update(task, description=text)
            counts["dropped"] = out.dropped.total() - dropped_before
            out.input(path if path.is_file() else path / "Posts.xml")
            by_source[source] = dict(counts)
            numbers.update(counts)
        out.notes["numbers"] = dict(numbers)
        out.notes["sources"] = by_source
    return read_manifest(folder)
