"""`score`: conversations and comparisons -> scores.

    {"id"?, "messages": [...]}               ->  {"id", "score", "num_tokens"}
    {"id"?, "prompt", "replies": [...]}      ->  {"id", "scores", "num_tokens", "best"}
    {"id"?, "prompt", "chosen", "rejected"}  ->  the same, the scores of chosen and rejected

`best` is the index of the highest score, the first of equals. A row without an id is called by its
line number. With `--best` every row also has its prompt and that reply, as "prompt" and
"completion": best of n, and what rejection sampling trains on.
"""

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from worldpm.cli.common import (
    DryRunFlag,
    EngineOption,
    ForceFlag,
    JsonFlag,
    ModelOption,
    QuietFlag,
    ThreadsOption,
    VerboseFlag,
    check_inputs,
    check_output,
    print_json,
    resumable_file,
    say,
)
from worldpm.cli.gating import check_gate, load_gated
from worldpm.cli.planning import announce_plan, follow, scratch_of
from worldpm.cli.resuming import Request, rows_digest, rows_left
from worldpm.cli.sharing import join, share_of_process
from worldpm.errors import ConfigError, DataError
from worldpm.model.memory import parse_bytes
from worldpm.records import Comparison, Score, turns

if TYPE_CHECKING:
    from worldpm.score import Scorer

STDIN = "-"
T = TypeVar("T")


