"""The guard that keeps the suite off the network sees what it must, and lets this machine be."""

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import offline
import pytest

OUTSIDE = ["192.0.2.1", "2001:db8::1"]  # nobody's (RFC 5737, 3849)
NAME = "nobody.invalid"  # cannot exist (RFC 2606)
SUITE = """
import contextlib, socket, pytest

def test_hidden():
    with contextlib.suppress(BaseException):
        socket.create_connection(("192.0.2.1", 80), timeout=1)

@pytest.fixture
def looked():
    with contextlib.suppress(BaseException):
        socket.getaddrinfo("nobody.invalid", 443)

def test_of_a_fixture(looked): pass

def test_after(): pass
"""


def refused(way):
    """Whether a way out ends at the guard."""
    with pytest.raises(offline.OutsideError, match="the suite needs no network"):
        way()


@pytest.mark.parametrize("host", OUTSIDE)
def test_no_address_is_reached(host):
    """Connections and datagrams fail before anything is sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as plain:
        refused(lambda: plain.connect((host, 80)))
        refused(lambda: plain.connect_ex((host, 80)))
        refused(lambda: plain.sendto(b"", (host, 80)))
        refused(lambda: plain.sendmsg([b""], [], 0, (host, 80)))
    refused(lambda: socket.create_connection((host, 80), timeout=1))
    assert offline.attempts == [f"{host}:80"] * 5
    offline.attempts.clear()


def test_no_name_is_looked_up():
    """Look-ups fail before a name server is asked, a library's request at its look-up."""
    refused(lambda: socket.getaddrinfo(NAME, 443))
    refused(lambda: socket.gethostbyname(NAME))
    refused(lambda: urllib.request.urlopen(f"http://{NAME}"))
    assert offline.attempts == [f"{NAME}:443", NAME, f"{NAME}:80"]
    offline.attempts.clear()


def test_this_machine_is_let_be(tmp_path):
    """Loopback by each of its names, and a Unix socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for name in ("127.0.0.1", "localhost"):
            socket.create_connection((name, port), timeout=5).close()
    with socket.socket(socket.AF_UNIX) as local, pytest.raises(FileNotFoundError):
        local.connect(str(tmp_path / "none"))
    assert offline.attempts == []


def test_a_hidden_attempt_fails_its_test(tmp_path):
    """Also where the error was caught, in the test or its fixture; the next test is not blamed."""
    (tmp_path / "test_it.py").write_text(SUITE)
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "offline", "-p", "no:cacheprovider", "-q", "."],
        cwd=tmp_path, env={"PYTHONPATH": tests}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "looked for 192.0.2.1:80; the suite needs no network" in done.stdout
    assert "looked for nobody.invalid:443; the suite needs no network" in done.stdout
    assert "1 failed, 1 passed, 1 error" in done.stdout
