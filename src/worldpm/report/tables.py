"""Rich tables for the terminal: rankings of replies, and evaluations beside their floors.

    comparison, scores -> ranking_table -> rich.print
    the JSON of evaluations -> evaluation_table -> rich.print

Text from data is put in as plain `Text`: a reply cannot add markup, colours or lines.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from worldpm.errors import DataError, WorldPMError
from worldpm.records import Comparison, Score
from worldpm.report.ranking import (
    best_probabilities,
    preview,
    prompt_label,
    ranked,
    score_digits,
)
from worldpm.report.sureness import MOST_P, sure_sign

LENGTH_FLOOR = "longer (characters)"
EVALUATION_FORMAT = "worldpm-evaluation/1"
_STYLES = {1: "bold green", 0: "", -1: "bold red"}  # of what is surely better, or surely worse


def ranking_table(comparison: Comparison, scores: Sequence[Score]) -> Table:
    """The replies of one comparison, best first: score, P(best), tokens, and how each begins.

    Scores are in log-odds units; P(best) is their softmax (see `best_probabilities`). Replies
    known to be best (beaten by none, while beating another) carry a star.
    """
    if len(scores) != len(comparison.replies):
        raise WorldPMError(
            f"comparison {comparison.id!r}: {len(scores)} scores for "
            f"{len(comparison.replies)} replies; give one for each"
        )
    values = [score.value for score in scores]
    chances, digits = best_probabilities(values), score_digits(values)
    winners = {e.winner for e in comparison.better} - {e.loser for e in comparison.better}
    table = Table(
        title=Text(prompt_label(comparison), overflow="ellipsis", no_wrap=True),
        title_justify="left",
        title_style="bold",
        caption="score in log-odds; P(best) = softmax of the scores"
        + ("; * known to be best" if winners else ""),
        caption_justify="left",
        expand=True,
    )
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("P(best)", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("reply", ratio=1, no_wrap=True, overflow="ellipsis")
    for place, reply in enumerate(ranked(values)):
        table.add_row(
            f"{place + 1}{'*' if reply in winners else ' '}",
            f"{values[reply]:+.{digits}f}",
            f"{chances[reply]:.1%}",
            f"{scores[reply].num_tokens:,}",
            Text(preview(comparison.replies[reply])),
            style="bold" if place == 0 else "",
        )
    return table


def evaluation_lines(evaluation: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The lines of an evaluation's JSON; DataError if it is not one."""
    if evaluation.get("format") != EVALUATION_FORMAT or not evaluation.get("lines"):
        raise DataError(
            f"not an evaluation of format {EVALUATION_FORMAT}; give what `worldpm eval` wrote"
        )
    lines: Sequence[Mapping[str, Any]] = evaluation["lines"]
    return lines


def evaluation_table(
    evaluations: Sequence[Mapping[str, Any]], kinds: Sequence[str] = ("all",)
) -> Table:
    """Accuracy and loss of each suite (and of its groups of `kinds`) beside the floors.

    `evaluations` are the JSON of `worldpm.evals.run.to_json`. Accuracy is in per cent, a tie worth
    one half; loss in nats, ln 2 = 0.693 being a coin's; the gain over the longer reply in points of
    accuracy, bold green or red where it is sure (see `sure_sign`).
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption=Text(f"[low, high]: 95 % intervals. Chance: 50.0 %, {math.log(2):.3f} nats."),
        caption_justify="left",
    )
    table.add_column("suite", overflow="fold")
    for name in ("n", "accuracy %", "loss, nats", "longer %", "over longer"):
        table.add_column(name, justify="right", no_wrap=True)
    several = len({evaluation.get("model") for evaluation in evaluations}) > 1
    for evaluation in evaluations:
        for line in evaluation_lines(evaluation):
            if line["kind"] == "all" or line["kind"] in kinds:
                first, *rest = _cells(line)
                if several and line["kind"] == "all":
                    first = Text.assemble(first, (f"\n{evaluation.get('model')}", "dim"))
                table.add_row(first, *rest)
    return table


def contrast_table(contrasts: Sequence[Mapping[str, Any]]) -> Table:
    """Paired differences of models, whole sets only: points of accuracy, nats, and q-values."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption=Text("q: p by permutation, Benjamini-Hochberg among all the tests of the report."),
        caption_justify="left",
    )
    table.add_column("suite", overflow="fold")
    for name in ("accuracy, points", "q", "loss, nats", "q "):
        table.add_column(name, justify="right", no_wrap=True)
    for each in contrasts:
        if each["kind"] != "all":
            continue
        label = Text.assemble(each["group"], (f"\n{each['a']} less {each['b']}", "dim"))
        cells: list[Text] = []
        for measure, unit, form, better in (
            ("accuracy", 100, "+.1f", 1),
            ("loss", 1, "+.3f", -1),
        ):
            found, q = each[measure], each[f"q_{measure}"]
            sign = 0 if q > MOST_P else better * sure_sign(found)
            cells += [
                _with_interval(found["value"], found["interval"], unit, form, _STYLES[sign]),
                Text(f"{q:.4f}"),
            ]
        table.add_row(label, *cells)
    return table


def probe_table(probes: Mapping[str, Any]) -> Table:
    """What each edit did to the pairs of one set under one model."""
    table = Table(
        title=Text(f"{probes['suite']}, {probes['model']}: edited replies"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption=Text(
            "shift: mean change of the score; lifted: the lower reply, edited, wins; dropped: the "
            "higher one, edited, loses; right: accuracy before and after the worse one is edited."
        ),
        caption_justify="left",
    )
    table.add_column("edit", no_wrap=True)
    for name in ("pairs", "shift", "lifted %", "dropped %", "right %"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in probes["outcomes"]:
        table.add_row(
            Text(each["name"]),
            f"{each['num_pairs']:,}",
            _with_interval(each["shift"], each["shift_interval"], 1, "+.2f"),
            _with_interval(each["lifted"], each["lifted_interval"], 100, ".1f"),
            _with_interval(each["dropped"], each["dropped_interval"], 100, ".1f"),
            f"{100 * each['plain_accuracy']:.1f}\n-> {100 * each['accuracy']:.1f}",
        )
    return table


def _cells(line: Mapping[str, Any]) -> list[Text]:
    outcome, gain = line["outcome"], line["over_length"]
    whole = line["kind"] == "all"
    return [
        Text(outcome["name"] if whole else f"  {outcome['name']}", style="bold" if whole else ""),
        Text(f"{outcome['num_comparisons']:,}"),
        _with_interval(outcome["accuracy"], outcome["accuracy_interval"], 100, ".1f"),
        _with_interval(outcome["loss_nats"], outcome["loss_interval"], 1, ".3f"),
        Text(f"{100 * line['floors'][LENGTH_FLOOR]['accuracy']:.1f}"),
        _with_interval(gain["value"], gain["interval"], 100, "+.1f", _STYLES[sure_sign(gain)]),
    ]


def _with_interval(
    value: float, interval: Sequence[float], unit: float, form: str, style: str = ""
) -> Text:
    """The value, and beneath it its interval, so that a row fits a terminal of 80 columns."""
    low, high = (format(unit * end, form) for end in interval)
    return Text.assemble((format(unit * value, form), style), (f"\n[{low}, {high}]", "dim"))
