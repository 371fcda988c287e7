"""What a run says while it runs: JSON lines to metrics.jsonl, a progress bar to stderr."""

import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from rich.console import Console

from worldpm.errors import WorldPMError
from worldpm.events import AFTER, BEFORE, newest_event
from worldpm.progress import Display
from worldpm.store import write_atomic

PLAIN_EVERY_SECONDS = 30.0


class RunLog:
    """Appends records to RUN/metrics.jsonl and shows them; a context manager.

    Without a run, which a process has that another one speaks for, nothing is kept or shown.
    """

    def __init__(self, run: Path | None, *, quiet: bool) -> None:
        self.last_validation: dict[str, Any] = {}
        self._looks: dict[int, dict[str, Any]] = {}
        self._trace: deque[dict[str, Any]] = deque(maxlen=BEFORE + 1 + AFTER)
        self._file = None
        if run is not None:
            run.mkdir(parents=True, exist_ok=True)
            self._path = run / "metrics.jsonl"
            self._file = self._path.open("ab", buffering=0)
        quiet = quiet or run is None
        # Text is shown as it stands: a path or a message may hold what looks like markup.
        self._console = Console(stderr=True, quiet=quiet, markup=False, highlight=False)
        self._display = Display(quiet=quiet or not self._console.is_terminal, console=self._console)
        self._said = 0.0
        self._smooth: float | None = None

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._display.__exit__(kind, error, trace)
        if self._file is not None:
            self._file.close()

    def note(self, text: str) -> None:
        """A remark, kept with the numbers."""
        self.record({"kind": "note", "note": text})

    def rewind(self, step: int, validated: int | None) -> None:
        """Cut away what a run that goes on from `step` will log again, and lines cut short.

        That is every later step, and validations later than the one at step `validated`.
        """
        if self._file is None:
            return
        kept = []
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # the process was killed while it wrote this line
            last = validated if record.get("kind") == "validation" else step
            if last is None or record.get("step", 0) > last or record.get("kind") == "best":
                continue
            kept.append(line)
            self._remember(record)
        self._file.close()
        write_atomic(self._path, b"".join(kept))
        self._file = self._path.open("ab", buffering=0)

    def record(self, record: dict[str, Any]) -> None:
        """Keep one record, and show it; WorldPMError if it cannot be written."""
        if self._file is None:
            return
        try:
            left = memoryview(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            while left:  # a disk that fills up takes a part, and refuses the rest
                left = left[self._file.write(left) :]
        except OSError as error:
            raise WorldPMError(
                f"{self._path}: could not be written: {error.strerror}; go on with --resume"
            ) from error
        self._remember(record)
        if record["kind"] == "step":
            self._show_step(record)
            self._look_for_event(record)
        elif record["kind"] in ("validation", "best"):
            self._show_validation(record)
        else:
            self._console.print(str(record.get("note", record)))

    def _remember(self, record: dict[str, Any]) -> None:
        """What later lines need of this one."""
        kind = record.get("kind")
        if kind == "validation":
            look = {key: value for key, value in record.items() if key != "kind"}
            self.last_validation = self._looks[record["step"]] = look
        elif kind == "best" and record["kept"]:  # what RUN/model is from now on
            self.last_validation = self._looks.get(record["step"], self.last_validation)
        elif kind == "step" and not record["skipped"]:
            self._trace.append(record)

    def _look_for_event(self, record: dict[str, Any]) -> None:
        if record["skipped"] or len(self._trace) < BEFORE + 1 + AFTER:
            return
        trace = list(self._trace)
        losses, norms = ([step[key] for step in trace] for key in ("loss_nats", "grad_norm"))
        event = newest_event(losses, norms)
        if event is not None:
            there = trace[event.place]
            at = {"step": record["step"], "at_step": there["step"], "at_pairs": there["pairs"]}
            self.record({"kind": "event", **at, "note": f"step {there['step']}: {event}"})

    def _show_validation(self, record: dict[str, Any]) -> None:
        look = self._looks.get(record["step"])
        if look is None or look["validation_loss_nats"] is None:
            return
        words = "lowest" if record["kind"] == "best" else "validation"
        self._console.print(
            f"step {record['step']}: {words} loss {look['validation_loss_nats']:.4f} nats, "
            f"accuracy {look['validation_accuracy']:.3f}"
        )

    def _show_step(self, record: dict[str, Any]) -> None:
        if not record["skipped"]:
            loss = record["loss_nats"]
            if loss is not None:
                self._smooth = loss if self._smooth is None else 0.95 * self._smooth + 0.05 * loss
        text = "loss not finite" if self._smooth is None else f"loss {self._smooth:.4f} nats"
        self._display.show("training", record["step"], record["steps"], text)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said > PLAIN_EVERY_SECONDS:
            self._said = now
            left = record["seconds"] / record["step"] * (record["steps"] - record["step"])
            rate = record["tokens"] / record["seconds"]
            self._console.print(
                f"step {record['step']}/{record['steps']} {text}, {rate:,.0f} tokens/s, "
                f"{left / 60:.0f} min left"
            )
