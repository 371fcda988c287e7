"""The server under a steady load for minutes: it answers all, and neither grows nor slows down.

WORLDPM_SOAK_MINUTES=30 python -m pytest tests/serve/test_soak.py -s
"""

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import accumulate, combinations
from pathlib import Path

import pytest
from live import live

MINUTES = float(os.environ.get("WORLDPM_SOAK_MINUTES", "5"))  # after a warm-up of one
WARM_UP, WINDOW = 60, 10  # seconds
CLIENTS, PER_CONNECTION = 32, 50
LOAD = 0.7
BATCH = 0.02  # seconds that the score function takes for a batch, whatever is in it
# A process beside the server that waits and computes as the score function and its batch do: how
# long that takes says what the machine does to anybody.
PACER = f"""
import time
while True:
    started = time.monotonic()
    time.sleep({BATCH})
    sum(range(50_000))
    print(started, time.monotonic() - started, flush=True)
"""


def ask(connection, number):
    """Whether one request, whose prompt no other has, gets its right answer; each tenth is traced.

    A reply "sleep" is what the score function takes its time for.
    """
    if number % 10:
        path, body = "/v1/score", {"items": [{"prompt": f"{number:08}", "response": "sleep"}]}
    else:
        path = "/v1/compare"
        body = {"prompt": f"{number:08}", "responses": ["sleep", "x"], "trace": True}
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        return False
    if number % 10:
        return answer["data"][0]["score"] == -5.0
    return answer["scores"] == [-5.0, -1.0] and answer["traces"][0]["scores"][-1] == -5.0


def drive(server, arrivals):
    """(due, seconds, right) of a request at each of `arrivals`, in seconds from now.

    They come when they are due, whatever became of those before them, and their time counts from
    then: a server that stalls is not spared what would have come meanwhile. Connections are kept
    for some requests and then made anew.
    """
    started = time.monotonic() + 0.1

    def client(number):
        found, connection = [], None
        for count, i in enumerate(range(number, len(arrivals), CLIENTS)):
            due = started + arrivals[i]
            time.sleep(max(0.0, due - time.monotonic()))
            if connection is None or count % PER_CONNECTION == number:
                if connection is not None:
                    connection.close()
                connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
            try:
                right = ask(connection, i)
            except (OSError, HTTPException, ValueError):
                right, connection = False, None
            found.append((due, time.monotonic() - due, right))
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [row for rows in pool.map(client, range(CLIENTS)) for row in rows]


@contextmanager
def watched(pid):
    """A list that gets (time, resident MB, open files) of a process every two seconds."""
    found, done = [], threading.Event()

    def watch():
        while not done.wait(2):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            megabytes = pages * os.sysconf("SC_PAGESIZE") / 1e6
            found.append((time.monotonic(), megabytes, len(os.listdir(f"/proc/{pid}/fd"))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


@contextmanager
def pacer(path):
    """A function that gives the pacer's (time, seconds) so far."""
    with path.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", PACER], stdout=file)
    try:
        yield lambda: [tuple(map(float, line.split())) for line in path.read_text().splitlines()]
    finally:
        process.kill()
        process.wait()


def slope(points):
    """The median slope of all pairs (Theil and Sen): a few odd points do not move it."""
    return statistics.median((b - a) / (t - s) for (s, a), (t, b) in combinations(points, 2))


def usual_p99(rows, begins, ends):
    """The median, over windows of ten seconds, of the p99 of (time, seconds) in each.

    A disturbance that is over in a few windows does not move it, a server that slows down does.
    """
    found = []
    for start in range(int((ends - begins) / WINDOW)):
        low = begins + start * WINDOW
        inside = [seconds for at, seconds in rows if low <= at < low + WINDOW]
        found.append(statistics.quantiles(inside, n=100)[98])
    return statistics.median(found)


@pytest.mark.slow
@pytest.mark.timeout(int(60 * MINUTES) + 300)
def test_a_steady_load_changes_nothing(tmp_path):
    """At 70 % of what it can do, every answer is right; after the first minute memory grows by at
    most 1 MB a minute, open files not at all, and p99 by at most 20 % from the first third to the
    last, or what the machine did meanwhile to a process beside the server."""
    with live(tmp_path, seconds=BATCH, batch_tokens=52) as server, pacer(tmp_path / "pace") as pace:
        (worker,) = server.workers()
        number, started = 1500, time.monotonic()
        assert all(right for _, _, right in drive(server, [0.0] * number))
        capacity = number / (time.monotonic() - started)
        rate, draw = LOAD * capacity, random.Random(0)
        count = int(rate * (WARM_UP + 60 * MINUTES))
        arrivals = list(accumulate(draw.expovariate(rate) for _ in range(count)))
        begins = time.monotonic() + WARM_UP
        with watched(worker) as samples:
            rows = drive(server, arrivals)
        ends = begins + arrivals[-1] - WARM_UP
        paces = pace()
    third = (ends - begins) / 3
    requests = [(due, seconds) for due, seconds, _ in rows]
    first, last = (usual_p99(requests, at, at + third) for at in (begins, ends - third))
    own = [usual_p99(paces, at, at + third) for at in (begins, ends - third)]
    samples = [row for row in samples if begins <= row[0] < ends]
    growth = 60 * slope([(at, megabytes) for at, megabytes, _ in samples])
    files = [row[2] for row in samples]
    early, late = (statistics.median(part) for part in (files[: len(files) // 3],
                                                        files[-len(files) // 3 :]))  # fmt: skip
    wrong = sum(not right for _, _, right in rows)
    print(f"capacity {capacity:.0f}/s; {len(rows):,} requests at {rate:.0f}/s, {wrong} wrong;"
          f" memory {samples[0][1]:.1f} -> {samples[-1][1]:.1f} MB, {growth:+.3f} MB/min; open"
          f" files {early:.0f} -> {late:.0f}, {min(files)} to {max(files)}; p99"
          f" {first * 1000:.1f} -> {last * 1000:.1f} ms ({last / first - 1:+.1%}), the pacer's"
          f" {own[0] * 1000:.1f} -> {own[1] * 1000:.1f} ms"
          f" ({own[1] / own[0] - 1:+.1%})")  # fmt: skip
    assert wrong == 0
    assert growth <= 1
    assert late <= early + 1
    assert max(files) <= early + CLIENTS / 4  # a few that are closing
    assert last / first <= 1.2 * max(1.0, own[1] / own[0])


def test_the_measures_see_what_they_are_for():
    """A leak of 2 MB a minute beside odd points, a slow third and a burst, as the soak judges."""
    leak = [(t, 60 + 2 * t / 60 + (30 if t % 50 == 0 else 0)) for t in range(0, 300, 2)]
    assert 60 * slope(leak) == pytest.approx(2, abs=0.05)
    rows = [(t / 100, 0.02 + 0.01 * (t / 100 >= 200)) for t in range(30_000)]
    assert usual_p99(rows, 200, 300) / usual_p99(rows, 0, 100) == pytest.approx(1.5)
    burst = [(at, 9.0 if 210 <= at < 230 else 0.02) for at, _ in rows]
    assert usual_p99(burst, 200, 300) == pytest.approx(0.02)
