"""`compare`: rank replies to one prompt, with the probability that each beats each."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from worldpm.cli.common import (
    DtypeOption,
    EngineOption,
    JsonFlag,
    ModelOption,
    QuietFlag,
    print_json,
    say,
    stdout,
)
from worldpm.errors import DataError
from worldpm.records import Comparison, Message, Score
from worldpm.results import Trace


def compare(
    replies: Annotated[list[str], typer.Argument(metavar="REPLY REPLY...")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What the user asked.")],
    model: ModelOption = None,
    dtype: DtypeOption = "auto",
    engine: EngineOption = "auto",
    trace: Annotated[
        bool, typer.Option("--trace", help="Show how the best two replies' scores came about.")
    ] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Rank replies to one prompt, with the probability that each beats each."""
    if len(replies) < 2:
        raise DataError("one reply has nothing to be compared with; give two or more")
    from worldpm.score import load

    scorer = load(model, dtype=dtype, engine=engine)
    conversations = tuple((Message("assistant", reply),) for reply in replies)
    asked = Comparison("compare", "command", None, (Message("user", prompt),), conversations)
    (scores,) = scorer.iter_scores([asked])
    say(f"model: {scorer.name}", quiet=quiet)
    if as_json:
        found = _ranking(replies, scores)
        if trace:
            (traces,) = scorer.iter_traces([asked])
            found["traces"] = [{"pieces": t.pieces, "scores": t.values} for t in traces]
        print_json({"model": scorer.name, **found})
    else:
        _print_ranking(asked, scores)
    if trace and not as_json:
        (traces,) = scorer.iter_traces([asked])
        _print_parting(traces, [each.value for each in scores])


def _ranking(replies: Sequence[str], scores: Sequence[Score]) -> dict[str, Any]:
    from worldpm.report.ranking import beats, best_probabilities, ranked

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

    from worldpm.report.ranking import beats, preview, ranked
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


def _print_parting(traces: Sequence[Trace], values: Sequence[float]) -> None:
    """The scores of the best two replies along their tokens, from where they part."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from worldpm.report.ranking import one_line, ranked

    best, second = (traces[i] for i in ranked(values)[:2])
    first = best.parts_from(second)
    table = Table(box=box.SIMPLE_HEAD, title="Score after each token", title_justify="left")
    for name, justify in (("1", "left"), ("score", "right"), ("2", "left"), ("score ", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for place in range(first, max(len(best.pieces), len(second.pieces))):
        row: list[Text] = []
        for each in (best, second):
            there = place < len(each.pieces)
            row.append(Text(one_line(each.pieces[place]) if there else ""))
            row.append(Text(f"{each.values[place]:+.4f}" if there else ""))
        table.add_row(*row)
    stdout().print(table)