def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[FILE|-]", help="JSON lines, Parquet or a folder of comparisons; - is stdin."
        ),
    ] = STDIN,
    model: ModelOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the rows there, not to stdout.")
    ] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "int8"],
        typer.Option("--dtype", help="Precision of the products; int8 needs --gate."),
    ] = "auto",
    gate: Annotated[
        Path | None,
        typer.Option("--gate", help="Comparisons of yours on which int8 must not change sides."),
    ] = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            help="Most memory to take, like 8GB; what is free if not given. A model that needs more"
            " is streamed from disk.",
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            "--scratch",
            help="Where a streamed job keeps its states, to go on after a stop; beside -o if not"
            " given.",
        ),
    ] = None,
    truncate: Annotated[
        bool,
        typer.Option(
            "--truncate", help="Cut the oldest tokens of a conversation that is too long."
        ),
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Add the score at every token to the rows.")
    ] = False,
    best: Annotated[
        bool,
        typer.Option(
            "--best",
            help="Add the prompt and the best reply to the rows, as prompt and completion for TRL.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the rows of an unfinished -o and go on.")
    ] = False,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    verbose: VerboseFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Conversations or comparisons -> scores in log-odds units, one JSON line a row, in order."""
    inputs = [] if source == STDIN else [Path(source)]
    check_inputs(inputs)
    check_gate(dtype, engine, gate)
    share = share_of_process(out, source)
    quiet = quiet or not share.first
    limit = None if memory is None else parse_bytes(memory)
    if gate is not None and limit is not None:
        raise ConfigError("--gate needs all of the model in memory; leave --memory out")
    if out is not None:
        check_output(out, inputs, force=force)
    elif resume:
        raise DataError("--resume goes on with an unfinished file; say which with -o")
    if dry_run:
        comparisons = (each for _, _, each in _requests(source)) if inputs else None
        announce_plan(
            model, comparisons, out, inputs, memory=limit, scratch=scratch or out,
            as_json=as_json, dtype=dtype, engine=engine, threads=threads, truncate=truncate,
        )  # fmt: skip
        return
    # A file is read through before the model is loaded: its last line may be the bad one. A pipe
    # can be read once only.
    twice = bool(inputs) and (inputs[0].is_file() or inputs[0].is_dir())
    total = sum(1 for _ in _requests(source)) if twice else None
    from worldpm.score import load

    if gate is None:
        scorer = load(
            model, dtype=dtype, engine=engine, threads=threads, truncate=truncate, memory=limit,
            scratch=scratch_of(scratch, out and share.path(out), anew=force and not resume),
        )  # fmt: skip
    else:
        scorer = load_gated(model, gate, threads=threads, truncate=truncate, quiet=quiet)
    if verbose:
        say(scorer.describe())
    streamed = follow(scorer, quiet=quiet)
    if source == STDIN and sys.stdin.isatty():
        say("reading JSON lines from the terminal; Ctrl-D ends them", quiet=quiet)
    started = time.monotonic()
    results: list[Mapping[str, Any]] = []
    rows = replies = tokens = 0
    engine_used = scorer.runner.engine
    identity = {
        "model": scorer.name, "weights": None if out is None else _weights_digest(model),
        "trace": trace,
        "engine": engine_used.name, "dtype": engine_used.dtype,
    } | ({"best": True} if best else {})  # fmt: skip
    output: AbstractContextManager[tuple[IO[bytes] | None, list[bytes]]] = nullcontext((None, []))

    def asked() -> Iterator[Request]:
        return share.rows(_requests(source))

    def of_share() -> Mapping[str, Any]:
        return identity if share.world == 1 else identity | {"rows": rows_digest(asked())}

    finished = out is not None and resume and share.has_finished(out, of_share())
    if out is not None and not finished:
        share.begin(out)
        output = resumable_file(share.path(out), identity, resume=resume, force=force)
    with (
        output as (file, kept),
        rows_left(
            iter(()) if finished else asked(), out and share.path(out), kept, file
        ) as requests,
    ):
        if kept:
            say(f"{out}: goes on after {len(kept):,} rows", quiet=quiet)
        left = None if total is None else share.count(total) - len(kept)
        hidden = quiet or streamed
        for result in _score_rows(scorer, requests, left, trace=trace, best=best, quiet=hidden):
            sizes = result["num_tokens"]
            sizes = sizes if isinstance(sizes, list) else [sizes]
            rows, replies, tokens = rows + 1, replies + len(sizes), tokens + sum(sizes)
            if file is not None:
                file.write(_line(result))
                file.flush()  # what is scored survives whatever comes
            elif as_json:
                results.append(result)
            else:
                print(_line(result).decode(), end="", flush=True)
    if out is not None:
        share.note_finished(out, of_share())
        join(out, share)
    seconds = time.monotonic() - started
    counts = {"rows": rows, "replies": replies, "tokens": tokens, "seconds": seconds}
    if as_json and share.first:
        place = {"results": results} if out is None else {"output": str(out)}
        print_json({"model": scorer.name, "kept_rows": len(kept), **counts, **place})
    say(
        f"{scorer.name}: {rows:,} rows, {replies:,} replies, {tokens:,} tokens in {seconds:.1f} s",
        quiet=quiet,
    )


def _weights_digest(model: str | None) -> str | None:
    """A digest of a folder's weights: all runs call theirs the same. Other names are of one model.

    Of samples, as `fingerprints` takes them: it is made for every job.
    """
    import hashlib

    from worldpm.model.checkpoint import weight_files
    from worldpm.model.fingerprint import fingerprints

    folder = None if model is None else Path(model).expanduser()
    if folder is None or not folder.is_dir():
        return None
    found = fingerprints(weight_files(folder))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _requests(source: str) -> Iterator[Request]:
    """Read the rows, each checked."""
    path = Path(source)
    if source != STDIN and (path.is_dir() or path.suffix == ".parquet"):
        from worldpm.rows import read_comparisons

        for comparison in read_comparisons(path):
            yield False, comparison.id, comparison
        return
    from worldpm.rows import comparison_from_row
    from worldpm.store import parse_json_lines, read_json_lines

    if source == STDIN:
        lines = parse_json_lines(sys.stdin.buffer, "stdin")
    else:
        lines = read_json_lines(path)
    for number, row in lines:
        where = f"{'stdin' if source == STDIN else source}:{number}"
        comparison = comparison_from_row(row, where=where, default_id=str(number))
        keys = {key for key, value in row.items() if value is not None}
        single = not keys & {"replies", "chosen", "rejected", "completions"}
        # Named by its place, so that an error while scoring names file and line.
        own = comparison.id if row.get("id") is None else row["id"]
        yield single, own, replace(comparison, id=where)


def _score_rows(
    scorer: "Scorer",
    requests: Iterable[Request],
    total: int | None,
    *,
    trace: bool,
    best: bool,
    quiet: bool,
) -> Iterator[dict[str, Any]]:
    """Yield the output row of each request, in order, a chunk of them in memory."""
    waiting: deque[Request] = deque()

    def comparisons() -> Iterator[Comparison]:
        for request in requests:
            waiting.append(request)
            yield request[2]

    def row(scores: Sequence[Score]) -> dict[str, Any]:
        single, row_id, comparison = waiting.popleft()
        found = _row(single, row_id, scores)
        return found | _chosen(comparison, scores) if best else found

    if not trace:
        found = scorer.iter_scores(comparisons())
        yield from map(row, with_progress(found, "score", total, quiet=quiet))
        return
    traced = scorer.iter_traces(comparisons())
    for traces in with_progress(traced, "score", total, quiet=quiet):
        pieces = [{"pieces": each.pieces, "scores": each.values} for each in traces]
        yield {**row([each.score for each in traces]), "traces": pieces}


def _chosen(comparison: Comparison, scores: Sequence[Score]) -> dict[str, Any]:
    """The prompt and the best reply as messages, in the form that TRL fine-tunes on."""
    values = [each.value for each in scores]
    reply = comparison.replies[values.index(max(values))]
    return {"prompt": turns(comparison.prompt), "completion": turns(reply)}


def _row(single: bool, row_id: object, scores: Sequence[Score]) -> dict[str, Any]:
    values = [each.value for each in scores]
    sizes = [each.num_tokens for each in scores]
    cut = [each.cut_tokens for each in scores]
    if single:
        row = {"id": row_id, "score": values[0], "num_tokens": sizes[0]}
        return {**row, "cut_tokens": cut[0]} if any(cut) else row
    row = {"id": row_id, "scores": values, "num_tokens": sizes, "best": values.index(max(values))}
    return {**row, "cut_tokens": cut} if any(cut) else row


def with_progress(items: Iterable[T], text: str, total: int | None, *, quiet: bool) -> Iterator[T]:
    """The same, with a bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    yield from track(items, text, total=total, console=console, disable=hidden, transient=True)


def _line(value: Mapping[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
