"""The same bytes whoever works, in whatever order, killed or not; every machine's share counts."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from bigdump import write_big_7z
from dumps import SITE, comment, submission, write_7z, write_lines

from worldpm.errors import InterruptedRunError
from worldpm.forum import build, forums
from worldpm.forum.build import Run, build_threads
from worldpm.forum.reading import ForumSettings
from worldpm.forum.reddit import RedditSettings
from worldpm.forum.tasks import join_shard, scatter_dump
from worldpm.making import partial_path

SETTINGS = ForumSettings(shard_bytes=60_000)
NUM_TASKS = 3 + 7 + 6  # dumps, and shards of the two that are not joined in memory
SHARD_FLAGS = ("--set", "shard_bytes=60000")


@pytest.fixture(scope="module")
def dumps(tmp_path_factory):
    """Three sites: of five shards, of seven, of one."""
    folder = tmp_path_factory.mktemp("dumps")
    return [
        write_big_7z(folder / "b.com.7z", 300_000, seed=1),
        write_big_7z(folder / "a.com.7z", 400_000, seed=2),
        write_7z(folder / "c.com.7z", Posts=SITE),
    ]


def digest(folder):
    """Every file's hash, and all of the manifest but when and by which command."""
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    del manifest["created"], manifest["command"]
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
    }
    return files, orjson.dumps(manifest)


