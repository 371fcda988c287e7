"""score in several processes: the rows of one, in the order of the input, also after a failure."""

import os
import subprocess
import sys

import orjson
import pytest

from worldpm.cli.sharing import Share, join, share_of_process
from worldpm.errors import ConfigError, DataError

BAD = {"id": "bad", "prompt": "x" * 5000, "replies": ["y"]}


def rows(count):
    return [
        {"id": i, "prompt": f"p{i % 7}", "replies": ["r" * (i % 11), "q"]} for i in range(count)
    ]


def write(path, items):
    path.write_bytes(b"\n".join(map(orjson.dumps, items)))
    return path


def torchrun(processes, *args):
    """Run `worldpm ARGS` in so many processes; (exit code, stderr)."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(processes), "-m", "worldpm", *map(str, args),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stderr


def test_two_processes_write_what_one_does(worldpm, tmp_path, model):
    """Every row once, in the order of the input, its score within what torch's batches do."""
    source, out = write(tmp_path / "rows.jsonl", rows(20)), tmp_path / "out.jsonl"
    wanted = worldpm("score", source, "--model", model, "-q").rows
    code, err = torchrun(2, "score", source, "--model", model, "-o", out)
    assert code == 0, err
    found = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert [row["id"] for row in found] == list(range(20))
    for row, other in zip(found, wanted, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_a_failed_share_goes_on(tmp_path, model):
    """One process meets a bad row: nothing appears; with --resume only its rows are scored."""
    broken = write(tmp_path / "broken.jsonl", [*rows(11), BAD])
    out = tmp_path / "out.jsonl"
    code, err = torchrun(2, "score", broken, "--model", model, "-o", out)
    assert (code != 0, out.exists()) == (True, False)
    assert "broken.jsonl:12" in err
    part = tmp_path / ".out.jsonl.0-of-2"
    if not part.exists():  # it was stopped before its end: what it has is kept all the same
        part = tmp_path / "..out.jsonl.0-of-2.unfinished"
    kept = part.read_bytes()
    mended = write(tmp_path / "mended.jsonl", rows(12))
    code, err = torchrun(2, "score", mended, "--model", model, "-o", out, "--resume")
    assert code == 0, err
    lines = out.read_bytes().splitlines(True)
    assert [orjson.loads(line)["id"] for line in lines] == list(range(12))
    assert b"".join(lines[::2]).startswith(kept)


def test_shares():
    """Every row is exactly one process's; alone a process has them all and writes the output."""
    whole = list(range(11))
    parts = [Share(rank, 4) for rank in range(4)]
    assert sorted(row for part in parts for row in part.rows(iter(whole))) == whole
    assert [part.count(11) for part in parts] == [3, 3, 3, 2]
    assert list(Share().rows(iter(whole))) == whole


def test_a_finished_share_is_of_its_input(worldpm, monkeypatch, tmp_path, model):
    """What one process has finished is kept for the same rows alone, with or without ids: an edit
    among them is refused, one of another process's rows is not."""
    monkeypatch.setattr("worldpm.cli.scoring.share_of_process", lambda out, source: Share(0, 2))
    monkeypatch.setattr("worldpm.cli.scoring.join", lambda out, share: None)
    items = [{"prompt": f"p{i}", "replies": ["a", "b"]} for i in range(6)]
    command = ("--model", model, "-o", tmp_path / "out.jsonl", "-q", "--json")
    first = worldpm("score", write(tmp_path / "rows.jsonl", items), *command)
    assert (first.code, first.json["rows"]) == (0, 3)
    for number, kept in ((2, False), (3, True)):
        edited = [*items]
        edited[number] = {"prompt": "other", "replies": ["a", "b"]}
        source = write(tmp_path / "edited.jsonl", edited)
        again = worldpm("score", source, *command, "--resume")
        assert (again.code, again.code or again.json["rows"]) == ((0, 0) if kept else (1, 1))
    more = write(tmp_path / "more.jsonl", [*items, *items])
    assert worldpm("score", more, *command, "--resume").code == 1


def test_what_cannot_be_shared(monkeypatch, tmp_path):
    """Several processes need a file to read and one to write."""
    assert share_of_process(None, "-") == Share()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert share_of_process(tmp_path, "rows.jsonl") == Share(1, 2)
    for out, source in ((None, "rows.jsonl"), (tmp_path, "-")):
        with pytest.raises(ConfigError, match="FILE -o OUT"):
            share_of_process(out, source)


def test_processes_that_cannot_meet_are_told_at_once(worldpm, monkeypatch, tmp_path, model):
    """WORLD_SIZE from another launcher, without torchrun's address: said before hours of scoring,
    and nothing is written."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    source = write(tmp_path / "rows.jsonl", rows(2))
    found = worldpm("score", source, "--model", model, "-o", tmp_path / "out.jsonl")
    assert found.code == 1
    assert "WORLD_SIZE is 4" in found.err
    assert "torchrun" in found.err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_the_first_waits_for_the_last(monkeypatch, tmp_path):
    """After --resume one process has nothing to do and another hours: no half an hour's limit; and
    rows are laid together only once all have come."""
    import torch.distributed as dist

    from worldpm.train import parallel

    calls = []
    store = dist.HashStore()
    monkeypatch.setattr(parallel, "rendezvous", lambda url, **_: iter([(store, 0, 3)]))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")

    def init(kind, *, store, rank, world_size, timeout):
        store.set("met", "yes")
        calls.append(timeout)

    monkeypatch.setattr(dist, "init_process_group", init)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("left"))
    out = tmp_path / "out"

    def barrier():
        calls.append(out.exists())
        if len(calls) == 2:  # the others' rows are there when all have met
            for rank, text in enumerate((b"0\n3\n", b"1\n", b"2\n")):
                Share(rank, 3).path(out).write_bytes(text)
                Share(rank, 3).note_finished(out, {})

    monkeypatch.setattr(dist, "barrier", barrier)
    join(out, Share(0, 3))
    assert calls[0].days > 7
    assert store.timeout == calls[0]
    assert store.get("worldpm/2/met") == b"yes"  # not where those of before a restart met
    assert calls[1:] == [False, True, "left"]
    assert out.read_bytes() == b"0\n1\n2\n3\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    calls.clear()
    join(out, Share())
    assert calls == []


def test_only_a_share_of_several_can_be_finished(tmp_path):
    """A whole output that exists is not a finished share: it is refused before by its name."""
    out = tmp_path / "out"
    out.write_text("")
    own, made = Share(1, 2), {"model": "model", "weights": "one"}
    assert not Share().has_finished(out, made)
    assert not own.has_finished(out, made)
    own.path(out).write_text("")
    assert not own.has_finished(out, made)  # nobody knows what these rows were made with
    own.note_finished(out, made)
    assert own.has_finished(out, made)
    with pytest.raises(DataError, match="begun with another model"):
        own.has_finished(out, {**made, "weights": "another"})
    own.begin(out)
    assert not own.has_finished(out, made)


def test_a_rank_alone_leaves_no_row_out(worldpm, monkeypatch, tmp_path, model):
    """RANK without WORLD_SIZE is another program's, and all rows are scored; words are no number
    of processes."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", "1")
    source = write(tmp_path / "rows.jsonl", rows(3))
    found = worldpm("score", source, "--model", model, "-q").rows
    assert [row["id"] for row in found] == [0, 1, 2]
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE is 'two'"):
        share_of_process(None, "-")
