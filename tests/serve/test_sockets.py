"""The server as it ships, on a socket of this machine: stalled clients, lies, signals, deaths."""

import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from live import BODY, HEAD, Live, free_port, live, make_app, wait_ready

from worldpm.serve.settings import ServeSettings

ITEM = {"items": [{"prompt": "a", "response": "bcd"}]}
SLOW = {"items": [{"prompt": "a", "response": "sleep"}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("live")
    with live(path, seconds=0.5, header_seconds=1, body_seconds=1, max_body_bytes=100_000) as found:
        yield found


def statuses(answer):
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]


def test_stalled_heads_and_bodies_are_closed(server):
    """40 half heads and 20 half bodies are all closed in their time, and meanwhile others are
    answered."""
    half_heads = [server.connect(HEAD) for _ in range(40)]
    half_bodies = [server.connect(HEAD + b"Content-Length: 50\r\n\r\n{") for _ in range(10)]
    half_bodies += [
        server.connect(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"ite\r\n")
        for _ in range(10)
    ]  # fmt: skip
    started = time.monotonic()
    assert server.ask("/v1/score", ITEM)[0] == 200
    assert time.monotonic() - started < 0.9
    for each in half_heads:
        assert each.recv(100) == b""
    for each in half_bodies:
        answer = b""
        while part := each.recv(4096):
            answer += part
        assert statuses(answer) == [408]
    assert time.monotonic() - started < 8


LIES = {
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 43\r\n\r\n" + BODY,
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\n" + BODY,
    "no head": b"\x16\x03\x01 hello\r\n\r\n",
    "a body over the limit, chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    + (b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 7,
    "a length over the limit": HEAD + b"Content-Length: 999999999\r\n\r\n{",
    "a broken chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY,
    "a head of 60 kB": HEAD + b"X-A: " + b"a" * 60_000 + b"\r\nContent-Length: 5\r\n\r\nxxxxx",
    "two hosts": HEAD + b"Host: evil.example\r\nContent-Length: 5\r\n\r\nxxxxx",
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused_and_closed(server, name):
    """Each is refused with 4xx (or closed without a word) and its connection closed; the server
    goes on."""
    answer, seconds = server.raw(LIES[name])
    assert all(400 <= status < 500 for status in statuses(answer)), answer
    assert seconds < 8
    assert server.ask("/v1/score", ITEM)[0] == 200


def test_a_short_length_is_not_a_second_request(server):
    """What follows a body by its Content-Length is not obeyed as the same request, nor scored."""
    answer, _ = server.raw(HEAD + b"Content-Length: 5\r\n\r\n" + BODY)
    assert set(statuses(answer)) == {400}


def test_connections_are_kept(server):
    """Two requests on one connection get two answers."""
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    closing = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    answer, _ = server.raw(one + closing)
    assert statuses(answer) == [200, 200]


def test_clients_that_leave_are_forgotten(server):
    """Requests whose connections close while they wait are dropped, and the metrics say so."""

    def dropped():
        text = server.ask("/metrics")[1]
        return float(re.search(r"^worldpm_dropped_comparisons (\S+)", text, re.MULTILINE)[1])

    before = dropped()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.ask, "/v1/score", SLOW)
        time.sleep(0.1)
        head = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY)
        gone = [server.connect(head + BODY) for _ in range(30)]
        time.sleep(0.1)
        for each in gone:
            each.close()
        assert running.result()[0] == 200
    ends = time.monotonic() + 5
    while dropped() < before + 29 and time.monotonic() < ends:
        time.sleep(0.05)
    assert dropped() >= before + 29


def test_sigterm_lets_accepted_requests_finish(tmp_path):
    """SIGTERM while eight requests are under way: all eight are answered, the exit code is 0."""
    with live(tmp_path, seconds=1.0) as server, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.ask, "/v1/score", SLOW) for _ in range(8)]
        time.sleep(0.4)
        assert server.stop() == 0
        assert [each.result()[0] for each in asked] == [200] * 8
    rows = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [row["status"] for row in rows if row["route"] == "/v1/score"] == [200] * 8


def test_a_killed_worker_is_started_anew(tmp_path):
    """With kill -9 of one of two workers, the other answers on and a new one comes."""
    with live(tmp_path, workers=2) as server:
        first = server.workers()
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        ends = time.monotonic() + 20
        while len(set(server.workers()) - set(first)) < 1 and time.monotonic() < ends:
            time.sleep(0.1)
        assert len(set(server.workers()) - set(first)) == 1
        wait_ready(server)
        assert server.ask("/v1/score", ITEM)[1]["data"][0]["score"] == -3.0
        assert server.stop() == 0


def test_a_worker_that_dies_again_at_once_ends_the_server(tmp_path):
    """A worker killed twice within seconds is taken for broken: exit code 1 and a word, not a
    silent server that nobody answers for."""
    with live(tmp_path) as server:
        (first,) = server.workers()
        os.kill(first, signal.SIGKILL)
        ends = time.monotonic() + 20
        while not set(server.workers()) - {first} and time.monotonic() < ends:
            time.sleep(0.01)
        os.kill((set(server.workers()) - {first}).pop(), signal.SIGKILL)
        assert server.process.wait(20) == 1
        assert "error: a worker died within seconds" in server.log.read_text()


def test_workers_end_with_their_parent(tmp_path):
    """With kill -9 of the first process its workers end too and the port is free for another."""
    with live(tmp_path) as server:
        (worker,) = server.workers()
        server.process.kill()
        server.process.wait(10)
        ends = time.monotonic() + 20
        while Path(f"/proc/{worker}").exists() and time.monotonic() < ends:
            time.sleep(0.05)
        with pytest.raises(OSError, match="refused"):
            server.ask("/health")


def test_overload_is_refused_and_what_is_taken_is_done(tmp_path):
    """Thirty clients with a queue for a few: 200 or 429 and nothing else, and those
    with 200 have the right score."""
    with live(tmp_path, seconds=0.05, max_queue_tokens=40, batch_tokens=20) as server:
        found, lock = [], threading.Lock()

        def client(number):
            for _ in range(5):
                status, answer = server.ask("/v1/score", SLOW)
                with lock:
                    found.append((status, answer))

        with ThreadPoolExecutor(30) as pool:
            list(pool.map(client, range(30)))
        assert {status for status, _ in found} == {200, 429}
        for status, answer in found:
            if status == 200:
                assert answer["data"][0]["score"] == -5.0
            else:
                assert answer["error"]["type"] == "overloaded"


def test_another_asgi_server_will_do():
    """The app answers the same under uvicorn, which is not the server it ships with."""
    uvicorn = pytest.importorskip("uvicorn")
    port = free_port()
    app = make_app(ServeSettings(), 0.0)
    other = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=other.run, daemon=True)
    thread.start()
    try:
        server = Live(port, SimpleNamespace(poll=lambda: None), None)
        wait_ready(server)
        assert server.ask("/v1/score", ITEM)[1]["data"][0]["score"] == -3.0
        assert server.ask("/v1/score", {"items": []})[1]["error"]["where"] == "items"
    finally:
        other.should_exit = True
        thread.join(30)
    assert not thread.is_alive()
