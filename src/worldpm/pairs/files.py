"""Rows out of the files that published sets come as: JSON, JSON lines, gzipped or not, Parquet.

    for file, number, row in rows(Path("hh-rlhf"), "jsonl.gz"): ...

Numbers count from 1. Errors are DataError with the file and row.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from worldpm.errors import DataError
from worldpm.records import Conversation, Message
from worldpm.store import read_json_lines, read_parquet_rows

_MARK = b"\xef\xbb\xbf"  # which Windows' editors put at the beginning


def find(path: Path, *endings: str) -> list[Path]:
    """The file itself, or all files below the folder with one of the endings, in name order.

    Raises DataError if there are none, and if two differ by their endings alone (`a.jsonl` beside
    `a.jsonl.gz`): those are the same rows, which would count twice.
    """
    if path.is_file():
        return [path]
    first: dict[Path, Path] = {}
    taken = set[Path]()  # under a longer ending: trees.jsonl also ends in jsonl
    for ending in endings:
        for each in sorted(set(path.rglob(f"*.{ending}")) - taken):
            taken.add(each)
            other = first.setdefault(each.with_name(each.name.removesuffix(f".{ending}")), each)
            if other != each:
                raise DataError(
                    f"{each}: stands beside {other.name}, and the same rows would count twice; "
                    "move one of them away"
                )
    found = sorted(first.values())
    if not found:
        wanted = " or ".join(f"*.{ending}" for ending in endings)
        raise DataError(f"{path}: no such file, nor a folder that holds {wanted}")
    return found


def rows(path: Path, *endings: str) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    """Yield (file, row number, row) of the file or of every file of the folder."""
    yield from rows_in(find(path, *endings))


def rows_in(found: Iterable[Path]) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    """Yield (file, row number, row) of each file in turn."""
    for file in found:
        for number, row in _rows_of(file):
            if not isinstance(row, Mapping):
                raise DataError(f"{file}:{number}: a row must be a JSON object")
            yield file, number, row


def _rows_of(file: Path) -> Iterator[tuple[int, Any]]:
    if file.suffix == ".parquet":
        yield from read_parquet_rows(file)
    elif file.suffix == ".json" and not _begins_an_object(file):
        try:
            values = orjson.loads(file.read_bytes().removeprefix(_MARK))
        except orjson.JSONDecodeError as error:
            raise DataError(f"{file}: not valid JSON: {error}") from None
        if not isinstance(values, list):
            raise DataError(f"{file}: must be a JSON list of rows")
        yield from enumerate(values, 1)
    else:
        yield from read_json_lines(file)


def _begins_an_object(file: Path) -> bool:
    """Whether a file named .json is JSON lines by another name, as SHP's are."""
    with file.open("rb") as opened:
        return opened.read(64).lstrip(_MARK + b" \t\r\n").startswith(b"{")


def tab_separated(file: Path) -> Iterator[list[str]]:
    """Yield the cells of each line of a tab-separated file without quoting."""
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield line.rstrip("\r\n").split("\t")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8 text: {error}") from None


def text(row: Mapping[str, Any], key: str, where: str) -> str:
    """The text at `key`; DataError if it is missing or something else."""
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where}: {key} must be text, not {type(value).__name__}")
    return value


def optional_text(row: Mapping[str, Any], key: str, where: str) -> str | None:
    """The text at `key`, or None where there is none; DataError if it is something else."""
    return None if row.get(key) is None else text(row, key, where)


def optional_list(row: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """The list at `key`, empty where there is none; DataError if it is something else."""
    value = row.get(key)
    if value is not None and not isinstance(value, list):
        raise DataError(f"{where}: {key} must be a list, not {type(value).__name__}")
    return value or []


def number(row: Mapping[str, Any], key: str, where: str) -> float:
    """The number at `key`; DataError if it is missing or something else."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: {key} must be a number, not {type(value).__name__}")
    if not math.isfinite(value):  # Parquet may hold them, JSON not
        raise DataError(f"{where}: {key} must be a number, not {value}")
    return float(value)


def user_turn(content: str) -> Conversation:
    """A prompt of one message, the user's."""
    return (Message("user", content),)


def answers(texts: Sequence[str]) -> tuple[Conversation, ...]:
    """Replies of one message each, the assistant's."""
    return tuple((Message("assistant", text),) for text in texts)
