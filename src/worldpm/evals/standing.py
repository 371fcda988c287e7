"""A protocol's figures with the published ones beside them, as plain values.

    scored = {"rm-bench": (comparisons, scores)}
    standing("worldpm", scored, [find("paper:WorldPM-72B-RLHFLow")])
    -> {"format", "protocol", "figures": [...], "controlled": [...], "coverage": {...},
        "against": [{"name", "rows", "unmatched"}]}

What `worldpm eval --protocol --against` writes and `worldpm.report.standing` shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, get_args

from worldpm.evals.figures import Figure
from worldpm.evals.protocol_worldpm import MEANS, ROWS
from worldpm.evals.protocols import Scored, protocol
from worldpm.evals.published import Control, Published, PublishedRow, beside
from worldpm.evals.suite_files import coverage

FORMAT = "worldpm-figures/1"


def standing(name: str, scored: Scored, against: Sequence[Published] = ()) -> dict[str, Any]:
    """Every figure of the protocol that the suites allow, and what others published of the same.

    "coverage" says of each suite that is not whole how much of it there was.

    "controlled" are figures under control of style, where something was published so. Under
    "against", `rows` have ours and theirs in percent with the caveats between them, and `unmatched`
    each published figure that has none of ours beside it, with the reason.
    """
    chosen = protocol(name)
    figures: dict[Control, tuple[Figure, ...]] = {"none": chosen.figures(scored)}
    controlled = any(row.control == "style" for each in against for row in each.rows)
    if controlled and chosen.controlled is not None:
        figures["style"] = chosen.controlled(scored)
    found = {suite: coverage(suite, len(read)) for suite, (read, _) in scored.items()}
    part = {suite: text for suite, text in found.items() if text is not None}
    return {
        "format": FORMAT,
        "protocol": name,
        "figures": [asdict(each) for each in figures["none"]],
        "controlled": [asdict(each) for each in figures.get("style", ())],
        "coverage": part,
        "against": [_column(each, figures, name, part) for each in against],
    }


def _suites_of(row: PublishedRow) -> tuple[str, ...]:
    """The suites that go into a row: its own, or those of the figures that it is the mean of."""
    if row.suite:
        return (row.suite,)
    kind, members = MEANS.get((row.group or "", row.figure), ("", ()))
    return tuple(
        dict.fromkeys(each.suite for each in ROWS if each.group == kind and each.name in members)
    )


def _column(
    published: Published,
    figures: Mapping[Control, Sequence[Figure]],
    protocol_name: str,
    part: Mapping[str, str],
) -> dict[str, Any]:
    """One published model: each of its rows by the control of style it was printed under."""
    rows, unmatched = [], []
    for control in get_args(Control):
        own = replace(
            published, rows=tuple(row for row in published.rows if row.control == control)
        )
        found = beside(own, figures.get(control, ()), protocol=protocol_name, control=control)
        for row, figure, between in found.pairs:
            caveats = [*between]
            if row.count is None:
                caveats += [part[suite] for suite in _suites_of(row) if suite in part]
            rows.append(
                {
                    "figure": row.figure,
                    "group": row.group,
                    "suite": row.suite,
                    "control": control,
                    "ours_percent": figure.percent,
                    "published_percent": row.percent,
                    "caveats": caveats,
                    "source": row.source,
                    "url": row.url,
                }
            )
        for row, reason in found.unmatched:
            unmatched.append(
                {
                    "figure": row.figure,
                    "control": control,
                    "published_percent": row.percent,
                    "reason": reason,
                    "source": row.source,
                }
            )
    return {"name": published.name, "rows": rows, "unmatched": unmatched}
