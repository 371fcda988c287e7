"""A function over tasks -> files and counts: in this process, in several, or on Ray.

    run_tasks(join_bucket, [Bucket("ai-00000", ...), Bucket("ai-00001", ...)], Path("partial/join"))
    ->  [{"threads": 812}, {"threads": 790}]

`function(task, folder)` is a module's own function. It writes its files atomically, under names
that no other task uses, and returns its counts. When it has returned, `NAME.done.json` appears
beside them and holds these counts; a task that has one is not run again, so the same call goes on
after kill -9 and loses at most the tasks that were running. Counts come back in the tasks' order,
whatever ended first, and nothing depends on how many workers there were.
"""

import gc
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import orjson

from worldpm.errors import ConfigError, InterruptedRunError, WorldPMError
from worldpm.jsonfiles import json_bytes, read_object
from worldpm.store import write_atomic

Engine = Literal["processes", "ray"]
Share = tuple[int, int]
"""(1, 4) is the first of four."""
PULSE_SECONDS = 0.2
OBJECTS_PER_COLLECTION = 200_000
RAY_STORE_BYTES = 100_000_000  # tasks and counts are small: all that is large is in files


@dataclass(frozen=True, slots=True)
class Run:
    """Who does the work; nothing of it changes a byte of the result."""

    workers: int = 1
    engine: Engine = "processes"
    share: Share | None = None
    quiet: bool = False


class Task(Protocol):
    """Small, and picklable; `name` is its own among the tasks, and fit for a file."""

    @property
    def name(self) -> str:
        """What its files, and messages about it, are named for."""
        ...


TaskT = TypeVar("TaskT", bound=Task)
Counts = dict[str, Any]
Function = Callable[[TaskT, Path], Counts]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is: what it says itself, and that it is `done`."""

    task: str
    num_bytes: int = 0
    num_rows: int = 0
    done: bool = False


Listener = Callable[[Progress], None]


def processors() -> int:
    """Processors that this process may use; all of them where the system does not say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def add_up(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """What several tasks counted, added up; what was counted as none stays."""
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return found


def done_path(folder: Path, name: str) -> Path:
    """The file whose presence says that a task is done."""
    return folder / f"{name}.done.json"


def counts_of(folder: Path, name: str) -> Counts | None:
    """What a task counted, or None if it is not done."""
    path = done_path(folder, name)
    return read_object(path) if path.exists() else None


def run_tasks(
    function: Function[TaskT],
    tasks: Sequence[TaskT],
    folder: Path,
    *,
    workers: int = 1,
    engine: Engine = "processes",
    share: Share | None = None,
    listen: Listener = lambda progress: None,
) -> list[Counts]:
    """Do the tasks that are not done yet; returns the counts of all, in order.

    With `share` (i, n) every n-th task is done here; where others are then still to do elsewhere,
    InterruptedRunError says so. The first error of a task ends the run: a WorldPMError as it is, a
    bug with its own traceback, and a worker that was killed as an InterruptedRunError that names
    its task.
    """
    assert len({task.name for task in tasks}) == len(tasks), "each task has a name of its own"
    folder.mkdir(parents=True, exist_ok=True)
    todo = []
    for number, task in enumerate(tasks):
        if done_path(folder, task.name).exists():
            listen(Progress(task.name, done=True))
        elif share is None or number % share[1] == share[0] - 1:
            todo.append(task)
    workers = min(workers, len(todo))
    if engine == "ray":
        _on_ray(function, todo, folder, workers, listen)
    elif workers > 1:
        _in_processes(function, todo, folder, workers, listen)
    else:
        _here(function, todo, folder, listen)
    found = [counts_of(folder, task.name) for task in tasks]
    if missing := sum(counts is None for counts in found):
        assert share is not None
        raise InterruptedRunError(
            f"share {share[0]} of {share[1]} is done, {missing} tasks of the others are not; run "
            "the same again when they have ended"
        )
    return [counts for counts in found if counts is not None]


def parse_share(text: str) -> Share:
    """`2/4` -> (2, 4), the second of four; ConfigError for anything else."""
    number, slash, count = text.partition("/")
    if slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise ConfigError(f"--shard {text!r}: write it as i/n with i from 1 to n, as 1/4")


# The listener of the task that runs in this process. Only `pulse` reads it.
_pulse: Callable[[int, int], None] = lambda num_bytes, num_rows: None  # noqa: E731
_last_pulse = 0.0


def pulse(num_bytes: int, num_rows: int) -> None:
    """Say how much of its input the running task has read; cheap enough to call often."""
    global _last_pulse
    now = time.monotonic()
    if now - _last_pulse >= PULSE_SECONDS:
        _last_pulse = now
        _pulse(num_bytes, num_rows)


def _hear(hear: Callable[[int, int], None]) -> None:
    global _pulse
    _pulse = hear


def run_one(function: Function[TaskT], task: TaskT, folder: Path) -> None:
    """Do one task, then write down that it is done."""
    usual = gc.get_threshold()
    # Records hold no cycles. Looking for some among thousands of them took 4 % of a task's time.
    gc.set_threshold(OBJECTS_PER_COLLECTION, *usual[1:])
    try:
        counts = function(task, folder)
    finally:
        gc.set_threshold(*usual)
    write_atomic(done_path(folder, task.name), json_bytes(counts, orjson.OPT_SORT_KEYS))


def _here(
    function: Function[TaskT], tasks: Sequence[TaskT], folder: Path, listen: Listener
) -> None:
    for task in tasks:
        name = task.name
        _hear(lambda num_bytes, num_rows, n=name: listen(Progress(n, num_bytes, num_rows)))  # type: ignore[misc]
        try:
            run_one(function, task, folder)
        finally:
            _hear(lambda num_bytes, num_rows: None)
        listen(Progress(name, done=True))


def _in_processes(
    function: Function[TaskT],
    tasks: Sequence[TaskT],
    folder: Path,
    workers: int,
    listen: Listener,
) -> None:
    # A forked child would share the locks of threads that it does not have (Arrow's among them).
    context = get_context("spawn")
    left = iter(tasks)
    running: dict[Connection, TaskT] = {}
    processes: dict[Connection, SpawnProcess] = {}

    def hand_out(connection: Connection) -> None:
        running.pop(connection, None)
        task = next(left, None)
        if task is None:
            connection.close()
        else:
            running[connection] = task
            try:
                connection.send(task)
            except OSError:  # it died since its last one was done
                raise killed(connection) from None

    def killed(connection: Connection) -> WorldPMError:
        processes[connection].join()
        return _killed(running[connection].name, processes[connection].exitcode)

    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(theirs, function, folder), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
            hand_out(ours)
        while running:
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                task = running[connection]
                try:
                    kind, value = connection.recv()
                except (EOFError, OSError):
                    raise killed(connection) from None
                if kind == "pulse":
                    listen(Progress(task.name, *value))
                elif kind == "done":
                    listen(Progress(task.name, done=True))
                    hand_out(connection)
                else:
                    raise _error(task.name, value)
    finally:
        for connection, process in processes.items():
            connection.close()
            if connection in running:
                process.kill()  # its task is not done; what it wrote has no name yet
            process.join()


def _killed(name: str, exit_code: int | None) -> WorldPMError:
    how = f"signal {-exit_code}" if exit_code and exit_code < 0 else f"exit code {exit_code}"
    return InterruptedRunError(
        f"{name}: its worker ended by {how}, perhaps for want of memory; the same command goes on "
        "with what is left, with fewer --workers if need be"
    )


def _error(name: str, value: WorldPMError | str) -> Exception:
    if isinstance(value, WorldPMError):
        return value
    return RuntimeError(f"task {name} failed in a worker:\n{value}")


def _worker(connection: Connection, function: Function[Any], folder: Path) -> None:
    """A worker's life: tasks in, what becomes of them out, until the other end closes."""
    parent = os.getppid()

    def die_with_parent() -> None:
        while os.getppid() == parent:  # kill -9 of the parent must not leave us writing
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=die_with_parent, daemon=True).start()
    _hear(lambda num_bytes, num_rows: connection.send(("pulse", (num_bytes, num_rows))))
    while True:
        try:
            task = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            run_one(function, task, folder)
        except WorldPMError as error:
            connection.send(("error", error))
        except KeyboardInterrupt:
            return  # the parent had it too
        except BaseException:
            connection.send(("error", traceback.format_exc()))
        else:
            connection.send(("done", None))


