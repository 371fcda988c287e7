"""The one shape in which the server says no, and the one place that makes it.

    raise Refused(404, "unknown_model", "no model 'x' is loaded", where="model")
    ->  404  {"error": {"type": "unknown_model", "message": "no model ...", "where": "model"}}

`where` is the place in the request ("items[3].messages[0].role", "header content-type"), or null.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from worldpm.errors import DataError, NonFiniteError, WorldPMError

FORM = re.compile(r"str|list\[.*\]|[A-Z]\w*")  # keys of ours are other words, in small letters


class Refused(WorldPMError):
    """A request that is not answered; `kind` is the `type` of the error's body."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        where: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.where = where
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The JSON that the client gets."""
        error = {"type": self.kind, "message": printable(str(self)), "where": self.where}
        return orjson.dumps({"error": error})


def printable(text: str) -> str:
    """`text` as JSON can hold it: what is no character is shown by its number."""
    return text.encode("utf-8", "backslashreplace").decode()


def place(parts: Sequence[int | str]) -> str | None:
    """A path in the body as people write it: items[3].messages[0].role."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return printable(text.removeprefix(".")) or None


def _first_problem(problems: Sequence[ErrorDetails]) -> tuple[tuple[int | str, ...], str]:
    """The path and the text of what is wrong first; where several forms may stand, in the nearest.

    Each form has its own problem with what stands there. The nearest is the one that is not merely
    of another type, or else where the problem lies deepest, then farthest on.
    """
    loc = problems[0]["loc"]
    start = next((i for i, part in enumerate(loc) if _is_form(problems[0], i)), None)
    if start is None:
        return loc, _text(problems[0])
    own = [each for each in problems if each["loc"][:start] == loc[:start] != each["loc"]]
    first_of_forms = {each["loc"][start]: each for each in reversed(own)}

    def is_type(problem: ErrorDetails) -> bool:
        return problem["type"].endswith("_type")

    def nearness(problem: ErrorDetails) -> tuple[bool, int, list[int]]:
        parts = _path(problem)
        return not is_type(problem), len(parts), [each for each in parts if isinstance(each, int)]

    best = max(reversed(first_of_forms.values()), key=nearness)
    same = [
        _text(each) for each in own if (_path(each), is_type(each)) == (_path(best), is_type(best))
    ]
    return _path(best), ", or ".join(dict.fromkeys(same))


def _path(problem: ErrorDetails) -> tuple[int | str, ...]:
    return tuple(part for i, part in enumerate(problem["loc"]) if not _is_form(problem, i))


def _is_form(problem: ErrorDetails, i: int) -> bool:
    """Whether a part of a path is no key, but pydantic's name of one of several forms."""
    part, last = problem["loc"][i], i == len(problem["loc"]) - 1
    if not isinstance(part, str) or (last and problem["type"] == "extra_forbidden"):
        return False
    return FORM.fullmatch(part) is not None


def _text(problem: ErrorDetails) -> str:
    return problem["msg"][:1].lower() + problem["msg"][1:]


def refusal(error: Exception) -> Refused:
    """What a client is told of an error; a bug of ours is `internal`, without its text."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        if problems[0]["type"] == "json_invalid":
            return Refused(400, "malformed_json", problems[0]["msg"])
        where, message = _first_problem(problems)
        return Refused(422, "invalid_request", message, where=place(where))
    if isinstance(error, DataError):
        return Refused(422, "invalid_request", str(error))
    if isinstance(error, NonFiniteError):
        return Refused(500, "non_finite_score", str(error))
    if isinstance(error, WorldPMError):
        return Refused(500, "unscored", str(error))
    return Refused(500, "internal", "the server failed; its log has the reason by the request's id")


ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message", "where"],
            "additionalProperties": False,
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "where": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        }
    },
}
