"""`worldpm pairs`, without torch: threads -> comparisons.

dumps -> forum -> threads -> pairs -> comparisons
"""

from pathlib import Path
from typing import Annotated

import typer

from worldpm.cli.common import (
    DryRunFlag,
    ForceFlag,
    JsonFlag,
    OutFolder,
    QuietFlag,
    SetOption,
    announce,
    check_inputs,
    check_output,
)
from worldpm.cli.filtering import FilterOption, load_filter
from worldpm.cli.show import report_made


def pairs(
    threads: Annotated[list[Path], typer.Argument(help="Folders that `worldpm forum` made.")],
    out: OutFolder,
    max_replies: Annotated[
        int | None, typer.Option(min=2, help="Answers kept of one thread [default: 8].")
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(metavar="SITE", help="A site that goes to test as a whole; repeat it."),
    ] = None,
    filter_with: FilterOption = None,
    overrides: SetOption = None,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Threads -> comparisons: answers as replies, votes as edges, split by a hash.

    Settings for --set, all in docs/reference/data.md with what the paper found about each:
    pairs_per_thread, min_margin, max_margin, accepted_bonus, certainty, exposure.rule,
    topics.power, filter.low, filter.high, seed, split.validation, split.test, split.seed.
    """
    from worldpm.config import load_settings
    from worldpm.pairs.sample import PairSettings

    changes = list(overrides or [])
    if max_replies is not None:
        changes.append(f"max_replies={max_replies}")
    if held_out:
        changes.append(f"split.held_out_sources={held_out!r}")
    settings = load_settings(PairSettings, None, changes)
    check_inputs(threads)
    check_output(out, threads, force=force)
    if dry_run:
        announce(threads, out, settings.model_dump(mode="json"), as_json=as_json)
        return
    from worldpm.pairs.build import build_pairs

    chosen = None if filter_with is None else (filter_with, load_filter(filter_with))
    made = build_pairs(threads, out, settings, filter_with=chosen, force=force, quiet=quiet)
    report_made(out, made, as_json=as_json)
