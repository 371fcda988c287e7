"""An app and an address -> a server that runs until it is told to stop.

    run(partial(make_app, model, settings), settings, "127.0.0.1", 8000, workers=1)

The server is granian: it closes connections whose headers do not come, which uvicorn does not; the
body's time is the app's own affair (`guard.py`). Every worker is a process that makes the app for
itself; one that dies is started anew, unless it does so within 5.5 s of its last start: then the
server ends with exit code 1, for what started it to decide. SIGTERM and SIGINT let accepted
requests finish.
"""

import ctypes
import ipaddress
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from worldpm.errors import ConfigError, WorldPMError
from worldpm.serve.guard import JsonLines
from worldpm.serve.settings import ServeSettings

PR_SET_PDEATHSIG = 1  # of linux/prctl.h
LEAST_BUFFER = 8192  # bytes that the server reads a request's head into; it refuses less


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_free(address: str, port: int) -> None:
    """ConfigError unless a server can listen there, and none does.

    The server's own sockets share their port (SO_REUSEPORT, for its workers): beside another server
    it would start without a word, and each would get some of the requests.
    """
    try:
        kind = ipaddress.ip_address(address).version
    except ValueError:
        raise ConfigError(
            f"--host {address}: is no IP address; write one of this machine's, or 0.0.0.0 for all"
        ) from None
    with socket.socket(socket.AF_INET if kind == 4 else socket.AF_INET6) as probe:
        if os.name == "posix":  # connections that were closed lately are no server
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ConfigError(
                f"{address}, port {port}: cannot be listened at: {error.strerror}; stop what "
                "listens there, or give another --port or --host"
            ) from None


def run(
    make_app: Callable[[], Any],
    settings: ServeSettings,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    workers: int = 1,
    quiet: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT; SystemExit (1) if the app cannot be made.

    `make_app` is called in every worker; `quiet` leaves the line for each request out of the log.
    `host` must be a loopback address if no key is set. Raises ConfigError for one that cannot be
    listened at, and for a port that has a server.
    """
    assert settings.keys or is_loopback(host), "a server without a key is for this machine alone"
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    check_free(address, port)
    server: Any = Granian(
        "worldpm",
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        websockets=False,
        http1_settings=HTTP1Settings(
            header_read_timeout=math.ceil(settings.header_seconds * 1000),
            max_buffer_size=max(LEAST_BUFFER, 2 * settings.max_header_bytes),
        ),
        backpressure=settings.max_requests,
        respawn_failed_workers=True,
        workers_kill_timeout=math.ceil(settings.drain_seconds + 5),
        log_enabled=False,
    )
    failed = multiprocessing.Event()  # a worker could not make its app; another would not either

    def stop_when_failed() -> None:
        failed.wait()
        server.signal_handler_interrupt()

    Thread(target=stop_when_failed, daemon=True).start()
    try:
        server.serve(target_loader=partial(_load, make_app, quiet, failed), wrap_loader=False)
    except SystemExit:
        if not failed.is_set():
            print("error: a worker died within seconds of being started anew; the server stops",
                  file=sys.stderr, flush=True)  # fmt: skip
        raise
    if failed.is_set():
        raise SystemExit(1)


def _load(make_app: Callable[[], Any], quiet: bool, failed: Any) -> Any:
    """In the worker: its log, its app."""
    # A forked worker has its parent's handlers, which would swallow a SIGTERM while it loads.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    _end_with_parent()
    set_up_log(logging.WARNING if quiet else logging.INFO)
    try:
        return make_app()
    except WorldPMError as error:
        if not failed.is_set():
            print(f"error: {error}", file=sys.stderr, flush=True)
        failed.set()
        time.sleep(60)  # until SIGTERM: a worker that ends by itself would be started anew
        raise


def set_up_log(level: int) -> None:
    """Our log as JSON lines on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    log = logging.getLogger("worldpm.serve")
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False


def _end_with_parent() -> None:
    """Have SIGTERM sent to this worker when its parent is killed; else it would hold the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
