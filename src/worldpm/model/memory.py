"""Bytes of memory: as people write them, as the system has them, as this process holds them."""

import re
import sys
from pathlib import Path

from worldpm.errors import ConfigError

UNITS = {
    "": 1, "B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
UNKNOWN_FREE = 4 * 10**9
"""Taken as free where the system does not say, a laptop's share."""


def parse_bytes(text: str) -> int:
    """ "8GB", "8 GiB", "1.5gb", "500MB" or plain bytes -> bytes; ConfigError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text, re.IGNORECASE)
    unit = UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or not 1 <= (size := float(match[1]) * unit) < 2**63:
        raise ConfigError(f"memory {text!r} is not a size; write it like 8GB, 8GiB or 500MB")
    return int(size)


def gb(num_bytes: int) -> str:
    """Bytes of a plan, for people: 1.25 GB, or 93.4 MB."""
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def free_bytes() -> int:
    """Memory that this process can still take: the least of what the machine and its cgroups say.

    A tenth of the machine's is left to others.
    """
    found = []
    meminfo = _read(Path("/proc/meminfo"))
    if match := re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE):
        found.append(int(match[1]) * 1024 * 9 // 10)
    for limit, used in cgroup_files(_read(Path("/proc/self/cgroup")), Path("/sys/fs/cgroup")):
        most, taken = _read(limit).strip(), _read(used).strip()
        if most.isdigit() and taken.isdigit() and int(most) < 2**60:
            cached = min(int(taken), _cached_bytes(_read(used.with_name("memory.stat"))))
            found.append(max(0, int(most) - int(taken) + cached))
    return min(found, default=UNKNOWN_FREE)


def _cached_bytes(statistics: str) -> int:
    """Bytes of files that a cgroup's use counts and that go when memory is wanted.

    A model that was just fetched is all there: without this it would look as if nothing were free.
    """
    # Version 1 has a sum over the groups below under a name of its own.
    for name in ("total_inactive_file", "inactive_file"):
        if match := re.search(rf"^{name} (\d+)$", statistics, re.MULTILINE):
            return int(match[1])
    return 0


def cgroup_files(membership: str, root: Path) -> list[tuple[Path, Path]]:
    """Files with limit and use of the memory cgroups that /proc/self/cgroup names, all ancestors'.

    Inside a container the names may be those of the host; the root's own files count there.
    """
    files = []
    for line in membership.splitlines():
        number, controllers, name = line.split(":", 2)
        if number == "0" and not controllers:
            base, limit, used = root, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = base / name.lstrip("/")
        for folder in (own, *own.parents):
            files.append((folder / limit, folder / used))
            if folder == base:
                break
    return files


def resident_bytes() -> int:
    """Memory that this process holds now."""
    if match := re.search(r"^VmRSS:\s+(\d+) kB", _read(Path("/proc/self/status")), re.MULTILINE):
        return int(match[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB, but bytes on macOS
    return peak if sys.platform == "darwin" else peak * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
