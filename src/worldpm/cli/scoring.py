"""`score` and `compare`: conversations and comparisons -> scores.

    {"id"?, "messages": [...]}               ->  {"id", "score", "num_tokens"}
    {"id"?, "prompt", "replies": [...]}      ->  {"id", "scores", "num_tokens", "best"}
    {"id"?, "prompt", "chosen", "rejected"}  ->  the same, the scores of chosen and rejected

`best` is the index of the highest score, the first of equals. A row without an id is called by its
line number.
"""

import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldpm.cli.common import (
    DryRunFlag,
    DtypeOption,
    ForceFlag,
    JsonFlag,
    ModelOption,
    QuietFlag,
    announce,
    check_inputs,
    check_output,
    new_file,
    print_json,
    say,
    stdout,
)
from worldpm.errors import DataError
from worldpm.records import Comparison, Message, Score

if TYPE_CHECKING:
    from worldpm.score import Scorer

STDIN = "-"


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
    dtype: DtypeOption = "auto",
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Conversations or comparisons -> scores in log-odds units, one JSON line a row, in order."""
    inputs = [] if source == STDIN else [Path(source)]
    check_inputs(inputs)
    if out is not None:
        check_output(out, inputs, force=force)
    if dry_run:
        values = {"model": model or "the embedded default", "dtype": dtype}
        announce(inputs or ["stdin"], out or Path("stdout"), values, as_json=as_json)
        return
    # A file is read through before the model is loaded: its last line may be the bad one. A pipe
    # can be read once only.
    twice = bool(inputs) and (inputs[0].is_file() or inputs[0].is_dir())
    total = sum(1 for _ in _requests(source)) if twice else None
    from worldpm.score import load

    scorer = load(model, dtype=dtype)
    if source == STDIN and sys.stdin.isatty():
        say("reading JSON lines from the terminal; Ctrl-D ends them", quiet=quiet)
    started = time.monotonic()
    results: list[Mapping[str, Any]] = []
    replies = tokens = rows = 0
    with nullcontext() if out is None else new_file(out) as file:
        for result, scores in _score_rows(scorer, source, total, quiet=quiet):
            rows, replies = rows + 1, replies + len(scores)
            tokens += sum(each.num_tokens for each in scores)
            if file is not None:
                file.write(_line(result))
            elif as_json:
                results.append(result)
            else:
                print(_line(result).decode(), end="", flush=True)
    seconds = time.monotonic() - started
    counts = {"rows": rows, "replies": replies, "tokens": tokens, "seconds": seconds}
    if as_json:
        place = {"results": results} if out is None else {"output": str(out)}
        print_json({"model": scorer.name, **counts, **place})
    say(
        f"{scorer.name}: {rows:,} rows, {replies:,} replies, {tokens:,} tokens in {seconds:.1f} s",
        quiet=quiet,
    )


def _requests(source: str) -> Iterator[tuple[bool, object, Comparison]]:
    """Yield (is a single conversation, id to give back, comparison named by its place)."""
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
    scorer: "Scorer", source: str, total: int | None, *, quiet: bool
) -> Iterator[tuple[dict[str, Any], Sequence[Score]]]:
    """Yield (output row, scores) for each request, in order, a chunk of them in memory."""
    waiting: deque[tuple[bool, object]] = deque()

    def comparisons() -> Iterator[Comparison]:
        for single, row_id, comparison in _requests(source):
            waiting.append((single, row_id))
            yield comparison

    for scores in with_progress(scorer.iter_scores(comparisons()), "score", total, quiet=quiet):
        single, row_id = waiting.popleft()
        values = [each.value for each in scores]
        sizes = [each.num_tokens for each in scores]
        if single:
            yield {"id": row_id, "score": values[0], "num_tokens": sizes[0]}, scores
        else:
            best = values.index(max(values))
            yield {"id": row_id, "scores": values, "num_tokens": sizes, "best": best}, scores


def with_progress(
    scores: Iterable[tuple[Score, ...]], text: str, total: int | None, *, quiet: bool
) -> Iterator[tuple[Score, ...]]:
    """The same, with a bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    yield from track(scores, text, total=total, console=console, disable=hidden, transient=True)


def _line(value: Mapping[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def compare(
    replies: Annotated[list[str], typer.Argument(metavar="REPLY REPLY...")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What the user asked.")],
    model: ModelOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Rank replies to one prompt, with the probability that each beats each."""
    if len(replies) < 2:
        raise DataError("one reply has nothing to be compared with; give two or more")
    from worldpm.score import load

    scorer = load(model, dtype=dtype)
    conversations = tuple((Message("assistant", reply),) for reply in replies)
    asked = Comparison("compare", "command", None, (Message("user", prompt),), conversations)
    (scores,) = scorer.iter_scores([asked])
    say(f"model: {scorer.name}", quiet=quiet)
    if as_json:
        print_json({"model": scorer.name, **_ranking(replies, scores)})
    else:
        _print_ranking(asked, scores)


def beats(first: float, second: float) -> float:
    """P(first beats second) of two scores in log-odds units: the logistic sigmoid of a - b."""
    return 0.5 * (1.0 + math.tanh((first - second) / 2.0))


def _ranking(replies: Sequence[str], scores: Sequence[Score]) -> dict[str, Any]:
    from worldpm.report.ranking import best_probabilities, ranked

    values = [each.value for each in scores]
    chances = best_probabilities(values)
    return {
        "ranking": [
            {
                "reply": index,
                "text": replies[index],
                "score": values[index],
                "num_tokens": scores[index].num_tokens,
                "p_best": chances[index],
            }
            for index in ranked(values)
        ],
        "beats": [[beats(row, column) for column in values] for row in values],
    }


def _print_ranking(asked: Comparison, scores: Sequence[Score]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from worldpm.report.ranking import preview, ranked
    from worldpm.report.tables import ranking_table

    order = ranked([each.value for each in scores])
    table = Table(box=box.SIMPLE_HEAD, title="P(row beats column)", title_justify="left")
    table.add_column("reply", max_width=40, no_wrap=True, overflow="ellipsis")
    for place in range(len(order)):
        table.add_column(str(place + 1), justify="right", no_wrap=True)
    for place, row in enumerate(order):
        chances = [
            "" if row == column else f"{beats(scores[row].value, scores[column].value):.1%}"
            for column in order
        ]
        table.add_row(Text(f"{place + 1}  {preview(asked.replies[row])}"), *chances)
    console = stdout()
    console.print(ranking_table(asked, scores))
    console.print(table)
