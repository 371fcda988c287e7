"""What a run says while it runs: JSON lines to metrics.jsonl, a progress bar to stderr."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY_SECONDS = 30.0


class RunLog:
    """Appends records to RUN/metrics.jsonl and shows them; a context manager."""

    def __init__(self, run: Path, *, quiet: bool) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.last_validation: dict[str, Any] = {}
        self._file = (run / "metrics.jsonl").open("ab", buffering=0)
        self._console = Console(stderr=True, quiet=quiet)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=None)
        self._said = 0.0
        self._smooth: float | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._file.close()

    def note(self, text: str) -> None:
        """A remark, kept with the numbers."""
        self.record({"kind": "note", "note": text})

    def record(self, record: dict[str, Any]) -> None:
        """Keep one record, and show it."""
        self._file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        if record.get("kind") == "step":
            self._show_step(record)
        elif record.get("kind") == "validation":
            self.last_validation = {k: v for k, v in record.items() if k != "kind"}
            self._console.print(
                f"step {record['step']}: validation loss {record['validation_loss_nats']:.4f} "
                f"nats, accuracy {record['validation_accuracy']:.3f}"
            )
        else:
            self._console.print(record.get("note", record))

    def _show_step(self, record: dict[str, Any]) -> None:
        loss = record["loss_nats"]
        self._smooth = loss if self._smooth is None else 0.95 * self._smooth + 0.05 * loss
        text = f"loss {self._smooth:.4f} nats"
        self._progress.update(
            self._task, description=text, total=record["steps"], completed=record["step"]
        )
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said > PLAIN_EVERY_SECONDS:
            self._said = now
            left = record["seconds"] / record["step"] * (record["steps"] - record["step"])
            rate = record["tokens"] / record["seconds"]
            self._console.print(
                f"step {record['step']}/{record['steps']} {text}, {rate:,.0f} tokens/s, "
                f"{left / 60:.0f} min left"
            )
