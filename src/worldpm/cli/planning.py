"""`score --memory`: what the job would take, and how far a streamed one is."""

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldpm.cli.common import announce, say
from worldpm.records import Comparison

if TYPE_CHECKING:
    from worldpm.model.forecast import Progress
    from worldpm.score import Scorer

SECONDS_BETWEEN_LINES = 30.0  # in a log; on a terminal one line is written over and over


def announce_plan(
    model: str | None,
    comparisons: Iterable[Comparison] | None,
    out: Path | None,
    inputs: list[Path],
    *,
    memory: int | None,
    scratch: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """A dry run's text, with the plan where `model` is a folder: other models may need a network.

    `comparisons` None (standard input, which can be read once only) leaves the job's share out.
    """
    called = {"model": model or "the embedded default", **settings}
    plan = None
    if model is not None and Path(model).expanduser().is_dir():
        from worldpm.score import plan_score

        plan = plan_score(model, comparisons, memory=memory, scratch=scratch, **settings)
    reads: list[Path | str] = [*inputs] or ["stdin"]
    writes = out or Path("stdout")
    if as_json:
        called["plan"] = None if plan is None else {**asdict(plan), "speeds": None}
        if plan is not None and plan.speeds is not None:
            called["plan"]["speeds"] = plan.speeds._asdict()
    announce(reads, writes, called, as_json=as_json)
    if plan is not None and not as_json:
        print(plan)


def scratch_of(scratch: Path | None, out: Path | None, *, anew: bool) -> Path | None:
    """The folder for a streamed job's states: beside the output if there is one and none is given.

    `anew` empties the one beside the output.
    """
    if scratch is not None or out is None:
        return scratch
    folder = out.with_name(f".{out.name}.scratch")
    if anew and folder.is_dir():
        from worldpm.model.states import discard_scratch

        discard_scratch(folder)
    return folder


def follow(scorer: "Scorer", *, quiet: bool) -> bool:
    """Whether weights are streamed; if so, its remarks and progress go to stderr from now on."""
    from worldpm.model.streaming import Streaming

    runner = scorer.runner
    if not isinstance(runner, Streaming):
        return False
    runner.say = lambda text: say(text, quiet=quiet)
    if quiet:
        return True
    say("the weights do not fit in memory and are streamed, a layer at a time", quiet=quiet)
    if runner.scratch is not None:
        say(f"states are kept in {runner.scratch}: after a stop, the same command goes on")
    terminal = sys.stderr.isatty()
    shown = time.monotonic()

    def show(progress: "Progress") -> None:
        nonlocal shown
        last = (
            progress.layers_done + 1 == progress.layers and progress.tokens_done == progress.tokens
        )
        if terminal:
            print(f"\r\x1b[K{progress}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or time.monotonic() - shown > SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            say(str(progress))

    runner.on_progress = show
    return True
