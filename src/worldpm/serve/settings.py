"""Every limit of the server, with its default; `/info` lists them all.

settings = ServeSettings(max_items=64, keys=("secret",))
"""

from typing import Any

from pydantic import Field, field_validator

from worldpm.config import Settings


def _key(description: str, default: Any, **bounds: Any) -> Any:
    return Field(default=default, description=description, **bounds)


def is_key(text: str) -> bool:
    """Whether a header can hold this key; none is no key, though `Bearer` alone would match it."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


class ServeSettings(Settings):
    """What a server takes, and for how long; sizes and times are of one request where not said."""

    max_body_bytes: int = _key("bytes of a body", 2_000_000, ge=1)
    max_header_bytes: int = _key("bytes of all headers together", 32_768, ge=1024)
    max_depth: int = _key("levels of a body's JSON", 32, ge=2)
    max_items: int = _key("conversations to score", 512, ge=1)
    max_chars: int = _key("characters of one conversation", 65_536, ge=1)
    max_tokens: int | None = _key(
        "tokens of one conversation; the model's own if not given", None, ge=1
    )
    max_requests: int = _key("requests under way at once; more wait unread", 1024, ge=1)
    max_queue_tokens: int = _key("tokens that may wait, of all requests", 400_000, ge=1)
    refusal_seconds: float = _key(
        "time that a 429 is kept back, for clients that do not wait", 0.25, ge=0
    )
    batch_tokens: int = _key("tokens that are computed together", 4096, ge=1)
    gather_seconds: float = _key("longest wait for replies to share a batch with", 0.004, ge=0)
    body_seconds: float = _key("time that a body may take to arrive", 20.0, gt=0)
    header_seconds: float = _key(
        "time that headers may take to arrive, and that a connection may idle", 30.0, ge=1
    )
    request_seconds: float = _key("longest deadline of a request, and the default", 60.0, gt=0)
    drain_seconds: float = _key("time that accepted requests have after SIGTERM", 30.0, gt=0)
    hosts: tuple[str, ...] = _key(
        "names in Host that are answered, beside the loopback's, at any port or, as NAME:PORT, at"
        " one; * answers all",
        (),
    )
    origins: tuple[str, ...] = _key("origins of pages that may call, beside the server's own", ())
    keys: tuple[str, ...] = _key("keys, any of which opens the server", (), repr=False)

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(is_key, keys)):
            raise ValueError("a key must be printable ASCII without spaces, one character at least")
        return keys

    def limits(self) -> dict[str, Any]:
        """All that is not a secret, as `/info` shows it."""
        return self.model_dump(exclude={"keys"})
