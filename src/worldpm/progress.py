"""How far a run is, on stderr: the stage, bytes or rows done, the rate, the time left.

with Display(quiet=False) as display:
    display.stage("reading dumps", {"rows.ai.0": 617272, ...})      tasks and their sizes
    run_tasks(..., listen=display.hear)
    display.show("training", 120, 1536, "loss 0.6012 nats")         or one stage, by its own count
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from worldpm.work import Progress as Done


class Display:
    """Shows one stage at a time; says nothing if `quiet`."""

    def __init__(self, *, quiet: bool, console: Console | None = None) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f} %  {task.fields[state]}"),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            disable=quiet,
        )
        self._stage: TaskID | None = None
        self._sizes: Mapping[str, int] = {}
        self._done: dict[str, float] = {}
        self._rows: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def stage(self, name: str, sizes: Mapping[str, int]) -> None:
        """Begin a stage of tasks, each with its size."""
        self._sizes, self._done, self._rows = sizes, {}, {}
        self._begin(name, sum(sizes.values()) or 1)

    def show(self, name: str, done: float, total: float, state: str) -> None:
        """How much of a stage is done, in any unit, and a few words; a new name begins a stage."""
        if self._stage is None or self._bar.tasks[-1].description != name:
            self._begin(name, total)
        assert self._stage is not None
        self._bar.update(self._stage, completed=done, total=total, state=state)

    def _begin(self, name: str, total: float) -> None:
        self._stage = self._bar.add_task(name, total=total, state="")

    def hear(self, progress: Done) -> None:
        """Take what a task says: bytes read of its size, or rows made of them."""
        assert self._stage is not None
        size = self._sizes[progress.task]
        if progress.done:
            self._done[progress.task] = size
        else:
            self._done[progress.task] = min(size, progress.num_bytes or progress.num_rows)
            self._rows[progress.task] = progress.num_rows
        elapsed = self._bar.tasks[-1].elapsed or 0.0
        rows = sum(self._rows.values())
        ended = sum(self._done.get(name) == size for name, size in self._sizes.items())
        state = f"{ended} of {len(self._sizes)}"
        if rows and elapsed:
            state += f", {rows:,} rows, {rows / elapsed:,.0f} a second"
        state += f", {progress.task.partition('.')[2].rpartition('.')[0]}"
        self._bar.update(self._stage, completed=sum(self._done.values()), state=state)
