"""A call gives a right answer or an exception, in bounded time, whatever a server does."""

import os
import time

import pytest
from faults import faulty, right

from worldpm.calls import Service
from worldpm.errors import ConfigError, DataError, ServiceError

BODY = {"responses": [[{"content": "Because."}]]}
QUICK = {"timeout_seconds": 0.3, "pause_seconds": 0.01, "patience_seconds": 0}


def read(answer):
    """The scores, if they are as many as were asked for."""
    if len(answer["scores"]) != 1:
        raise ValueError("wrong length")
    return [0.0 + value for value in answer["scores"]]


def in_turn(*faults):
    """Each fault once, then none."""
    left = list(faults)
    return lambda: left.pop(0) if left else None


def name(fault):
    """What a fault is counted by."""
    return fault[0] if isinstance(fault, tuple) else fault


RETRIED = [
    "reset", "stall", "drip", "truncated", "short body", "wrong length", "other",
    (503, {}), (429, {"retry-after": "0"}), (500, {}), (408, {}), (502, {}), (504, {}),
]  # fmt: skip


@pytest.mark.parametrize("fault", RETRIED, ids=str)
def test_passing_faults_are_tried_again(fault):
    """A fault that passes is met with another attempt, whose answer is the right one."""
    with faulty(in_turn(fault), stall_seconds=0.6) as (url, seen):
        assert Service(url, **QUICK).ask("/p", BODY, read) == [-1.0]
        assert seen == {name(fault): 1, None: 1}


@pytest.mark.parametrize("fault", RETRIED, ids=str)
def test_lasting_faults_raise(fault):
    """A fault that lasts is an exception after as many attempts as rounds, and soon."""
    with faulty(lambda: fault, stall_seconds=0.6) as (url, seen):
        started = time.monotonic()
        with pytest.raises(ServiceError, match="after 2 attempts"):
            Service(url, rounds=2, **QUICK).ask("/p", BODY, read)
        assert seen == {name(fault): 2}
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 307])
def test_refusals_are_not_tried_again(status):
    """What a server refuses is raised at once, with what it says."""
    with faulty(lambda: (status, {})) as (url, seen):
        with pytest.raises(DataError, match=f"{status} x: no"):
            Service(url, **QUICK).ask("/p", BODY, read)
        assert sum(seen.values()) == 1


def test_nobody_there():
    """A port where nothing listens is an exception that names the address."""
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9.*refused"):
        Service("http://127.0.0.1:9", rounds=2, **QUICK).ask("/p", BODY, read)


def test_another_server_takes_over():
    """With one server failing, the other answers without a pause, and is asked first from then."""
    with faulty(lambda: "reset") as (bad, ill), faulty(lambda: None) as (good, well):
        service = Service([bad, good], rounds=1, timeout_seconds=2, pause_seconds=60)
        assert [service.ask("/p", BODY, read) for _ in range(5)] == [[-1.0]] * 5
        assert (ill["reset"], well[None]) == (1, 5)


def test_each_server_is_asked_first_for_its_own():
    """`first` chooses the server, so that what belongs together meets in one cache."""
    with faulty(lambda: None) as (a, at_a), faulty(lambda: None) as (b, at_b):
        service = Service(f"{a}/, {b}", **QUICK)
        for first in (0, 1, 2, 4):
            service.ask("/p", BODY, read, first=first)
        assert (at_a[None], at_b[None]) == (3, 1)


def test_retry_after_is_waited_for():
    """A server that says when to come again is not asked before."""
    with faulty(in_turn((429, {"retry-after": "0.4"}))) as (url, _):
        started = time.monotonic()
        Service(url, **QUICK).ask("/p", BODY, read)
        assert time.monotonic() - started >= 0.4


def test_a_busy_server_is_asked_on():
    """A server that says it is busy is asked again beyond all rounds, but not for ever."""
    busy = (429, {"retry-after": "0.02"})
    with faulty(in_turn(*[busy] * 12)) as (url, seen):
        service = Service(url, rounds=1, **QUICK | {"patience_seconds": 20})
        assert service.ask("/p", BODY, read) == [-1.0]
        assert seen == {429: 12, None: 1}
    with faulty(lambda: busy) as (url, seen):
        service = Service(url, rounds=2, **QUICK | {"patience_seconds": 0.3})
        started = time.monotonic()
        with pytest.raises(ServiceError, match="429"):
            service.ask("/p", BODY, read)
        assert seen[429] > 2
        assert time.monotonic() - started < 5


def test_key_deadline_and_one_id_for_all_attempts():
    """Every attempt of a call has its key, its patience and the same id."""
    with faulty(in_turn((503, {}))) as (url, seen):
        Service(url, key="secret", **QUICK).ask("/p", BODY, read)
        first, second = ({k.lower(): v for k, v in h.items()} for _, _, h in seen.requests)
    assert first["authorization"] == "Bearer secret"
    assert first["x-deadline-seconds"] == "0.3"
    assert first["x-request-id"] == second["x-request-id"]


def test_connections_are_kept_and_a_closed_one_is_no_fault():
    """A connection that the server closed while it was idle costs no attempt."""
    with faulty(lambda: None) as (url, _):
        service = Service(url, rounds=1, **QUICK)
        service.ask("/p", BODY, read)
        (connection,) = service._idle[url].queue
        assert connection.sock is not None
        connection.sock.shutdown(2)
        assert service.ask("/p", BODY, read) == [-1.0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_use_its_parents_connections():
    """After a fork the child opens connections of its own: shared ones would mix up answers."""
    with faulty(lambda: None) as (url, _):
        service = Service(url, **QUICK)
        service.ask("/p", BODY, read)
        kept = list(service._idle[url].queue)
        service._process = -1  # as the child of a fork finds it
        connection, used = service._connection(url)
        assert not used
        assert connection not in kept


@pytest.mark.parametrize("urls", ["", " , ", "127.0.0.1:8000", "ftp://a", "http://"])
def test_addresses_are_checked(urls):
    """What is no address is said at once."""
    with pytest.raises(ConfigError):
        Service(urls)


def test_texts_that_are_none_are_refused():
    """A lone surrogate never leaves the process."""
    with pytest.raises(DataError, match="surrogate"):
        Service("http://127.0.0.1:9").ask("/p", {"x": "\ud800"}, read)


def test_the_stand_in_is_right():
    """The server of these tests scores as they think it does."""
    assert right(BODY) == [-1.0]
