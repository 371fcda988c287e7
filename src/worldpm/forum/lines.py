"""Rows out of JSON lines of any size, compressed or not, in bounded memory.

    for row in json_rows(Path("RC_2021-06.zst"), drop): ...

Lines that are too long, no JSON, or no object are counted and left out; a file that is cut short,
damaged, a decompression bomb, or holds no JSON object at all is a DataError.
"""

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import orjson

from worldpm.errors import DataError, unread
from worldpm.forum.archive import MAX_RATIO, RATIO_FLOOR_BYTES
from worldpm.jsonfiles import valid_text
from worldpm.work import pulse

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 32_000_000
ROWS_PER_PULSE = 500
# The monthly dumps are compressed with `zstd --long=31`; memory is touched only as far as it fills.
WINDOW_LOG = 31
ENDINGS = (".zst", ".gz", ".tgz", ".bz2", ".xz")


def _unpacked(raw: IO[bytes], suffix: str) -> IO[bytes]:
    """What is in an open file, decompressed by its ending: .zst, .gz, .bz2, .xz or none."""
    if suffix == ".zst":
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
        return cast("IO[bytes]", zstd.ZstdFile(raw, options=options))
    if suffix in {".gz", ".tgz"}:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if suffix == ".bz2":
        return cast("IO[bytes]", bz2.open(raw))
    return cast("IO[bytes]", lzma.open(raw)) if suffix == ".xz" else raw


def chunks(path: Path, at: Callable[[int], None] = lambda position: None) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, piece by piece; `at` hears how far it is read.

    Raises DataError for a file that is missing, cut short, damaged, or unpacks as only a bomb does;
    UnreadError for one that may be sound.
    """
    total = 0
    try:
        packed = path.suffix.lower() in ENDINGS
        limit = max(RATIO_FLOOR_BYTES, MAX_RATIO * path.stat().st_size)
        with path.open("rb") as raw, _unpacked(raw, path.suffix.lower()) as file:
            while chunk := file.read(CHUNK_BYTES):
                total += len(chunk)
                at(raw.tell())
                if packed and total > limit:
                    raise DataError(
                        f"{path}: unpacks to more than {limit:,} bytes, over {MAX_RATIO} times "
                        "its size; refused as a decompression bomb"
                    )
                yield chunk
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the path of a dump") from None
    except (
        EOFError, MemoryError, OSError, lzma.LZMAError, zlib.error, zstd.ZstdError
    ) as error:  # fmt: skip
        if (problem := unread(path, error)) is not None:
            raise problem from error
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: cut short or damaged after {total:,} bytes ({reason}); download it again"
        ) from None


def lines(
    path: Path,
    too_long: Callable[[], None],
    max_line_bytes: int = MAX_LINE_BYTES,
    at: Callable[[int], None] = lambda position: None,
) -> Iterator[bytes]:
    """Yield the lines of a file; one of more bytes than that is skipped, and `too_long` called."""
    rest, skipping = b"", False
    for chunk in chunks(path, at):
        head, *others = chunk.split(b"\n")
        if not skipping:
            rest += head
            if len(rest) > max_line_bytes:
                too_long()
                rest, skipping = b"", True
            elif others:
                yield rest
        if not others:
            continue
        skipping = False
        *whole, rest = others
        for line in whole:
            if len(line) > max_line_bytes:
                too_long()
            else:
                yield line
    if rest and not skipping:
        yield rest


def json_rows(
    path: Path, drop: Callable[[str], None], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file's lines; every other line is counted with `drop`.

    Reasons: line_too_long, malformed_json (nesting beyond 1,024 and lone surrogates among them),
    not_an_object. Raises DataError as `chunks` does, and where no line at all is an object.
    """
    found = others = position = 0

    def at(place: int) -> None:
        nonlocal position
        position = place

    def refuse(reason: str) -> None:
        nonlocal others
        others += 1
        drop(reason)

    for line in lines(path, lambda: refuse("line_too_long"), max_line_bytes, at):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            line = line.removeprefix(b"\xef\xbb\xbf").strip()  # Windows' mark, blank lines
            if not line:
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                refuse("malformed_json")
                continue
        if isinstance(row, dict):
            found += 1
            if found % ROWS_PER_PULSE == 0:
                pulse(position, found)
            yield row
        else:
            refuse("not_an_object")
    if not found:
        raise DataError(
            f"{path}: {f'none of its {others:,} lines' if others else 'no line'} is a JSON object; "
            "is it JSON lines?"
        )


def text_lines(path: Path) -> Iterator[str]:
    """Yield a file's lines as text, ends kept as they are; DataError if it is not UTF-8."""

    def bytes_with_ends() -> Iterator[bytes]:
        rest = b""
        for chunk in chunks(path):
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise DataError(f"{path}: a line of over {MAX_LINE_BYTES:,} bytes; is it text?")
            for line in whole:
                yield line + b"\n"
        if rest:
            yield rest

    for number, line in enumerate(bytes_with_ends(), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: not UTF-8 text: {error.reason}") from None


def dump_name(path: Path) -> str:
    """The name of a dump without its endings: `urho3d.tar.gz` is urho3d."""
    name = path.resolve().name
    for ending in (*ENDINGS, ".tar", ".jsonl", ".ndjson", ".json", ".csv"):
        name = name[: -len(ending)] if name.lower().endswith(ending) else name
    return valid_text(name) or "dump"
