"""A JSON body -> what servers that answer alike say to it, with bounded patience. Stdlib only.

    service = Service(["http://a:8000", "http://b:8000"], key="secret")
    service.ask("/v1/score", body, read_scores)        what `read_scores` makes of the answer

A connection that fails, a time that runs out, 408, 429, a 5xx, and an answer that `read` cannot use
are tried again, elsewhere first; anything else is the caller's fault and raised at once. What comes
back is a right answer or an exception, never a value made up. Safe in many threads.
"""

import http.client
import json
import math
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, LifoQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

from worldpm.errors import ConfigError, DataError, ServiceError

T = TypeVar("T")
MAX_ANSWER_BYTES = 64_000_000
LONGEST_PAUSE_SECONDS = 30.0  # whatever a Retry-After says
REST_SECONDS = 5.0  # for which a server that failed is asked last
RETRIED = frozenset({408, 429, 500, 502, 503, 504})


class _Failed(Exception):
    """An attempt that may be made again, after `pause` seconds at least if the server says so."""

    def __init__(
        self, reason: str, pause: float = 0.0, *, reached: bool = True, busy: bool = False
    ) -> None:
        super().__init__(reason)
        self.pause = pause
        self.reached = reached
        self.busy = busy


class Service:
    """One server, or several that answer alike.

    `rounds` is how often each is asked at most; between rounds stands a pause of `pause_seconds`,
    doubled every time, with half of it up to chance. `timeout_seconds` is of one attempt. Servers
    that only say that they are busy (429) are asked again for `patience_seconds`, whatever the
    rounds: a trainer that waits is better than one that stops.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        key: str | None = None,
        timeout_seconds: float = 60.0,
        rounds: int = 3,
        pause_seconds: float = 0.5,
        patience_seconds: float = 600.0,
        in_flight: int = 64,
    ) -> None:
        given = urls.split(",") if isinstance(urls, str) else urls
        self.urls = [url.strip().rstrip("/") for url in given if url.strip()]
        for url in self.urls:
            if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
                raise ConfigError(f"{url!r} is no address of a server; write http://HOST:PORT")
        if not self.urls or rounds < 1:
            raise ConfigError("a service needs an address, and one round at least")
        self.timeout_seconds = timeout_seconds
        self.rounds = rounds
        self.pause_seconds = pause_seconds
        self.patience_seconds = patience_seconds
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._slots = threading.BoundedSemaphore(in_flight)
        self._idle = self._no_connections()
        self._process = os.getpid()
        self._rests_until = dict.fromkeys(self.urls, 0.0)

    def ask(self, path: str, body: object, read: Callable[[Any], T], *, first: int = 0) -> T:
        """What `read` makes of the answer; it raises ValueError for one that is not whole.

        Server number `first` (modulo their count) is asked first. Raises DataError where a server
        refuses the request, and ServiceError when all rounds are over.
        """
        try:
            content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            raise DataError("a text holds a lone surrogate, which is no text; repair it") from None
        headers = self._headers | {"x-request-id": secrets.token_hex(8),
                                   "x-deadline-seconds": f"{self.timeout_seconds:g}"}  # fmt: skip
        failures: list[str] = []
        reached = False
        rounds, patient_until = 0, time.monotonic() + self.patience_seconds
        while True:
            wanted, busy = 0.0, True
            for url in self._order(first):
                try:
                    with self._slots:
                        return read(self._attempt(url, path, content, headers))
                except (_Failed, ValueError) as error:
                    failures.append(f"{url}: {error}")
                    wanted = max(wanted, getattr(error, "pause", 0.0))
                    reached |= getattr(error, "reached", True)
                    busy &= getattr(error, "busy", False)
            rounds += not (busy and time.monotonic() < patient_until)
            if rounds >= self.rounds:
                break
            pause = self.pause_seconds * 2 ** max(0, rounds - 1) * random.uniform(0.5, 1.0)
            time.sleep(min(max(pause, wanted), LONGEST_PAUSE_SECONDS))
        raise ServiceError(
            f"no answer after {len(failures)} attempts; the last: {failures[-1]}; see whether the "
            "server runs and how much it has to do",
            reached=reached,
        )

    def _order(self, first: int) -> list[str]:
        start = first % len(self.urls)
        order = self.urls[start:] + self.urls[:start]
        now = time.monotonic()
        return sorted(order, key=lambda url: self._rests_until[url] > now)

    def _attempt(self, url: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        ends = time.monotonic() + self.timeout_seconds
        try:
            connection, status, answer, after = self._send(url, path, body, headers, ends)
        except (OSError, http.client.HTTPException) as error:
            self._rests_until[url] = time.monotonic() + REST_SECONDS
            text = f"{type(error).__name__}: {error}".rstrip(": ")
            raise _Failed(text, reached=False) from None
        self._idle[url].put(connection)
        if status in RETRIED:
            if status >= 500:
                self._rests_until[url] = time.monotonic() + REST_SECONDS
            raise _Failed(f"{status} {_message(answer)}", after, busy=status == 429)
        if not 200 <= status < 300:
            raise DataError(f"{url}{path}: {status} {_message(answer)}")
        return json.loads(answer)  # JSONDecodeError is a ValueError

    def _send(
        self, url: str, path: str, body: bytes, headers: dict[str, str], ends: float
    ) -> tuple[http.client.HTTPConnection, int, bytes, float]:
        """(the connection, to use again, status, body, seconds of Retry-After)."""
        target = urlsplit(url).path + path
        while True:
            connection, used = self._connection(url)
            try:
                connection.timeout = _left(ends)
                if connection.sock is not None:
                    connection.sock.settimeout(connection.timeout)
                connection.request("POST", target, body, headers)
                response = connection.getresponse()
                answer = _read(response, connection, ends)
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()
                if not used:
                    raise
                continue  # the server had closed it while it was idle, which says nothing
            except BaseException:
                connection.close()
                raise
            if (
                response.headers.get("x-request-id", headers["x-request-id"])
                != (headers["x-request-id"])
            ):
                connection.close()
                raise http.client.HTTPException("the answer is that of another request")
            return connection, response.status, answer, _after(response.headers.get("retry-after"))

    def _no_connections(self) -> "dict[str, LifoQueue[http.client.HTTPConnection]]":
        return {url: LifoQueue() for url in self.urls}

    def _connection(self, url: str) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        if self._process != os.getpid():  # forked: the parent goes on with those that it has
            self._idle, self._process = self._no_connections(), os.getpid()
        try:
            return self._idle[url].get_nowait(), True
        except Empty:
            parts = urlsplit(url)
            secure = parts.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            assert parts.hostname is not None
            return kind(parts.hostname, parts.port, timeout=self.timeout_seconds), False


def finite(found: object, count: int) -> list[float]:
    """`found` as the `count` finite numbers that it must be; ValueError if it is not."""
    if not isinstance(found, list) or len(found) != count:
        raise ValueError(f"not the {count} scores that were asked for")
    for value in found:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ValueError(f"{value!r} is no score")
    return [float(value) for value in found]


def _read(
    response: http.client.HTTPResponse, connection: http.client.HTTPConnection, ends: float
) -> bytes:
    """The whole body, within the time that is left; what comes in drops must not last for ever."""
    parts, size = [], 0
    while part := response.read1(65_536):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"an answer of over {MAX_ANSWER_BYTES:,} bytes")
        if connection.sock is not None:
            connection.sock.settimeout(_left(ends))
    expected = response.length
    if expected:  # read1 does not mind when a body ends early
        raise http.client.IncompleteRead(b"", expected)
    response.close()  # else the connection takes it for unread
    return b"".join(parts)


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _after(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0.0))
    except ValueError:  # a date
        return 0.0


def _message(answer: bytes) -> str:
    """What a server says of its refusal, in one line."""
    try:
        said = json.loads(answer)
    except ValueError:
        said = answer.decode("utf-8", "replace")
    if isinstance(said, dict):
        said = said.get("error", said.get("detail", said))
    if isinstance(said, dict):
        where = said.get("where")
        said = f"{where + ': ' if isinstance(where, str) else ''}{said.get('message', said)}"
    return " ".join(str(said).split())[:300]
