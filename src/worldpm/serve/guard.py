"""What stands before the app: who may ask, and how much a request may be.

    app.add_middleware(Guard, settings=settings)

Plain ASGI. Checks the key, Host, Origin, content type and sizes before a byte of the body is read,
counts the body as it comes (a Content-Length may lie) against its limit and its time, gives every
request an id, writes one line of log for it, and turns every error into the one shape. A request is
refused without its key whatever its path; `PUBLIC` alone is open.
"""

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from worldpm.serve.errors import Refused, refusal
from worldpm.serve.settings import ServeSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PUBLIC = frozenset({"/health", "/"})  # "/" is the page: no secret, the same for everybody
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LOG = logging.getLogger("worldpm.serve")


class Guard:
    """The ASGI middleware; `on_request(route, status, seconds)` hears of every request's end."""

    def __init__(
        self,
        app: App,
        settings: ServeSettings,
        on_request: Callable[[str, int, float], None] = lambda route, status, seconds: None,
    ) -> None:
        self.app = app
        self.settings = settings
        self.on_request = on_request
        self._keys = [key.encode() for key in settings.keys]
        self._hosts = LOOPBACK | {host.lower() for host in settings.hosts}
        self._any_host = "*" in settings.hosts or (bool(self._keys) and not settings.hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a websocket: the server closes what is not answered
        started = time.perf_counter()
        headers = _joined(scope["headers"])
        own_id = headers.get("x-request-id", "")
        request_id = own_id if REQUEST_ID.fullmatch(own_id) else secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        origin = self._allowed_origin(headers)
        status: int | None = None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = {"x-request-id": request_id, "x-content-type-options": "nosniff",
                         "cache-control": "no-store"}  # fmt: skip
                if origin is not None:
                    extra |= {"access-control-allow-origin": origin, "vary": "origin"}
                given = {name.lower() for name, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()),
                    *(
                        (k.encode(), v.encode())
                        for k, v in extra.items()
                        if k.encode() not in given
                    ),
                ]
            await send(message)

        try:
            if scope["method"] == "OPTIONS" and origin is not None:
                await _preflight(answer)
                return
            self._check(scope, headers)
            await self.app(scope, self._limited(headers, receive), answer)
        except Exception as error:
            refused = refusal(error)
            state["refused"] = refused.kind
            if refused.kind == "internal":
                LOG.error("failed", exc_info=error, extra={"fields": {"id": request_id}})
            # Its traceback holds this frame, and with it the body's reader, which keeps a stalled
            # client's connection open until the garbage collector comes: one in five stayed.
            error.__traceback__ = error.__context__ = refused.__traceback__ = None
            if status is None:
                await send_refusal(refused, answer)
        finally:
            seconds = time.perf_counter() - started
            route = state.get("route", "other")
            self.on_request(route, status or 499, seconds)
            fields = {"id": request_id, "method": scope["method"], "route": route,
                      "status": status or 499, "seconds": round(seconds, 6),
                      "items": state.get("items"), "tokens": state.get("tokens"),
                      "refused": state.get("refused")}  # fmt: skip
            LOG.info("request", extra={"fields": fields})

    def _check(self, scope: Message, headers: Mapping[str, str]) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size + len(scope.get("raw_path") or b"") > self.settings.max_header_bytes:
            raise Refused(431, "header_too_large", f"headers of {size:,} bytes; the limit is "
                          f"{self.settings.max_header_bytes:,} (max_header_bytes)")  # fmt: skip
        self._check_host(headers)
        if "origin" in headers and self._allowed_origin(headers) is None:
            # https too: a proxy with TLS before us passes Host on, and its page's origin has the
            # proxy's scheme. No page of http passes for it, since the browser writes the scheme;
            # and for one of https that is not ours, OPTIONS above stays unanswered.
            schemes = {scope.get("scheme", "http"), "https"}
            host = headers.get("host", "").lower()
            if headers["origin"].lower() not in {f"{scheme}://{host}" for scheme in schemes}:
                raise Refused(403, "forbidden_origin", "pages of this origin may not call; allow "
                              "it with the setting origins", where="header origin")  # fmt: skip
        if self._keys and scope["path"] not in PUBLIC:
            self._check_key(headers.get("authorization", ""))
        if scope["method"] == "POST":
            self._check_body_headers(headers)

    def _check_host(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "").lower()
        name = re.sub(r":\d*$", "", host)
        if self._any_host or name in self._hosts or host in self._hosts:
            return
        raise Refused(403, "forbidden_host", "this name of the server is not allowed; allow it "
                      "with the setting hosts", where="header host")  # fmt: skip

    def _allowed_origin(self, headers: Mapping[str, str]) -> str | None:
        origin = headers.get("origin")
        return origin if origin in self.settings.origins else None

    def _check_key(self, given: str) -> None:
        scheme, _, key = given.partition(" ")
        found = False
        for own in self._keys:  # all of them, so that the time does not tell which was near
            found |= hmac.compare_digest(own, key.strip().encode("utf-8", "replace"))
        if not found or scheme.lower() != "bearer":
            raise Refused(401, "unauthorized", "give the server's key as 'Authorization: Bearer "
                          "KEY'", where="header authorization",
                          headers={"www-authenticate": "Bearer"})  # fmt: skip

    def _check_body_headers(self, headers: Mapping[str, str]) -> None:
        kind, _, parameters = headers.get("content-type", "").partition(";")
        charset = parameters.replace(" ", "").replace('"', "").lower()
        if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
            raise Refused(415, "unsupported_media_type", "the body must be application/json in "
                          "UTF-8", where="header content-type")  # fmt: skip
        if headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise Refused(415, "unsupported_media_type", "the body must not be compressed",
                          where="header content-encoding")  # fmt: skip
        length = headers.get("content-length", "0")
        if not re.fullmatch(r"\d{1,15}", length, re.ASCII):
            raise Refused(400, "malformed_request", "Content-Length must be one number",
                          where="header content-length")  # fmt: skip
        if int(length) > self.settings.max_body_bytes:
            raise self._too_large()

    def _limited(self, headers: Mapping[str, str], receive: Receive) -> Receive:
        """`receive` that refuses a body that is too large, too slow, or longer than it said."""
        length = headers.get("content-length")
        received, complete = 0, False
        ends = time.monotonic() + self.settings.body_seconds

        async def limited() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()  # the client's leaving
            try:
                async with asyncio.timeout(ends - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise Refused(408, "request_timeout", f"the body took longer than "
                              f"{self.settings.body_seconds:g} s (body_seconds)", where="body",
                              headers={"connection": "close"}) from None  # fmt: skip
            if message["type"] == "http.disconnect":
                raise Refused(400, "malformed_request", "the body broke off", where="body",
                              headers={"connection": "close"})  # fmt: skip
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self.settings.max_body_bytes:
                raise self._too_large()
            if length is not None and received > int(length):
                raise Refused(400, "malformed_request", "the body is longer than its "
                              "Content-Length", where="body")  # fmt: skip
            return message

        return limited

    def _too_large(self) -> Refused:
        return Refused(413, "too_large", f"the body is over {self.settings.max_body_bytes:,} bytes "
                       "(max_body_bytes); send it in parts", where="body",
                       headers={"connection": "close"})  # fmt: skip


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their lower names; what is given twice is joined, so it equals nothing allowed."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def send_refusal(refused: Refused, send: Send) -> None:
    """Send the error as a response."""
    body = refused.body()
    headers = {"content-type": "application/json", "content-length": str(len(body)),
               **refused.headers}  # fmt: skip
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _preflight(send: Send) -> None:
    headers = [(b"access-control-allow-methods", b"GET, POST"), (b"access-control-max-age", b"600"),
               (b"access-control-allow-headers", b"authorization, content-type")]  # fmt: skip
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


class JsonLines(logging.Formatter):
    """Log records as one JSON object a line; text of requests is in none of them."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        row: dict[str, Any] = {"time": round(record.created, 3), "level": record.levelname.lower(),
                               "event": record.getMessage(),
                               **getattr(record, "fields", {})}  # fmt: skip
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(row).decode()
