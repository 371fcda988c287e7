"""The server under load, beside the offline scorer and the obvious server, in one run.

    python benchmarks/serve.py [--data COMPARISONS] [--model M] [--seconds 40] -o OUT.json

COMPARISONS is what `worldpm score` reads; without it, ragged prompts of made-up words. Every reply
is a request of its own and the replies to one prompt follow each other, as trainers send them; 64
clients keep a request each under way. A rate counts whole conversations, as if nothing were shared.
The parts of a round run one after another, and the ratio is that of the round, so that what else
the machine does hits all alike. The work is what the scorer does in --seconds; each part stops by
itself, the server's after three times as long. The whole takes (5 rounds + 3) x --seconds at most.
"""

import argparse
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from worldpm.model.hub import locate
from worldpm.records import Comparison, Message
from worldpm.rows import read_comparisons
from worldpm.score import Scorer, load

CLIENTS = 64
MAX_TOKENS = 2048  # longer conversations are left out
K = 8
GOALS = {"goodput_of_offline": (">=", 0.85), "added_latency_ms": ("<=", 5.0),
         "eight_requests_of_one": ("<=", 1.3), "goodput_of_obvious": (">=", 2.5)}  # fmt: skip
WORDS = ("a", "of", "the", "cat", "hill", "rain", "boat", "green", "river", "yesterday")


@dataclass(frozen=True)
class Request:
    """One reply to one prompt, and the tokens of the conversation."""

    comparison: Comparison
    num_tokens: int

    @property
    def body(self) -> bytes:
        """What is sent."""
        prompt = self.comparison.prompt[-1].content
        items = [{"prompt": prompt, "response": r[-1].content} for r in self.comparison.replies]
        return orjson.dumps({"items": items})


def made_up(count: int, seed: int = 0) -> Iterator[Comparison]:
    """Prompts of 5 to 300 words with 2 to 8 replies of 10 to 500, most of them short."""
    draw = random.Random(seed)

    def words(low: int, high: int) -> str:
        n = int(low * (high / low) ** draw.random())
        return " ".join(draw.choice(WORDS) for _ in range(n))

    for i in range(count):
        replies = tuple((Message("assistant", words(10, 500)),) for _ in range(draw.randint(2, K)))
        yield Comparison(str(i), "made-up", None, (Message("user", words(5, 300)),), replies)


def singles(scorer: Scorer, comparisons: Sequence[Comparison]) -> list[Request]:
    """A request for each reply, those of a prompt after one another."""
    found = []
    for comparison in comparisons:
        if len(comparison.prompt) != 1 or any(len(reply) != 1 for reply in comparison.replies):
            continue  # the obvious server takes one question and one answer
        lengths = [len(ids) for ids in scorer.encoder.encode_replies(comparison)]
        for reply, num_tokens in zip(comparison.replies, lengths, strict=True):
            if num_tokens <= min(MAX_TOKENS, scorer.max_tokens):
                own = Comparison(comparison.id, "bench", None, comparison.prompt, (reply,))
                found.append(Request(own, num_tokens))
    return found


def grouped(requests: Sequence[Request]) -> list[Comparison]:
    """Neighbouring requests of one prompt as one comparison again, for the offline scorer."""
    groups: list[list[Comparison]] = []
    for each in requests:
        if groups and groups[-1][0].prompt == each.comparison.prompt:
            groups[-1].append(each.comparison)
        else:
            groups.append([each.comparison])
    return [
        Comparison(g[0].id, "bench", None, g[0].prompt, tuple(c.replies[0] for c in g))
        for g in groups
    ]


