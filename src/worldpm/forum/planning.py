"""What a run will take: seconds, disk and memory, from the sizes of the dumps alone.

    plan_threads("stackexchange", [Path("ai.stackexchange.com.7z")], ForumSettings(), workers=2)

Stack Exchange's rate is that of `make bench-forum` on one core of a server processor of 2023, to a
factor of two; those of the other forums are guesses that no benchmark stands behind. Memory
is what a worker needs at most, times the workers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldpm.errors import ConfigError
from worldpm.forum.forums import forum_of, group_dumps
from worldpm.forum.reading import ForumSettings

MB = 1_000_000
# Text read a second by one worker, dumps to threads.
TEXT_BYTES_PER_SECOND: Mapping[str, float] = {
    "stackexchange": 11 * MB,
    "reddit": 35 * MB,
    "quora": 30 * MB,
    "discourse": 12 * MB,
    "plain": 30 * MB,
}
START_SECONDS = 1.5
SCATTER_BYTES = 450 * MB  # Python and its libraries, buffers of 64 MiB, what 7z unpacks at once
JOIN_BYTES = 150 * MB
JOIN_RATIO = 5  # memory for a shard's rows, threads and columns, by its text
ROWS_RATIO, THREADS_RATIO = 0.45, 0.35  # on disk, by the text
TEXT_BYTES_PER_WORKER = 16 * MB  # less than that is done before another process has started


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run reads and will take, and with how many workers it stays within its memory."""

    text_bytes: int
    num_shards: int
    workers: int
    seconds: float
    disk_bytes: int
    memory_bytes: int


def plan_threads(
    name: str,
    paths: Sequence[Path],
    settings: ForumSettings,
    *,
    workers: int,
    memory_bytes: int | None = None,
) -> Plan:
    """The plan of a run on one machine; no more workers than there are tasks of some size.

    Raises ConfigError where `memory_bytes` is less than one worker may need.
    """
    forum = forum_of(name)
    groups = group_dumps(name, paths, settings)
    files = [file for group in groups for path in group.paths for file in forum.files(path)]
    text = sum(map(forum.num_bytes, files))
    num_shards = sum(group.num_shards for group in groups)
    # A shard is as even as a hash makes it; the text of one part is never more than all.
    shard = min(1.3 * settings.shard_bytes, text * forum.kept)
    each = int(max(min(SCATTER_BYTES, JOIN_BYTES + 3 * text), JOIN_BYTES + JOIN_RATIO * shard))
    workers = max(1, min(workers, num_shards, math.ceil(text / TEXT_BYTES_PER_WORKER)))
    if memory_bytes is not None:
        if memory_bytes < each:
            raise ConfigError(
                f"--memory {memory_bytes / MB:,.0f} MB: one worker may need {each / MB:,.0f} MB; "
                "give more, or less to a shard with --set shard_bytes=16000000"
            )
        workers = min(workers, memory_bytes // each)
    # Dumps are read side by side, but one dump by one worker only.
    longest = max(map(forum.num_bytes, files), default=0)
    rate = TEXT_BYTES_PER_SECOND[name]
    seconds = max(text / workers, 0.2 * longest + 0.8 * text / workers) / rate + START_SECONDS
    return Plan(
        text_bytes=text,
        num_shards=num_shards,
        workers=workers,
        seconds=seconds,
        disk_bytes=int(text * forum.kept * ROWS_RATIO + text * forum.kept * THREADS_RATIO),
        memory_bytes=workers * each,
    )