@pytest.fixture(scope="module")
def expected(dumps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected") / "threads"
    build_threads(dumps, folder, settings=SETTINGS, quiet=True)
    return digest(folder)


def command(dumps, out, *more):
    verb = ("-m", "worldpm", "forum", "stackexchange", *map(str, dumps), "-o", str(out), "-q")
    return [sys.executable, *verb, *SHARD_FLAGS, *more]


def test_a_large_part_is_several_files(expected):
    """Their number comes from the size of the dump; the ledger has one for each."""
    files, manifest = expected
    names = [
        *(f"a.com-{n:05d}-of-00007.parquet" for n in range(7)),
        *(f"b.com-{n:05d}-of-00006.parquet" for n in range(6)),
        "c.com.parquet",
    ]
    assert sorted(files) == [*names, *(f"ledger/{name}" for name in names)]
    found = orjson.loads(manifest)
    posts = sum(source["posts"] + source["dropped"] for source in found["sources"].values())
    assert posts == found["numbers"]["posts"] + found["numbers"]["dropped"]
    assert list(found["counts"]) == ["a.com", "b.com", "c.com"]


@pytest.mark.parametrize(
    ("workers", "order", "seed"),
    [(2, (2, 0, 1), "1"), pytest.param(4, (1, 0, 2), "2", marks=pytest.mark.slow)],
)
def test_workers_order_and_hash_seed_change_no_byte(
    tmp_path, dumps, expected, workers, order, seed
):
    """Several processes, dumps in another order, another seed of hashes."""
    out = tmp_path / "threads"
    shuffled = [dumps[place] for place in order]
    subprocess.run(
        [*command(shuffled, out, "--workers", str(workers)), "--json"],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
        stdout=subprocess.DEVNULL,
    )
    assert digest(out) == expected


@pytest.mark.slow
def test_ray_changes_no_byte(tmp_path, dumps, expected):
    """Tasks on a Ray of this machine make the same files and the same manifest."""
    pytest.importorskip("ray")
    out = tmp_path / "threads"
    build_threads(dumps, out, settings=SETTINGS, run=Run(2, "ray", quiet=True))
    assert digest(out) == expected


def test_shares_on_several_machines_change_no_byte(tmp_path, dumps, expected):
    """Each does its tasks and says when others are missing; the last call finishes."""
    out = tmp_path / "threads"
    # The third finds all dumps read and makes threads; so do the others when they come again.
    last = "all shares are done; the same command without --shard"
    for number, said in ((2, "2 of 3"), (1, "1 of 3"), (3, "3 of 3"), (2, "2 of 3"), (1, last)):
        run = Run(share=(number, 3), quiet=True)
        with pytest.raises(InterruptedRunError, match=said):
            build_threads(dumps, out, settings=SETTINGS, run=run)
    assert not out.exists()
    build_threads(dumps, out, settings=SETTINGS, quiet=True)
    assert digest(out) == expected


@pytest.mark.parametrize(("held_bytes", "num_held"), [(0, 0), (100_000, 1), (10**9, 3)])
def test_through_memory_or_through_shards_no_byte_changes(
    tmp_path, dumps, monkeypatch, held_bytes, num_held
):
    """Dumps of one shard are the same files and counts, whichever of them are joined in memory."""
    settings = ForumSettings(authors="drop")
    build_threads(dumps, tmp_path / "expected", settings=settings, quiet=True)
    monkeypatch.setattr(forums, "HELD_BYTES", held_bytes)
    ran = []
    monkeypatch.setattr(build, "join_shard", counted(join_shard, ran))
    build_threads(dumps, tmp_path / "threads", settings=settings, quiet=True)
    assert digest(tmp_path / "threads") == digest(tmp_path / "expected")
    assert len(ran) == len(dumps) - num_held


def kill_after(arguments, condition):
    """Start a run, kill -9 it when the condition holds; whether it was still running."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not condition():
        time.sleep(0.003)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def done(out):
    return len(list(partial_path(out).glob("*.done.json")))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_run_goes_on_with_the_same_bytes(tmp_path, dumps, expected, workers):
    """Killed while dumps are read and while threads are made; tasks that were done stay."""
    out = tmp_path / "threads"
    arguments = command(dumps, out, "--workers", workers)
    for after in (1, 6):
        if kill_after(arguments, lambda least=after: done(out) >= least):
            assert done(out) >= after
            assert not out.exists()
    assert out.exists() or done(out) >= 1
    if not out.exists():
        build_threads(dumps, out, settings=SETTINGS, run=Run(int(workers), quiet=True))
    assert digest(out) == expected
    assert not partial_path(out).exists()


def counted(function, ran):
    """The function, its tasks' names put down as they are done."""

    def noting(task, folder):
        ran.append(task.name)
        return function(task, folder)

    return noting


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_at_random_moments(tmp_path, dumps, expected, monkeypatch):
    """Each run killed at a random moment; resumed, it loses no finished task and no byte."""
    chance = random.Random(7)
    start = time.monotonic()
    subprocess.run(
        command(dumps, tmp_path / "whole", "--workers", "2"), check=True, stdout=subprocess.DEVNULL
    )
    seconds = time.monotonic() - start
    killed = 0
    for number in range(40):
        out = tmp_path / f"threads-{number}"
        arguments = command(dumps, out, "--workers", "2")
        end = time.monotonic() + chance.uniform(0.3, 1.0) * seconds
        killed += kill_after(arguments, lambda end=end: time.monotonic() > end)
        if not out.exists():
            ran = []
            monkeypatch.setattr(build, "join_shard", counted(join_shard, ran))
            monkeypatch.setattr(build, "scatter_dump", counted(scatter_dump, ran))
            left = NUM_TASKS - done(out)
            build_threads(dumps, out, settings=SETTINGS, quiet=True)
            assert len(ran) == left
        assert digest(out) == expected
        if killed == 20:
            return
    pytest.fail(f"only {killed} of 40 runs could be killed")


def test_reddit_in_shards_is_the_same_in_any_order(tmp_path):
    """Comments of a submission meet from all files, by two workers as by one."""
    rows = [submission(f"s{n}") for n in range(40)]
    rows += [comment(f"c{n}", f"s{n % 40}", f"Text {n}.", n % 7) for n in range(400)]
    random.Random(3).shuffle(rows)
    files = [write_lines(tmp_path / f"RC_{n}.zst", *rows[n::3]) for n in range(3)]
    found = []
    for number, (order, workers) in enumerate([(files, 1), (files[::-1], 2)]):
        out = tmp_path / f"threads-{number}"
        build_threads(
            order,
            out,
            forum="reddit",
            settings=RedditSettings(shard_bytes=2000),
            run=Run(workers, quiet=True),
        )
        found.append(digest(out))
    assert found[0] == found[1]
    assert len(found[0][0]) > 3


def big_dump(tmp_path):
    """Where the long proof finds its dump; made anew unless one is kept there."""
    kept = os.environ.get("WORLDPM_BIG_DUMP")
    return Path(kept) if kept else tmp_path / "big.stackexchange.com.7z"


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_ten_gigabytes_in_two_of_memory(tmp_path):
    """A generated dump of 10 GB goes through, every process together under 2 GB.

    WORLDPM_BIG_BYTES makes it smaller for a shorter proof; WORLDPM_BIG_DUMP keeps the archive.
    """
    psutil = pytest.importorskip("psutil")
    dump, size = big_dump(tmp_path), int(os.environ.get("WORLDPM_BIG_BYTES", 10_000_000_000))
    if not dump.exists():
        write_big_7z(dump, size)
    out = tmp_path / "threads"
    arguments = [
        *(sys.executable, "-m", "worldpm", "forum", "stackexchange", str(dump), "-o", str(out)),
        *("--workers", "2", "--memory", "2GB", "-q", "--json"),
    ]
    peak = 0
    with (tmp_path / "made.json").open("wb") as made:
        process = subprocess.Popen(arguments, stdout=made)
        family = psutil.Process(process.pid)
        while process.poll() is None:
            members = [family, *family.children(recursive=True)]
            peak = max(peak, sum(map(resident, members)))
            time.sleep(0.2)
    assert process.returncode == 0
    manifest = orjson.loads((tmp_path / "made.json").read_bytes())
    print(f"peak {peak / 1e6:,.0f} MB of {size / 1e6:,.0f} MB of XML, {manifest['numbers']}")
    assert peak < 2_000_000_000
    assert manifest["numbers"]["posts"] * 400 > 0.4 * size


def resident(process):
    """Bytes of memory that a process has; none when it has just gone."""
    import psutil

    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
