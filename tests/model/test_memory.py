"""Bytes: as people write them, as cgroups count them, and what libraries keep of them."""

import ctypes
import sys

import pytest

from worldpm.errors import ConfigError
from worldpm.model import memory as memory_module
from worldpm.model.allocator import keep_freed_memory
from worldpm.model.memory import cgroup_files, free_bytes, parse_bytes, resident_bytes

V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


@pytest.fixture
def free_in(tmp_path, monkeypatch):
    """The free bytes of a process in one cgroup with these limits, use and statistics."""

    def free(names, limit, used, statistics=None):
        for name, value in zip(names, (limit, used), strict=True):
            (tmp_path / name).write_text(f"{value}\n")
        if statistics is not None:
            (tmp_path / "memory.stat").write_text(statistics)
        pair = (tmp_path / names[0], tmp_path / names[1])
        monkeypatch.setattr(memory_module, "cgroup_files", lambda text, root: [pair])
        return free_bytes()

    return free


@pytest.mark.parametrize(
    ("names", "statistics"),
    [
        (V2, "anon 200\nfile 600\nactive_file 100\ninactive_file 500\n"),
        (V1, "cache 900\ninactive_file 7\ntotal_cache 1\ntotal_inactive_file 500\n"),
    ],
)
def test_files_that_only_lie_in_the_cache_are_free(free_in, names, statistics):
    """A model that was just fetched fills its cgroup with pages that go when memory is wanted."""
    assert free_in(names, 1000, 800, statistics) == 700


@pytest.mark.parametrize("statistics", [None, "", "anon 5\n", "inactive_file many\n"])
def test_without_statistics_all_that_is_used_is_used(free_in, statistics):
    """Where the system does not say what is only cached, nothing of it counts as free."""
    assert free_in(V2, 1000, 800, statistics) == 200


def test_more_in_use_than_allowed_is_none_free(free_in):
    """A limit that was lowered under a running process leaves nothing, never less than nothing."""
    assert free_in(V2, 100, 800, "inactive_file 0\n") == 0
    assert free_in(V2, 100, 800, "inactive_file 99999\n") == 100  # no more than there is in use


def test_no_limit_is_no_bound(free_in):
    """ "max", and version 1's huge number for the same, leave the machine's memory."""
    for names, limit in ((V2, "max"), (V1, 2**63 - 4096)):
        assert free_in(names, limit, 800) > 10**6


@pytest.mark.parametrize("text", ["9" * 400 + "GB", "99999999TiB", "0.0001B", "0.5"])
def test_sizes_out_of_all_bounds(text):
    """What no machine has, or less than a byte, is an error like any other."""
    with pytest.raises(ConfigError, match="is not a size"):
        parse_bytes(text)


def test_a_fraction_of_a_unit_is_whole_bytes():
    """Bytes are whole numbers whatever was written."""
    assert parse_bytes("0.0015kB") == 1
    assert isinstance(parse_bytes("1.5GB"), int)


def test_a_process_outside_of_memory_groups(tmp_path):
    """Lines of other controllers name no files; the root's own come last in each list."""
    assert cgroup_files("3:cpu,cpuacct:/a\n1:name=systemd:/b\n", tmp_path) == []
    assert cgroup_files("0::/\n", tmp_path) == [(tmp_path / V2[0], tmp_path / V2[1])]
    deep = cgroup_files("0::/a/b\n", tmp_path)
    assert [limit.parent for limit, _ in deep] == [tmp_path / "a/b", tmp_path / "a", tmp_path]


def test_own_memory_without_proc(monkeypatch):
    """Where /proc is not to be read, the peak of the process stands for what it holds."""
    monkeypatch.setattr(memory_module, "_read", lambda path: "")
    peak = resident_bytes()
    assert 10**7 < peak < 10**12
    monkeypatch.setattr(sys, "platform", "darwin")  # counts in bytes, not in kB
    assert resident_bytes() * 1024 == pytest.approx(peak, rel=0.2)
    monkeypatch.setattr(sys, "platform", "win32")
    assert resident_bytes() == 0


def test_freed_memory_is_kept_only_by_glibc(monkeypatch):
    """Another system, or a C library without the call, is left alone and said so."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False


@pytest.mark.parametrize(("answers", "wanted"), [((1, 1), True), ((1, 0), False), ((0, 1), False)])
def test_both_settings_must_take(monkeypatch, answers, wanted):
    """glibc's answer to each setting counts: large blocks in the heap, and the heap kept."""
    asked = []

    class Library:
        @staticmethod
        def mallopt(parameter, value):
            asked.append(parameter)
            return answers[0] if parameter == -4 else answers[1]

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library)
    assert keep_freed_memory() is wanted
    assert asked[0] == -4
