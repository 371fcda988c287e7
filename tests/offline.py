"""A test that looks for the network fails, with the address: the suite needs none.

The guard sees every connection, look-up and datagram that Python code of the test process and its
forks begins. What a test hides (by catching the error) still fails it, when its report is made.
Programs that a test starts are beyond it: `make offline` runs them too where there is no network.
"""

import ipaddress
import socket
import sys

import pytest

attempts: list[str] = []
"""The addresses asked for since the last report."""
EVENTS = {
    "socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
    "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo",
}  # fmt: skip


class OutsideError(AssertionError):
    """Code under test looked for a machine other than this one."""


def is_here(host):
    """Whether a host, as sockets are given it, is this machine."""
    if host is None or host in ("", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def outside(event, args):
    """The address outside this machine that an audit event is about, or None."""
    if event not in EVENTS:
        return None
    if not isinstance(args[0], socket.socket):
        host, port = args[0], args[1] if event == "socket.getaddrinfo" else None
        if isinstance(host, tuple):  # getnameinfo's
            host, port = host[:2]
    elif args[0].family in (socket.AF_INET, socket.AF_INET6) and isinstance(args[1], tuple):
        host, port = args[1][:2]
    else:
        return None  # a Unix socket, or one that was connected before
    if is_here(host):
        return None
    host = host.decode(errors="replace") if isinstance(host, bytes) else host
    return host if port is None else f"{host}:{port}"


def guard(event, args):
    """Refuse what leaves this machine."""
    if event.startswith("socket.") and (address := outside(event, args)):
        attempts.append(address)
        raise OutsideError(f"a test looked for {address}; the suite needs no network")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A phase of a test in which something was looked for outside has failed."""
    report = yield
    if attempts:
        report.outcome = "failed"
        said = f"looked for {', '.join(attempts)}; the suite needs no network"
        report.longrepr = f"{call.excinfo.exconly()}\n{said}" if call.excinfo else said
        attempts.clear()
    return report


def pytest_configure():
    """Begin to listen; a hook cannot be taken away again."""
    sys.addaudithook(guard)
