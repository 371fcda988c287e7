"""A small JSON file -> the object it holds, or an error that names the file.

read_object(Path("run.json"))  ->  {"recipe": {...}, ...}
"""

from pathlib import Path
from typing import Any

import orjson

from worldpm.errors import DataError, WorldPMError


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
