"""Members of a 7z archive, pushed as bytes into callables; nothing is written to disk.

    feed_members(Path("ai.stackexchange.com.7z"), {"Posts.xml": parser.feed})

The archive is untrusted: names that escape, sizes that only a bomb has, truncation and damage
end in a DataError that names the archive; of the kind UnreadError where it may be sound.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

import py7zr
from py7zr.io import Py7zIO, WriterFactory

from worldpm.errors import DataError, WorldPMError, unread

# Stack Exchange dumps unpack to 3-10 times their size; 44 KB of bomb reached 6,841 times.
MAX_RATIO = 200
RATIO_FLOOR_BYTES = 64 * 1024 * 1024  # small archives may compress as well as they like

Sink = Callable[[bytes], None]


class _Writer(Py7zIO):  # type: ignore[misc]
    """What py7zr writes a member's bytes to: counts them, and passes them on."""

    def __init__(self, sink: Sink, limit_bytes: int, where: str) -> None:
        self._sink, self._limit, self._where = sink, limit_bytes, where
        self._size = 0

    def write(self, data: bytes | bytearray) -> int:
        self._size += len(data)
        if self._size > self._limit:
            raise DataError(
                f"{self._where}: unpacks to more than {self._limit:,} bytes, over {MAX_RATIO} times"
                " the archive's size; refused as a decompression bomb"
            )
        self._sink(bytes(data))
        return len(data)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        return None

    def size(self) -> int:
        return self._size


class _Sinks(WriterFactory):  # type: ignore[misc]
    def __init__(self, path: Path, sinks: Mapping[str, Sink]) -> None:
        self._path, self._sinks = path, sinks
        self._limit = max(RATIO_FLOOR_BYTES, MAX_RATIO * path.stat().st_size)

    def create(self, filename: str) -> Py7zIO:
        sink = self._sinks[PurePosixPath(filename).name]
        return _Writer(sink, self._limit, f"{self._path}: {filename}")


def feed_members(path: Path, sinks: Mapping[str, Sink]) -> set[str]:
    """Push each member whose base name is a key of `sinks` into its callable, in archive order.

    Returns the base names found. Raises DataError for anything wrong with the archive; a DataError
    raised by a sink passes through.
    """
    with _opened(path) as archive:
        wanted = {base: name for base, name in _members(path, archive).items() if base in sinks}
        if wanted:
            archive.extract(targets=list(wanted.values()), factory=_Sinks(path, sinks))
        return set(wanted)


def member_bytes(path: Path) -> dict[str, int]:
    """Unpacked sizes by base name, as the archive's header states them; errors as above."""
    try:
        found = path.stat()
    except OSError:
        return _member_bytes(path, 0, 0)  # says what is wrong with it
    return _member_bytes(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1024)  # asked for several times a run, at half a millisecond
def _member_bytes(path: Path, size: int, changed: int) -> dict[str, int]:
    with _opened(path) as archive:
        _members(path, archive)
        return {
            PurePosixPath(each.filename).name: int(each.uncompressed or 0)
            for each in archive.list()
            if not each.is_directory
        }


@contextmanager
def _opened(path: Path) -> Iterator[py7zr.SevenZipFile]:
    try:
        with py7zr.SevenZipFile(path) as archive:
            if archive.needs_password():
                raise DataError(f"{path}: is encrypted; give the dump as it was published")
            yield archive
    except WorldPMError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the path of a dump") from None
    # A damaged header can make py7zr fail in any way at all (IndexError, struct.error, ...).
    except Exception as error:
        if (problem := unread(path, error)) is not None:
            raise problem from error
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{path}: not a complete 7z archive ({reason}); download it again"
        ) from error


def _members(path: Path, archive: py7zr.SevenZipFile) -> dict[str, str]:
    """Member names by their base name."""
    names = archive.getnames()
    for name in names:
        _check_name(path, name)
    return {PurePosixPath(name).name: name for name in names}


def _check_name(path: Path, name: str) -> None:
    windows = PureWindowsPath(name)
    if "\0" in name or windows.root or windows.drive or ".." in windows.parts:
        raise DataError(f"{path}: holds a member with the escaping name {name!r}; refused")
