"""Rows grouped by a key on disk, so that a dump of any size is joined in bounded memory.

    with Shards(folder, count=64) as shards:
        shards.add("62bgi8", ["c", "dflarf6", ...])     any number of times, in any order
    read_shard([folder], 5)                             all rows of a key are in the same shard

A row is any JSON value. Which shard a key goes to depends on the key and the count alone.
"""

import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from worldpm.errors import UnwrittenError
from worldpm.forum.lines import zstd

BUFFER_BYTES = 64 << 20  # of all shards together, before their frames go to disk
MAX_SHARDS = 4096


class Shards:
    """Partitions rows into `count` files below `folder`, which appears whole or not at all."""

    def __init__(self, folder: Path, count: int, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._place, self._limit = folder, buffer_bytes
        self.folder = folder.with_name(f".{folder.name}.unfinished")
        """Where files that belong to the rows may be put."""
        self.num_rows = 0
        self._buffers = [bytearray() for _ in range(count)]
        self._size = 0

    def __enter__(self) -> Self:
        for old in (self.folder, self._place):
            shutil.rmtree(old, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()
            self.folder.rename(self._place)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, key: str, row: Any, drop: Callable[[str], None] | None = None) -> None:
        """Put a row to the others of its key; one that nests too deep to be written goes to `drop`.

        Rows of ours do not nest; those of others may, over 254 levels, and need a `drop`.
        """
        try:
            line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:
            if drop is None:
                raise
            drop("nested_too_deep")
            return
        self._buffers[zlib.crc32(key.encode()) % len(self._buffers)] += line
        self._size += len(line)
        self.num_rows += 1
        if self._size >= self._limit:
            self._flush()

    def _flush(self) -> None:
        try:
            for number, buffer in enumerate(self._buffers):
                if buffer:
                    with shard_path(self.folder, number).open("ab") as file:
                        # Level 1 halves the disk that is needed, at 400 MB/s.
                        file.write(zstd.compress(buffer, level=1))
                    buffer.clear()
        except OSError as error:
            # Said here, where a reader would take it for damage of its dump.
            raise UnwrittenError(
                f"{self.folder}: could not be written: {error.strerror}; the same command goes on"
            ) from error
        self._size = 0


class Held(Shards):
    """The rows of a small dump, in memory: there they are joined as those of one shard would be.

    The folder is there for what else a reader leaves beside its rows.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 0)
        self.rows: list[Any] = []

    def add(self, key: str, row: Any, drop: Callable[[str], None] | None = None) -> None:
        """Put a row to the others; what could not be written is dropped as it would be there."""
        if drop is not None:
            try:
                orjson.dumps(row)
            except orjson.JSONEncodeError:
                drop("nested_too_deep")
                return
        self.rows.append(row)
        self.num_rows += 1


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard's rows are; there is no file where there are no rows."""
    return folder / f"{number:05d}.jsonl.zst"


def read_shard(folders: Iterable[Path], number: int) -> list[Any]:
    """A shard's rows, folder by folder in the order in which they were put in."""
    rows: list[Any] = []
    for folder in folders:
        path = shard_path(folder, number)
        if path.exists():
            with zstd.ZstdFile(path) as file:
                rows += [orjson.loads(line) for line in file]
    return rows
