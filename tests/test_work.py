"""Tasks done once each, by whomever, with the same result; killed and gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tasks import Job, die, die_idle, refuse, square, stumble

from worldpm.errors import ConfigError, DataError, InterruptedRunError
from worldpm.work import Progress, counts_of, done_path, parse_share, run_tasks

JOBS = [Job(f"job-{value}", value, seconds=0.02 * (4 - value)) for value in range(5)]
EXPECTED = [{"square": value**2} for value in range(5)]


def runs(folder):
    return sorted(line.split()[0] for line in (folder / "runs.log").read_text().splitlines())


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_counts_come_in_the_order_of_the_tasks(tmp_path, workers):
    """Whatever ended first, and each task ran once, in as many processes as asked for."""
    assert run_tasks(square, JOBS, tmp_path, workers=workers) == EXPECTED
    assert runs(tmp_path) == [job.name for job in JOBS]
    pids = {line.split()[1] for line in (tmp_path / "runs.log").read_text().splitlines()}
    assert len(pids) <= workers
    assert (str(os.getpid()) in pids) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_done_is_not_done_again(tmp_path, workers):
    """A task with its side file is skipped, its counts are those of then."""
    run_tasks(square, JOBS[:3], tmp_path, workers=workers)
    done_path(tmp_path, "job-1").unlink()
    heard = []
    assert run_tasks(square, JOBS, tmp_path, workers=workers, listen=heard.append) == EXPECTED
    assert runs(tmp_path) == ["job-0", "job-1", "job-1", "job-2", "job-3", "job-4"]
    assert {event.task for event in heard if event.done} == {job.name for job in JOBS}
    assert heard[0] == Progress("job-0", done=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_says_how_far_it_is(tmp_path, workers):
    """The listener hears of bytes and rows while a task runs, under the task's name."""
    heard = []
    jobs = [Job("a", 7, 0.25), Job("b", 9, 0.25)]
    run_tasks(square, jobs, tmp_path, workers=workers, listen=heard.append)
    assert {(e.task, e.num_bytes, e.num_rows) for e in heard if not e.done} == {
        ("a", 1, 7), ("b", 1, 9),
    }  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_users_arrives_as_it_is(tmp_path, workers):
    """A DataError of a worker is the same DataError here, and its task is not done."""
    with pytest.raises(DataError, match=r"^job-2: not a dump$"):
        run_tasks(refuse, JOBS, tmp_path, workers=workers)
    assert counts_of(tmp_path, "job-2") is None


def test_a_bug_arrives_with_its_traceback(tmp_path):
    """What we did wrong in a worker names the task and the line."""
    with pytest.raises(RuntimeError, match=r"(?s)task job-2 .*ZeroDivisionError: by zero"):
        run_tasks(stumble, JOBS, tmp_path, workers=2)


def test_a_killed_worker_names_its_task_and_the_same_call_goes_on(tmp_path):
    """SIGKILL is an error with the task's name; the next call does what was left."""
    with pytest.raises(InterruptedRunError, match="job-2: its worker ended by signal 9"):
        run_tasks(die, JOBS, tmp_path, workers=2)
    assert counts_of(tmp_path, "job-2") is None
    assert run_tasks(die, JOBS, tmp_path, workers=2) == EXPECTED


def test_a_worker_that_dies_between_two_tasks_names_the_one_that_it_was_to_have(tmp_path):
    """The task that cannot be handed to it, not a BrokenPipeError, which is for stdout's reader."""

    def listen(progress):
        time.sleep(0.5 * progress.done)

    jobs = [Job(f"job-{value}", value) for value in range(6)]
    with pytest.raises(InterruptedRunError, match=r"job-\d: its worker ended by exit code 9"):
        run_tasks(die_idle, jobs, tmp_path, workers=2, listen=listen)


def test_shares_together_do_everything_once(tmp_path):
    """Each share does its own tasks and says that others are missing; the last one has all."""
    for number in (1, 3):
        with pytest.raises(InterruptedRunError, match=f"share {number} of 3 is done"):
            run_tasks(square, JOBS, tmp_path, share=(number, 3))
    assert run_tasks(square, JOBS, tmp_path, share=(2, 3)) == EXPECTED
    assert runs(tmp_path) == [job.name for job in JOBS]


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/4/2", "-1/4", "a/b", "1/0"])
def test_a_share_is_written_in_one_way(text):
    """Anything but i/n with i from 1 to n is refused with an example."""
    assert parse_share("2/4") == (2, 4)
    with pytest.raises(ConfigError, match="as 1/4"):
        parse_share(text)


SLOW = """
import sys
from pathlib import Path
from tasks import Job, square
from worldpm.work import run_tasks
if __name__ == "__main__":
    jobs = [Job(f"job-{value}", value, 0.4) for value in range(8)]
    run_tasks(square, jobs, Path(sys.argv[1]), workers=2)
"""


def alive(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")
def test_workers_die_with_who_started_them(tmp_path):
    """After kill -9 of the parent no worker goes on writing."""
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, script, folder], env=environment)
    log = folder / "runs.log"
    end = time.monotonic() + 60
    while not log.exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    pids = {int(line.split()[1]) for line in log.read_text().splitlines()}
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(alive, pids))
    assert 1 <= len(runs(folder)) < 8


@pytest.mark.slow
def test_ray_gives_the_same(tmp_path, monkeypatch):
    """On a Ray of this machine: the same counts and files, and errors as they are."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    assert run_tasks(square, JOBS, tmp_path / "a", workers=2, engine="ray") == EXPECTED
    assert runs(tmp_path / "a") == [job.name for job in JOBS]
    with pytest.raises(DataError, match="job-2: not a dump"):
        run_tasks(refuse, JOBS, tmp_path / "b", workers=2, engine="ray")
