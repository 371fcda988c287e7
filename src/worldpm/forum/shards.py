"""Rows grouped by a key on disk, so that a dump of any size is joined in bounded memory.

    shards = Shards(folder, count=64)
    shards.add("62bgi8", ["c", "dflarf6", ...])         any number of times, in any order
    for rows in shards: ...                             all rows of a key are in the same list

A row is any JSON value. Which shard a key goes to depends on the key and the count alone.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from worldpm.forum.lines import zstd

BUFFER_BYTES = 64 << 20  # of all shards together, before their frames go to disk


class Shards:
    """Partitions rows into `count` files below `folder`, which are read back one at a time."""

    def __init__(self, folder: Path, count: int, buffer_bytes: int = BUFFER_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._limit = folder, buffer_bytes
        self._buffers = [bytearray() for _ in range(count)]
        self._size = 0

    def add(self, key: str, row: Any) -> None:
        """Put a row to the others of its key."""
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        self._buffers[zlib.crc32(key.encode()) % len(self._buffers)] += line
        self._size += len(line)
        if self._size >= self._limit:
            self._flush()

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield each shard's rows in the order they were put in; a shard's file goes with it."""
        self._flush()
        for number in range(len(self._buffers)):
            path = self._path(number)
            if path.exists():
                with zstd.ZstdFile(path) as file:
                    rows = [orjson.loads(line) for line in file]
                path.unlink()
                yield rows

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.jsonl.zst"

    def _flush(self) -> None:
        for number, buffer in enumerate(self._buffers):
            if buffer:
                with self._path(number).open("ab") as file:
                    # Level 1 halves the disk that is needed, at 400 MB/s.
                    file.write(zstd.compress(buffer, level=1))
                buffer.clear()
        self._size = 0
