"""Records at rest: folders of Parquet with a manifest, and JSON lines. Streamed both ways.

    records -> ArtifactWriter -> FOLDER/{part}.parquet + FOLDER/manifest.json
    FOLDER -> read_artifact -> records

The folder appears whole or not at all: parts are written beside it under a temporary name, the
manifest last, and the finished folder is renamed into place. A large part is several files,
`{part}-00003-of-00016.parquet`; `making` makes such folders, by several processes and resumably.
One Parquet row is one record, so pyarrow, polars, DuckDB and `datasets` read it with no code of
ours.
"""

import datetime
import gzip
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.errors import DataError, UnwrittenError, unread
from worldpm.jsonfiles import json_bytes
from worldpm.outputs import check_new, put_in_place
from worldpm.records import Comparison, Thread
from worldpm.schema import READERS, REQUIRED, SCHEMAS, from_batch, other_kind, to_table

FORMAT = "worldpm/1"
ROWS_PER_GROUP = 1000
# What pyarrow raises for a damaged file; a name or text with a changed byte is no UTF-8.
UNREADABLE = (pa.ArrowException, OSError, UnicodeError)
MANIFEST = "manifest.json"
# What the bytes of an artefact depend on.
_PACKAGES = (
    "worldpm", "pyarrow", "lxml", "py7zr", "backports.zstd", "orjson", "html-to-markdown", "rensa",
)  # fmt: skip


def files_of(path: Path) -> list[Path]:
    """The file itself, or all files in a folder and below, by path."""
    return [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())


def size_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(each.stat().st_size for each in files_of(path))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder_sha256(folder: Path) -> str:
    """SHA-256 of the lines that `sha256sum` prints for the files, by their paths in the folder."""
    lines = (
        f"{file_sha256(each)}  {each.relative_to(folder).as_posix()}\n" for each in files_of(folder)
    )
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: it takes the name where the block ends well, else it goes.

    Raises UnwrittenError for an OSError inside the block.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UnwrittenError(f"{path}: could not be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, never half."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class ArtifactWriter:
    """Writes one artefact folder; use it as a context manager.

    `kind` names what the folder holds ("threads", "comparisons"), `settings` is recorded as it
    stands. An exception inside the block leaves nothing behind; OutputExistsError at its end if
    another has made the folder meanwhile, and `force` is not given.
    """

    def __init__(
        self,
        folder: Path,
        record_type: type[Comparison] | type[Thread],
        *,
        kind: str,
        settings: Mapping[str, Any],
        force: bool = False,
    ) -> None:
        check_new(folder, force=force)
        self.folder, self._force = folder, force
        self.kind = kind
        self.settings = dict(settings)
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.notes: dict[str, Any] = {}
        self._inputs: list[dict[str, Any]] = []
        self._type = record_type
        self._rows: dict[str, list[Comparison | Thread]] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")

    def __enter__(self) -> Self:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
        except OSError as problem:
            what = f"{self.folder}: could not be written: {problem.strerror or problem}"
            raise UnwrittenError(f"{what}; nothing was kept") from problem
        finally:
            for writer in self._writers.values():
                writer.close()
            shutil.rmtree(self._partial, ignore_errors=True)

    def input(self, path: Path) -> None:
        """Record an input with its size and hash: a file, or a folder's files as a whole."""
        self._inputs.append(input_entry(path))

    def add(self, part: str, record: Comparison | Thread) -> None:
        """Append a record to the part file `part`.parquet."""
        rows = self._rows.setdefault(part, [])
        rows.append(record)
        self.counts[part] += 1
        if len(rows) >= ROWS_PER_GROUP:
            self._flush(part)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count rows that were left out, under the name of the reason."""
        self.dropped[reason] += count

    def _flush(self, part: str) -> None:
        if part not in self._writers:
            path = self._partial / f"{part}.parquet"
            self._writers[part] = pq.ParquetWriter(path, SCHEMAS[self._type], compression="zstd")
        self._writers[part].write_table(to_table(self._type, self._rows[part]))
        self._rows[part] = []

    def _finish(self) -> None:
        for part in self._rows:
            self._flush(part)
            self._writers[part].close()
        write_manifest(
            self._partial,
            kind=self.kind,
            settings=self.settings,
            inputs=self._inputs,
            counts=self.counts,
            dropped=self.dropped,
            notes=self.notes,
        )
        put_in_place(self._partial, self.folder, force=self._force)


def write_manifest(
    folder: Path,
    *,
    kind: str,
    settings: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    counts: Mapping[str, int],
    dropped: Mapping[str, int],
    notes: Mapping[str, Any],
) -> None:
    """Write what makes a folder an artefact. Only `created` and `command` change with the run."""
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": ["worldpm", *sys.argv[1:]],
        "settings": settings,
        "versions": making_versions(),
        "inputs": inputs,
        "counts": dict(counts),
        "dropped": dict(sorted(dropped.items())),
        **notes,
    }
    write_atomic(folder / MANIFEST, json_bytes(manifest, orjson.OPT_INDENT_2))


def input_entry(path: Path) -> dict[str, Any]:
    """An input as manifests name it, with its size and hash: a file, or a folder as a whole."""
    sha256 = file_sha256(path) if path.is_file() else _folder_sha256(path)
    name = f"{path.resolve().parent.name}/{MANIFEST}" if path.name == MANIFEST else path.name
    return {"path": name, "bytes": size_bytes(path), "sha256": sha256}


def part_path(folder: Path, part: str, number: int = 0, count: int = 1) -> Path:
    """File `number` (from 0) of the `count` that a part has."""
    name = part if count == 1 else f"{part}-{number:05d}-of-{count:05d}"
    return folder / f"{name}.parquet"


def part_files(folder: Path, part: str) -> list[Path]:
    """The files of a part in order; DataError where one is missing."""
    whole = part_path(folder, part)
    if whole.exists():
        return [whole]
    numbered = re.compile(rf"{re.escape(part)}-\d{{5}}-of-(\d{{5}})\.parquet")
    found = {m[0]: int(m[1]) for each in folder.iterdir() if (m := numbered.fullmatch(each.name))}
    count = max(found.values(), default=1)
    files = [part_path(folder, part, number, count) for number in range(count)]
    for file in files:
        if not file.exists():
            raise DataError(f"{file}: is missing; make the artefact again")
    return files


def write_records(
    path: Path, record_type: type[Comparison] | type[Thread], records: Iterable[Any]
) -> int:
    """Write one Parquet file, which appears whole or not at all; returns the number of records."""
    count, rest, schema = 0, iter(records), SCHEMAS[record_type]
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as out,
    ):
        while rows := list(islice(rest, ROWS_PER_GROUP)):
            out.write_table(to_table(record_type, rows))
            count += len(rows)
    return count


@cache
def making_versions() -> dict[str, str]:
    """Versions of all that an artefact's bytes depend on."""
    return versions(*_PACKAGES)


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of those named packages that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artefact folder; DataError if the folder is not a complete artefact."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder}: no {MANIFEST}; not an artefact, or its making was cut short")
    try:
        manifest: dict[str, Any] = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON: {error}; make the artefact again") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("counts"), dict):
        raise DataError(f"{path}: has no counts; not the manifest of an artefact of ours")
    return manifest


