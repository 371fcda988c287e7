"""What a run says while it runs: JSON lines to metrics.jsonl, a progress bar to stderr."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from worldpm.errors import WorldPMError
from worldpm.store import write_atomic

PLAIN_EVERY_SECONDS = 30.0


class RunLog:
    """Appends records to RUN/metrics.jsonl and shows them; a context manager."""

    def __init__(self, run: Path, *, quiet: bool) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.last_validation: dict[str, Any] = {}
        self._path = run / "metrics.jsonl"
        self._file = self._path.open("ab", buffering=0)
        # Text is shown as it stands: a path or a message may hold what looks like markup.
        self._console = Console(stderr=True, quiet=quiet, markup=False, highlight=False)
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

    def rewind(self, step: int, validated: int | None) -> None:
        """Cut away what a run that goes on from `step` will log again, and lines cut short.

        That is every later step, and validations later than the one at step `validated`.
        """
        kept = []
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # the process was killed while it wrote this line
            last = validated if record.get("kind") == "validation" else step
            if last is None or record.get("step", 0) > last:
                continue
            kept.append(line)
            if record.get("kind") == "validation":
                self.last_validation = _without_kind(record)
        self._file.close()
        write_atomic(self._path, b"".join(kept))
        self._file = self._path.open("ab", buffering=0)

    def record(self, record: dict[str, Any]) -> None:
        """Keep one record, and show it; WorldPMError if it cannot be written."""
        try:
            self._file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise WorldPMError(
                f"{self._path}: could not be written: {error.strerror}; go on with --resume"
            ) from error
        if record.get("kind") == "step":
            self._show_step(record)
        elif record.get("kind") == "validation":
            self.last_validation = _without_kind(record)
            self._console.print(
                f"step {record['step']}: validation loss {record['validation_loss_nats']:.4f} "
                f"nats, accuracy {record['validation_accuracy']:.3f}"
            )
        else:
            self._console.print(str(record.get("note", record)))

    def _show_step(self, record: dict[str, Any]) -> None:
        if not record["skipped"]:
            loss = record["loss_nats"]
            self._smooth = loss if self._smooth is None else 0.95 * self._smooth + 0.05 * loss
        text = "loss not finite" if self._smooth is None else f"loss {self._smooth:.4f} nats"
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


def _without_kind(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "kind"}
