"""`score` in several processes, a GPU each: torchrun starts them, each scores every n-th row.

    torchrun --nproc-per-node 8 -m worldpm score rows.jsonl -o scores.jsonl

Process r of n scores rows r, r + n, r + 2n, ... into a file of its own beside the output; when all
are done, the first one lays them together in the order of the input. After a failure the same
command with --resume goes on: a process whose rows are all there has nothing to do.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from worldpm.cli.common import BEGUN_OTHERWISE
from worldpm.errors import ConfigError, DataError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """Process `rank` of `world`; alone it is 0 of 1."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def rows(self, all_rows: Iterator[T]) -> Iterator[T]:
        """The rows that are this process's."""
        return islice(all_rows, self.rank, None, self.world)

    def count(self, total: int) -> int:
        """How many of `total` rows are this process's."""
        return len(range(self.rank, total, self.world))

    def path(self, out: Path) -> Path:
        """Where this process writes: `out` itself when it is alone."""
        return out if self.world == 1 else _part(out, self.rank, self.world)

    def begin(self, out: Path) -> None:
        """Forget what an earlier job noted of its rows, which will be replaced."""
        if self.world > 1:
            _note(self.path(out)).unlink(missing_ok=True)

    def note_finished(self, out: Path, identity: Mapping[str, Any]) -> None:
        """Write beside this one of several processes' rows what they were made with."""
        from worldpm.jsonfiles import json_bytes
        from worldpm.store import write_atomic

        if self.world > 1:
            write_atomic(_note(self.path(out)), json_bytes(identity))

    def has_finished(self, out: Path, identity: Mapping[str, Any]) -> bool:
        """Whether this one of several processes wrote all its rows before another one failed.

        DataError if they were made with another `identity`.
        """
        import orjson

        from worldpm.jsonfiles import json_bytes

        note = _note(self.path(out))
        if self.world == 1 or not self.path(out).exists() or not note.exists():
            return False
        if orjson.loads(note.read_bytes()) != orjson.loads(json_bytes(identity)):
            raise DataError(BEGUN_OTHERWISE.format(path=out))
        return True


def share_of_process(out: Path | None, source: str) -> Share:
    """This process's share, by the variables that torchrun sets.

    Raises ConfigError where several processes cannot share a job: without an output file, or from
    standard input, which only one of them can read, or where torchrun did not start them.
    """
    world = _number("WORLD_SIZE", 1)
    # A RANK alone is another program's: taken for ours, it would leave the first rows out.
    share = Share(_number("RANK", 0) if world > 1 else 0, world)
    if share.world > 1 and (out is None or source == "-"):
        raise ConfigError("several processes need a file to read and one to write: FILE -o OUT")
    if share.world > 1:
        from worldpm.train.parallel import check_launch

        check_launch(share.world)
    return share


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal():
        raise ConfigError(f"{variable} is {text!r}, not a number; unset it, or start with torchrun")
    return int(text)


def join(out: Path, share: Share) -> None:
    """Wait until every process has written its rows, then lay them together as `out`."""
    if share.world == 1:
        return
    import torch.distributed as dist

    from worldpm.train.parallel import met

    # One that had nothing left to do waits for one with hours to go: not the usual half an hour.
    with met("gloo", timedelta(days=365)):
        dist.barrier()
        if share.first:
            _interleave(out, share.world)
        dist.barrier()


def _part(out: Path, rank: int, world: int) -> Path:
    return out.with_name(f".{out.name}.{rank}-of-{world}")


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _interleave(out: Path, world: int) -> None:
    from worldpm.store import whole_file

    parts = [_part(out, rank, world) for rank in range(world)]
    with whole_file(out) as temporary, ExitStack() as stack:
        files = [stack.enter_context(part.open("rb")) for part in parts]
        target = stack.enter_context(temporary.open("wb"))
        # Row i is line i // world of part i % world: round and round until a part ends.
        while line := files[0].readline():
            target.write(line)
            for file in files[1:]:
                target.write(file.readline())
    for part in parts:
        _note(part).unlink(missing_ok=True)  # first: rows without it are scored again
        part.unlink()
