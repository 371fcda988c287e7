"""The two kinds of task that make threads of dumps, each a small value that any machine can do.

scatter_dump(Scatter(...), folder)    one dump -> FOLDER/rows/NAME/, its rows by their question
join_shard(Join(...), folder)         one shard of a part -> FOLDER/out/PART-00000-of-00004.parquet

A small dump goes through memory instead: its first task makes its threads too.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldpm.forum.finishing import count, finished
from worldpm.forum.forums import FORUMS
from worldpm.forum.reading import Bucket, Count, ForumSettings, Reading
from worldpm.forum.shards import Held, Shards, read_shard
from worldpm.ledger import LEDGER, Lost, write_ledger
from worldpm.records import Thread
from worldpm.store import input_entry, part_path, write_records
from worldpm.work import pulse

POSTS_PER_PULSE = 100
ROWS, OUT = "rows", "out"


@dataclass(frozen=True, slots=True)
class Scatter:
    """Reads one dump; `path` is absolute. With `held` its threads are made at once."""

    name: str
    forum: str
    settings: ForumSettings
    path: Path
    part: str
    num_shards: int
    held: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Makes one shard's threads; `dumps` names the tasks that scattered them."""

    name: str
    forum: str
    settings: ForumSettings
    part: str
    dumps: tuple[str, ...]
    number: int
    num_shards: int


def scatter_dump(task: Scatter, folder: Path) -> dict[str, Any]:
    """Read a dump; returns what was dropped and noted, and the inputs with their hashes.

    Of a dump that is held also what `join_shard` returns, as "joined".
    """
    forum = FORUMS[task.forum]
    counted = _Counted()
    place = folder / ROWS / task.name
    with Held(place) if task.held else Shards(place, task.num_shards) as shards:
        forum.scatter(task.path, task.settings, counted.reading, shards)
    found = {
        "dropped": counted.dropped,
        "noted": counted.noted,
        "rows": shards.num_rows,
        "inputs": [input_entry(file) for file in forum.files(task.path)],
    }
    if isinstance(shards, Held):
        bucket = Bucket(task.part, shards.rows, [place])
        path = part_path(folder / OUT, task.part)
        found["joined"] = _write_threads(path, task, bucket, lambda num_posts: None)
        shutil.rmtree(place)
    return found


def join_shard(task: Join, folder: Path) -> dict[str, Any]:
    """Make the threads of a shard; returns what was dropped and noted, and counts by source."""
    folders = [folder / ROWS / name for name in task.dumps]
    bucket = Bucket(task.part, read_shard(folders, task.number), folders)
    path = part_path(folder / OUT, task.part, task.number, task.num_shards)
    return _write_threads(path, task, bucket, lambda num_posts: pulse(0, num_posts))


class _Counted:
    """What a reader tells, by name."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.lost: list[Lost] = []
        self.reading = Reading(_add(self.dropped), _add(self.noted), self._lose)

    def _lose(self, lost: Lost) -> None:
        self.dropped[lost.reason] += 1
        self.lost.append(lost)


def _add(counts: Counter[str]) -> Count:
    def add(name: str) -> None:
        counts[name] += 1

    return add


def _write_threads(
    path: Path, task: Scatter | Join, bucket: Bucket, tell: Callable[[int], None]
) -> dict[str, Any]:
    counted = _Counted()
    sources: dict[str, Counter[str]] = {}

    def threads() -> Iterator[Thread]:
        num_posts = told = 0
        joined = FORUMS[task.forum].join(bucket, task.settings, counted.reading)
        for thread in finished(joined, task.settings, counted.reading):
            count(thread, sources.setdefault(thread.source, Counter()))
            num_posts += len(thread.posts)
            if num_posts - told > POSTS_PER_PULSE:
                told = num_posts
                tell(num_posts)
            yield thread

    made = write_records(path, Thread, threads())
    if counted.lost:
        write_ledger(path.parent / LEDGER / path.name, counted.lost)
    return {
        "dropped": counted.dropped,
        "noted": counted.noted,
        "lost": Counter(each.source for each in counted.lost),
        "sources": sources,
        "threads": made,
    }
