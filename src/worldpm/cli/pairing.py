"""`worldpm pairs`: folders of threads -> a folder of comparisons.

worldpm pairs threads-a threads-b -o data --against benchmarks --workers 8
"""

from collections.abc import Iterator
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
    announce_work,
    check_inputs,
    check_output,
    check_utf8,
)
from worldpm.cli.filtering import FilterOption, load_filter
from worldpm.cli.forums import ShardOption, WorkEngineOption, WorkersOption
from worldpm.cli.show import report_made
from worldpm.errors import DataError
from worldpm.model.memory import parse_bytes
from worldpm.records import Comparison


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
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of benchmarks, as `worldpm eval --data` takes it: comparisons that hold "
            "one of their texts are left out, and each such text is named in "
            "ledger/contamination.jsonl.",
        ),
    ] = None,
    filter_with: FilterOption = None,
    workers: WorkersOption = None,
    shard: ShardOption = None,
    engine: WorkEngineOption = "processes",
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Of the search for near duplicates, which holds a number of every comparison "
            "[default: 2GB]. No byte changes.",
        ),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Threads -> comparisons: answers as replies, votes as edges, split by a hash.

    Threads of the same text are one, across all folders, and what is alike never straddles splits.

    Settings for --set, all in docs/reference/data.md with what the paper found about each:
    pairs_per_thread, min_margin, max_margin, accepted_bonus, certainty, exposure.rule,
    topics.power, filter.low, filter.high, dedup.drop, dedup.threshold, dedup.keep,
    decontaminate.drop, decontaminate.near, seed, split.validation, split.test, split.seed.
    """
    from worldpm.config import load_settings
    from worldpm.outputs import check_outside
    from worldpm.pairs.planning import DEFAULT_MEMORY_BYTES, plan_pairs
    from worldpm.pairs.sample import PairSettings
    from worldpm.work import parse_share, processors

    changes = list(overrides or [])
    if max_replies is not None:
        changes.append(f"max_replies={max_replies}")
    if held_out:
        changes.append(f"split.held_out_sources={held_out!r}")
    settings = load_settings(PairSettings, None, changes)
    share = parse_share(shard) if shard else None
    memory_bytes = parse_bytes(memory) if memory else DEFAULT_MEMORY_BYTES
    inputs = [*threads, *([] if against is None else [against])]
    check_inputs(threads)
    if against is not None and not against.is_dir():
        raise DataError(
            f"--against {against}: no such folder; give that of your benchmarks, or leave it away"
        )
    check_utf8(out, *threads)
    check_output(out, inputs, force=force)
    check_outside(out, inputs)
    workers = workers or processors()
    if dry_run:
        plan = plan_pairs(threads, against, settings, workers=workers, memory_bytes=memory_bytes)
        expected = {
            "threads": plan.num_threads,
            "shards": plan.num_groups,
            "near_duplicate_tasks": plan.num_ranges,
            "workers": plan.workers,
            "seconds": round(plan.seconds, 1),
            "disk_bytes": plan.disk_bytes,
            "memory_bytes": plan.memory_bytes,
        }
        work = f"{plan.num_threads:,} threads, {plan.num_groups} shards"
        values = settings.model_dump(mode="json")
        announce_work(inputs, out, values, expected, work, as_json=as_json)
        return
    from worldpm.pairs.build import Benchmarks, Run, build_pairs

    benchmarks = None
    if against is not None:
        suite_folders(against)  # raises before anything is made
        benchmarks = Benchmarks(against.resolve(), read_benchmarks)
    made = build_pairs(
        threads,
        out,
        settings,
        against=benchmarks,
        filter_with=None if filter_with is None else (filter_with, load_filter(filter_with)),
        force=force,
        run=Run(workers, engine, share, quiet),
        memory_bytes=memory_bytes,
    )
    report_made(out, made, as_json=as_json)


def suite_folders(folder: Path) -> dict[str, Path]:
    """The folders of benchmarks below `folder` by suite; ConfigError if there are none."""
    from worldpm.cli.eval_sets import suite_folder
    from worldpm.errors import ConfigError
    from worldpm.evals.suites import SUITES

    found = {name: each for name in SUITES if (each := suite_folder(name, folder))}
    if not found:
        raise ConfigError(f"--against {folder}: holds none of the folders {', '.join(SUITES)}")
    return found


def read_benchmarks(folder: Path) -> Iterator[tuple[str, Comparison]]:
    """All rows of all suites below a folder, each with its suite's name."""
    from worldpm.evals.suites import read_suite

    for name, each in suite_folders(folder).items():
        for comparison in read_suite(name, each):
            yield name, comparison