def _on_ray(
    function: Function[TaskT],
    tasks: Sequence[TaskT],
    folder: Path,
    workers: int,
    listen: Listener,
) -> None:
    """On the cluster that RAY_ADDRESS names, which shares the folder; else on one of this machine.

    A node that is lost costs nothing but time: Ray runs its tasks again, and they write the same.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise ConfigError(
            'ray is not installed; install it with pip install "worldpm[ray]"'
        ) from None
    if not tasks:
        return
    ours = not ray.is_initialized()
    if ours and os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level="error")
    elif ours:
        # No dashboard, and the loopback only: Ray's own interfaces ask for no password.
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=RAY_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            log_to_driver=False,
            logging_level="error",
        )
    try:
        remote = ray.remote(max_retries=3)(_ray_task)
        for name in _ray_results(ray, remote, function, tasks, folder.resolve()):
            listen(Progress(name, done=True))
    finally:
        if ours:
            ray.shutdown()


def _ray_task(function: Function[TaskT], task: TaskT, folder: Path) -> WorldPMError | None:
    try:
        run_one(function, task, folder)
    except WorldPMError as error:
        return error
    return None


def _ray_results(
    ray: Any, remote: Any, function: Function[TaskT], tasks: Sequence[TaskT], folder: Path
) -> Iterator[str]:
    """Submit all, and yield the names of the tasks as they end."""
    names: Mapping[Any, str] = {remote.remote(function, t, folder): t.name for t in tasks}
    pending = list(names)
    while pending:
        ended, pending = ray.wait(pending)
        for reference in ended:
            try:
                error = ray.get(reference)
            except ray.exceptions.WorkerCrashedError:
                raise _killed(names[reference], None) from None
            if error is not None:
                raise error
            yield names[reference]
