"""The two kinds of task that make threads of dumps, each a small value that any machine can do.

scatter_dump(Scatter(...), folder)    one dump -> FOLDER/rows/NAME/, its rows by their question
join_shard(Join(...), folder)         one shard of a part -> FOLDER/out/PART-00000-of-00004.parquet
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldpm.forum.finishing import count, finished
from worldpm.forum.forums import FORUMS
from worldpm.forum.reading import Bucket, ForumSettings, Reading
from worldpm.forum.shards import Shards, read_shard
from worldpm.records import Thread
from worldpm.store import input_entry, part_path, write_records
from worldpm.work import pulse

POSTS_PER_PULSE = 100
ROWS, OUT = "rows", "out"


@dataclass(frozen=True, slots=True)
class Scatter:
    """Reads one dump; `path` is absolute."""

    name: str
    forum: str
    settings: ForumSettings
    path: Path
    num_shards: int


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
    """Read a dump; returns what was dropped and noted, and the inputs with their hashes."""
    forum = FORUMS[task.forum]
    dropped: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    reading = Reading(lambda reason: dropped.update((reason,)), lambda name: noted.update((name,)))
    with Shards(folder / ROWS / task.name, task.num_shards) as shards:
        forum.scatter(task.path, task.settings, reading, shards)
    inputs = [input_entry(file) for file in forum.files(task.path)]
    return {"dropped": dropped, "noted": noted, "rows": shards.num_rows, "inputs": inputs}


def join_shard(task: Join, folder: Path) -> dict[str, Any]:
    """Make the threads of a shard; returns what was dropped and noted, and counts by source."""
    dropped: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    sources: dict[str, Counter[str]] = {}
    reading = Reading(lambda reason: dropped.update((reason,)), lambda name: noted.update((name,)))
    folders = [folder / ROWS / name for name in task.dumps]
    bucket = Bucket(task.part, read_shard(folders, task.number), folders)

    def threads() -> Any:
        num_posts = told = 0
        for thread in FORUMS[task.forum].join(bucket, task.settings, reading):
            thread = finished(thread, task.settings, reading.note)
            count(thread, sources.setdefault(thread.source, Counter()))
            num_posts += len(thread.posts)
            if num_posts - told > POSTS_PER_PULSE:
                told = num_posts
                pulse(0, num_posts)
            yield thread

    path = part_path(folder / OUT, task.part, task.number, task.num_shards)
    made = write_records(path, Thread, threads())
    return {"dropped": dropped, "noted": noted, "sources": sources, "threads": made}
