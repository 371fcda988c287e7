"""The one shape in which the server says no, and the one place that makes it.

    raise Refused(404, "unknown_model", "no model 'x' is loaded", where="model")
    ->  404  {"error": {"type": "unknown_model", "message": "no model ...", "where": "model"}}

`where` is the place in the request ("items[3].messages[0].role", "header content-type"), or null.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from worldpm.errors import DataError, NonFiniteError, WorldPMError


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


def refusal(error: Exception) -> Refused:
    """What a client is told of an error; a bug of ours is `internal`, without its text."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if problem["type"] == "json_invalid":
            return Refused(400, "malformed_json", problem["msg"])
        message = problem["msg"][:1].lower() + problem["msg"][1:]
        return Refused(422, "invalid_request", message, where=place(problem["loc"]))
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
