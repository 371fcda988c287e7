"""Bytes of a body -> a request model, once everything is ruled out that parsers differ about.

    keys_of(b'{"a": 1, "a": 2}', depth=32)      Refused: 400 malformed_json, duplicate key 'a'

NaN, duplicate keys, deep nesting, broken UTF-8 and lone surrogates are refused with 400 before a
dialect sees the body.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

from pydantic import BaseModel, TypeAdapter

from worldpm.serve.errors import Refused, printable


def keys_of(body: bytes, depth: int) -> tuple[str, ...]:
    """The keys of the JSON object that `body` is; Refused (400) if it is not one, or not safe."""
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _malformed(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise _too_deep(depth) from None
    except ValueError:  # a number of thousands of digits
        raise _malformed("a number has too many digits") from None
    if not isinstance(value, dict):
        raise _malformed("the body must be a JSON object")
    _check_depth(value, depth)
    return tuple(value)


def read(kind: type[BaseModel], body: bytes) -> Any:
    """The body as `kind`; pydantic's ValidationError where it does not fit."""
    return _adapter(kind).validate_json(body)


@cache
def _adapter(kind: type[BaseModel]) -> "TypeAdapter[Any]":
    return TypeAdapter(kind)


def _object(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _malformed(f"duplicate key {printable(key)!r}")
            seen.add(key)
    return found


def _no_constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is no JSON number")


def _check_depth(value: object, depth: int) -> None:
    level: list[Any] = [value]
    reached = 0
    while level:
        reached += 1
        if reached > depth:
            raise _too_deep(depth)
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]


def _malformed(message: str) -> Refused:
    return Refused(400, "malformed_json", message, where="body")


def _too_deep(depth: int) -> Refused:
    return Refused(400, "malformed_json", f"nested deeper than {depth} levels", where="body")