class Client:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1200)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def score(self, body: bytes) -> list[float]:
        """The scores of one request."""
        self.connection.request("POST", "/v1/score", body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {text[:200]!r}")
        return [each["score"] for each in orjson.loads(text)["data"]]


def under_load(port: int, requests: Sequence[Request], clients: int, seconds: float) -> float:
    """Tokens a second of `clients` that share out the requests, until done or time is up."""
    left, lock, done = iter(requests), threading.Lock(), [0]
    started = time.perf_counter()
    ended = [started]

    def client() -> None:
        own = Client(port)
        while time.perf_counter() - started < seconds:
            with lock:
                request = next(left, None)
            if request is None:
                return
            own.score(request.body)
            now = time.perf_counter()
            with lock:
                if now - started < seconds or not done[0]:
                    done[0] += request.num_tokens
                    ended[0] = now

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done[0] / (ended[0] - started)


def offline(scorer: Scorer, requests: Sequence[Request]) -> float:
    """Tokens a second of the scorer over the same conversations."""
    started = time.perf_counter()
    scorer.score(grouped(requests))
    return sum(each.num_tokens for each in requests) / (time.perf_counter() - started)


def added_latency(scorer: Scorer, port: int, requests: Sequence[Request], seconds: float) -> float:
    """Median of (one request over HTTP less the same scored in this process), in ms, in turns."""
    client, added = Client(port), list[float]()
    started = time.perf_counter()
    for each in requests:
        began = time.perf_counter()
        scorer.score([each.comparison])
        between = time.perf_counter()
        client.score(each.body)
        added.append(1000 * (time.perf_counter() - between - (between - began)))
        if time.perf_counter() - started > seconds:
            break
    return median(added)


def eight_of_one(port: int, comparisons: Sequence[Comparison], seconds: float) -> float:
    """Median ratio of eight requests at the same time to one request for all eight, in turns."""
    clients = [Client(port) for _ in range(K)]
    ratios = []
    started = time.perf_counter()
    for comparison in comparisons:
        whole = Request(comparison, 0).body
        parts = [
            Request(Comparison("k", "bench", None, comparison.prompt, (reply,)), 0).body
            for reply in comparison.replies
        ]
        threads = [
            threading.Thread(target=client.score, args=(part,))
            for client, part in zip(clients, parts, strict=True)
        ]
        began = time.perf_counter()
        clients[0].score(whole)
        between = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ratios.append((time.perf_counter() - between) / (between - began))
        if time.perf_counter() - started > seconds:
            break
    return median(ratios)


@contextmanager
def running(command: Sequence[str], port: int, seconds: float = 180.0) -> Iterator[int]:
    """A server of its own process, ready; it is told to stop at the end."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + seconds
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/ready")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"{' '.join(command[:4])}: did not start")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def measure(
    model: str | None, comparisons: Sequence[Comparison], rounds: int, seconds: float, threads: int
) -> dict[str, Any]:
    """All figures; every round has its own ratios."""
    scorer = load(model, dtype="float32", threads=threads)
    folder = str(locate(model).folder)
    requests = singles(scorer, comparisons)
    rate = offline(scorer, requests[:100])
    wanted, count = rate * seconds, 0
    while count < len(requests) and wanted > 0:
        wanted -= requests[count].num_tokens
        count += 1
    chosen = requests[: max(count, 2 * CLIENTS)]
    eights = [c for c in grouped(requests) if len(c.replies) == K]
    ours, plain = free_port(), free_port()
    command = [sys.executable, "-m", "worldpm", "serve", "-q", "--port", str(ours),
               "--model", folder, "--dtype", "float32", "--threads", str(threads),
               "--set", "request_seconds=600"]  # fmt: skip
    obvious = str(Path(__file__).with_name("obvious_server.py"))
    plain_command = [sys.executable, obvious, folder, str(plain), str(threads)]
    found: list[dict[str, float]] = []
    with running(command, ours), running(plain_command, plain):
        print(f"{len(chosen)} requests; both servers are ready", file=sys.stderr, flush=True)
        latency = added_latency(scorer, ours, chosen[::7], seconds)
        ratio = eight_of_one(ours, eights, seconds)
        print(f"added {latency:.2f} ms; eight of one {ratio:.2f}", file=sys.stderr, flush=True)
        for number in range(rounds):
            row = {
                "offline": offline(scorer, chosen),
                "server": under_load(ours, chosen, CLIENTS, 3 * seconds),
                "obvious": under_load(plain, chosen, CLIENTS, seconds),
            }
            found.append(row)
            print(f"round {number + 1}: {row}", file=sys.stderr, flush=True)
    figures = {
        "goodput_of_offline": median(row["server"] / row["offline"] for row in found),
        "goodput_of_obvious": median(row["server"] / row["obvious"] for row in found),
        "added_latency_ms": latency,
        "eight_requests_of_one": ratio,
    }
    met = {
        name: figures[name] >= goal if sign == ">=" else figures[name] <= goal
        for name, (sign, goal) in GOALS.items()
    }
    return {
        "model": scorer.name, "engine": scorer.describe(), "clients": CLIENTS,
        "requests": len(chosen), "tokens": sum(each.num_tokens for each in chosen),
        "tokens_per_second": found, **figures, "met": met,
        "load_average": os.getloadavg()[0],
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="what `worldpm score` reads")
    parser.add_argument("--model", help="a checkpoint folder; the embedded default if not given")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each part")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with us
    comparisons = list(made_up(600) if chosen.data is None else read_comparisons(chosen.data))
    random.Random(0).shuffle(comparisons)
    found = measure(chosen.model, comparisons, chosen.rounds, chosen.seconds, chosen.threads)
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    if chosen.out is not None:
        chosen.out.write_bytes(text)
    print(text.decode())
    for name, (sign, goal) in GOALS.items():
        state = "met" if found["met"][name] else "missed"
        print(f"{name}: {found[name]:.3f} ({sign} {goal}) {state}", file=sys.stderr)


if __name__ == "__main__":
    main()
