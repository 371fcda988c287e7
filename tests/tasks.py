"""What workers do in the tests of `work` and `making`; a spawned process imports it by its name."""

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from worldpm.errors import DataError
from worldpm.work import pulse


@dataclass(frozen=True)
class Job:
    name: str
    value: int = 0
    seconds: float = 0.0


def square(job: Job, folder: Path) -> dict[str, int]:
    """Write a file; slowest first, so that results come in another order than tasks."""
    pulse(1, job.value)
    time.sleep(job.seconds)
    (folder / f"{job.name}.txt").write_text(str(job.value**2))
    with (folder / "runs.log").open("a") as log:
        log.write(f"{job.name} {os.getpid()}\n")
    return {"square": job.value**2}


def refuse(job: Job, folder: Path) -> dict[str, int]:
    """What the user must mend."""
    if job.value == 2:
        raise DataError(f"{job.name}: not a dump")
    return square(job, folder)


def stumble(job: Job, folder: Path) -> dict[str, int]:
    """A bug of ours."""
    if job.value == 2:
        raise ZeroDivisionError("by zero")
    return square(job, folder)


def die(job: Job, folder: Path) -> dict[str, int]:
    """What the kernel does to a process that takes all memory; only the first time."""
    mark = folder / "died"
    if job.value == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(job, folder)


def die_idle(job: Job, folder: Path) -> dict[str, int]:
    """What dies a moment after its task is done, before it has another."""
    threading.Timer(0.1, os._exit, (9,)).start()
    return square(job, folder)