def read_artifact(
    folder: Path, record_type: type[Comparison] | type[Thread], part: str | None = None
) -> Iterator[Any]:
    """Yield the records of an artefact folder, of one part or of all in name order."""
    counts = read_manifest(folder).get("counts", {})
    if part is not None and part not in counts:
        if not counts:
            return
        raise DataError(f"{folder}: has no part {part!r}; it has {', '.join(sorted(counts))}")
    for name in sorted(counts) if part is None else [part]:
        for file in part_files(folder, name):
            yield from read_parquet(file, record_type)


def read_parquet(path: Path, record_type: type[Comparison] | type[Thread]) -> Iterator[Any]:
    """Yield the records of one Parquet file, row group by row group."""
    reader = READERS[record_type]
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            missing = REQUIRED[record_type] - set(file.schema_arrow.names)
            if missing:
                other = other_kind(record_type, file.schema_arrow.names)
                raise DataError(f"{path}: lacks the columns {', '.join(sorted(missing))}{other}")
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
                if (records := from_batch(record_type, batch)) is not None:
                    number += len(records)
                    yield from records
                    continue
                for row in batch.to_pylist():
                    number += 1
                    try:
                        record = reader(row)
                    except (KeyError, TypeError, ValueError) as error:
                        raise DataError(
                            f"{path}:{number}: not a row of ours ({error}); was it edited by hand?"
                        ) from None
                    yield record
    except UNREADABLE as error:
        problem = DataError(f"{path}: cannot be read as Parquet: {error}")
        raise unread(path, error) or problem from None


def is_own_parquet(path: Path, record_type: type[Comparison] | type[Thread]) -> bool:
    """Whether a Parquet file has the columns of our own records of that type."""
    try:
        names = pq.read_schema(path).names
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
    return set(names) >= REQUIRED[record_type]


def read_parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (row number from 1, row) of anybody's Parquet file."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None


def read_json_lines(path: Path, max_line_bytes: int = 32_000_000) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, parsed object) of a JSON-lines file, gzipped if named `*.gz`.

    Blank lines are skipped. Raises DataError naming the line for anything that is not JSON, lone
    surrogates included.
    """
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            yield from parse_json_lines(cast("IO[bytes]", file), str(path), max_line_bytes)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from None


def parse_json_lines(
    file: IO[bytes], where: str, max_line_bytes: int = 32_000_000
) -> Iterator[tuple[int, Any]]:
    """`read_json_lines` of an open file (standard input), which messages call `where`."""
    number, seen = 0, False
    while line := file.readline(max_line_bytes + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # the mark that Windows' editors put there
        if not seen and line.lstrip().startswith(b"["):
            raise DataError(
                f"{where}:{number}: one JSON list, not JSON lines; write each of its rows on a "
                "line of its own, as `jq -c '.[]'` does"
            )
        seen = seen or bool(line.strip())
        if len(line) > max_line_bytes:
            raise DataError(f"{where}:{number}: line over {max_line_bytes:,} bytes")
        if line.strip():
            try:
                yield number, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DataError(f"{where}:{number}: not valid JSON: {error}") from None
