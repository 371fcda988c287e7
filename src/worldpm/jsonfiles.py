"""Small JSON files: an object read, or an error that names the file; and any value as JSON.

read_object(Path("run.json"))     ->  {"recipe": {...}, ...}
json_bytes({"path": "s\\udce9t"})  ->  b'{"path":"s\\xef\\xbf\\xbdt"}'

Names of files may hold bytes that are no UTF-8, which Python gives as lone surrogates and JSON
cannot hold. What is written of a name has U+FFFD in their place.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from worldpm.errors import DataError, WorldPMError

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_object(
    path: Path, error: type[WorldPMError] = DataError, advice: str = ""
) -> dict[str, Any]:
    """The JSON object in a file; `error` where there is none, ending in `advice`."""
    more = f"; {advice}" if advice else ""
    try:
        value = orjson.loads(path.read_bytes())
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror}{more}") from None
    except orjson.JSONDecodeError as problem:
        raise error(f"{path}: not valid JSON: {problem}{more}") from None
    if not isinstance(value, dict):
        raise error(f"{path}: holds a {type(value).__name__}, not a JSON object{more}")
    return value


def valid_text(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, as names of files have them."""
    return _SURROGATE.sub("\ufffd", text)


def json_bytes(value: Any, option: int = 0) -> bytes:
    """`orjson.dumps`, with names that are no UTF-8 made valid at any depth."""
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError:  # for another reason it is raised again
        return orjson.dumps(_valid(value), option=option)


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, Mapping):
        return {_valid(key): _valid(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(each) for each in value]
    return value
