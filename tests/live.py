"""A server on a real socket, in processes of its own, and raw requests to it.

    with live(seconds=0.1) as server: server.post("/v1/score", {...}); server.raw(b"GET / ...")

`python tests/live.py PORT SETTINGS` is such a server; its score is minus a reply's length, and at
each letter that of the text so far, two higher at a vowel; a reply "sleep" takes `seconds`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

HEAD = b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"items": [{"prompt": "a", "response": "bcd"}]}).encode()


def make_app(settings, seconds):
    """The app of such a server."""
    from worldpm.serve.app import create_app
    from worldpm.serve.dialects import ROUTES
    from worldpm.serve.models import ReplyTrace, plain_model

    def score(comparisons):
        replies = [[r[-1].content for r in c.replies] for c in comparisons]
        time.sleep(seconds * any("sleep" in row for row in replies))
        return [[-float(len(text)) for text in row] for row in replies]

    def trace(comparisons):
        score(comparisons)  # for the time that it takes
        for comparison in comparisons:
            yield [trace_of(reply[-1].content) for reply in comparison.replies]

    def trace_of(text):
        values = [-1.0 - i + 2 * (letter in "aeiou") for i, letter in enumerate(text)]
        return ReplyTrace((*text, "<|im_end|>"), (*values, -float(len(text))))

    model = replace(plain_model(score), trace=trace)
    return create_app({"model": model}, settings, ROUTES)


class Live:
    """A running server; `process` is its first process, the workers are its children."""

    def __init__(self, port, process, log):
        self.port, self.process, self.log = port, process, log

    def ask(self, path, body=None, headers=(), timeout=30):
        """(status, JSON or text) of one request."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", **dict(headers)}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except json.JSONDecodeError:
            return status, text.decode()

    def connect(self, sent=b"", timeout=20):
        """A socket to it, something sent."""
        found = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        found.sendall(sent)
        return found

    def raw(self, sent, timeout=20):
        """(what came back until the server closed, seconds it took)."""
        started = time.monotonic()
        with self.connect(sent, timeout) as found:
            parts = []
            while part := found.recv(65_536):
                parts.append(part)
        return b"".join(parts), time.monotonic() - started

    def workers(self):
        """The process ids of its workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self, number=signal.SIGTERM):
        """Tell it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def live(tmp_path, *, seconds=0.0, workers=1, **settings):
    """A server with these settings, ready."""
    port, log = free_port(), tmp_path / "log"
    values = json.dumps({"seconds": seconds, "workers": workers, "settings": settings})
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, __file__, str(port), values], stderr=file, stdout=file, cwd=tmp_path
        )
    server = Live(port, process, log)
    try:
        wait_ready(server, settings)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_ready(server, settings=(), seconds=150):
    """Until /ready says so."""
    key = dict(settings).get("keys", [""])[0]
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert server.process.poll() is None, server.log.read_text()
        try:
            if server.ask("/ready", headers={"authorization": f"Bearer {key}"})[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready: {server.log.read_text()}")


def main():
    """Serve until told to stop."""
    from worldpm.serve.run import run
    from worldpm.serve.settings import ServeSettings

    port, values = int(sys.argv[1]), json.loads(sys.argv[2])
    settings = ServeSettings(**values["settings"])
    make = partial(make_app, settings, values["seconds"])
    run(make, settings, port=port, workers=values["workers"])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
