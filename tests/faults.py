"""A server on the loopback that answers /v1/compare rightly, or fails in a way that is asked of it.

with faulty(lambda: "reset") as (url, seen): ...     seen counts calls, and the most at once
"""

import json
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def right(body):
    """The scores of a request: minus the length of each response, in eighths."""
    return [-sum(len(t["content"]) for t in each) / 8 for each in body["responses"]]


class Seen(Counter):
    """Calls by the fault they met, and `most`, how many were under way at once."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.requests = []


@contextmanager
def faulty(choose, *, stall_seconds=1.0, answer=None):
    """(address, what was seen) of a server; `choose()` names the fault of each call, None for none.

    `answer(path, body, headers)` gives the JSON of a good answer, or its status and JSON.
    """
    seen = Seen()
    give = answer or (lambda path, body, headers: {"scores": right(body)})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            fault = choose()
            with seen.lock:
                seen[fault[0] if isinstance(fault, tuple) else fault] += 1
                seen.now += 1
                seen.most = max(seen.most, seen.now)
                seen.requests.append((self.path, body, dict(self.headers)))
            try:
                self.meet(fault, body)
            except (BrokenPipeError, ConnectionResetError):  # the client's patience was over
                self.close_connection = True
            finally:
                with seen.lock:
                    seen.now -= 1

        def meet(self, fault, body):
            given = give(self.path, body, self.headers)
            status, said = given if isinstance(given, tuple) else (200, given)
            content = json.dumps(said).encode()
            if fault == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
            elif fault == "stall":
                time.sleep(stall_seconds)
                self.close_connection = True
            elif fault == "drip":
                self.head(200, 10_000)
                for _ in range(100):
                    self.wfile.write(b" ")
                    time.sleep(stall_seconds / 20)
            elif fault == "truncated":
                self.reply(200, content[: len(content) // 2])
            elif fault == "short body":
                self.head(200, len(content) + 7)
                self.wfile.write(content)
                self.close_connection = True
            elif fault == "wrong length":
                self.reply(200, json.dumps({"scores": [0.0] * 99}).encode())
            elif fault == "nan":
                self.reply(200, b'{"scores": [NaN]}')
            elif fault == "null":
                self.reply(200, b'{"scores": [null]}')
            elif fault == "other":
                self.reply(200, content, {"x-request-id": "of-another"})
            elif isinstance(fault, tuple):
                self.reply(fault[0], b'{"error": {"message": "no", "where": "x"}}', fault[1])
            else:
                self.reply(status, content)

        def head(self, status, size, headers=None):
            self.send_response(status)
            self.send_header("content-length", str(size))
            given = {"x-request-id": self.headers.get("x-request-id")} | (headers or {})
            for name, value in given.items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()

        def reply(self, status, content, headers=None):
            self.head(status, len(content), headers)
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
