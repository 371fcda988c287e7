"""`worldpm scaling run`: a ladder of sizes and data -> runs, looks, and one table of observations.

    worldpm scaling run recipes/ladders/processor.toml --data FORUM --data HUMAN \\
        --suite llmbar --suite rewardbench --benchmarks DIR -o OUT
    worldpm scaling run ... --cell '28m-*' --minutes 30       a slice; the same command goes on

OUT/observations.{parquet,csv}     what `scaling fit`, `forecast` and `plot` read
OUT/cells.json                     the state of every cell, and why one failed
"""

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from worldpm.cli.common import (
    DryRunFlag,
    JsonFlag,
    QuietFlag,
    check_inputs,
    print_json,
    say,
    show_bytes,
)
from worldpm.errors import ConfigError, InterruptedRunError, OutputExistsError, WorldPMError

if TYPE_CHECKING:
    from worldpm.cli.ladder_cells import Sets, Study
    from worldpm.scaling.ladder import Cell

DEFAULT_VOCABULARY = 49_152  # of the default base; a plan is made without its files


def run(
    ladder: Annotated[Path, typer.Argument(metavar="LADDER.toml", help="See recipes/ladders.")],
    data: Annotated[
        list[Path], typer.Option(metavar="DATA", help="A folder of comparisons; repeat it.")
    ],
    suite: Annotated[
        list[str], typer.Option(metavar="SUITE|PATH", help="What to look at; repeat it.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The study's folder.")],
    benchmarks: Annotated[Path | None, typer.Option(help="Where the suites' folders are.")] = None,
    part: Annotated[str, typer.Option(help="The part of an artefact to look at.")] = "test",
    base: Annotated[
        Path | None,
        typer.Option(help="Its tokenizer, and the layers that sizes begin with; else the default."),
    ] = None,
    cell: Annotated[
        list[str] | None,
        typer.Option(help="Only these, as 1m-1000-s0 or '1m-*'; a failed one is tried again."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after so long, with exit code 75.")
    ] = None,
    as_json: JsonFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Train every cell that is not done, look at it as it learns, and write the table.

    The same command goes on after any stop, kill -9 among them, to the same table.
    """
    from worldpm.cli.ladder_cells import observations, run_cell
    from worldpm.scaling.ladder import cells
    from worldpm.scaling.observations import write_observations

    study = _study(ladder, data, suite, benchmarks, part, base, out, fetch=not dry_run)
    chosen, every = cells(study.ladder, cell or []), cells(study.ladder)
    if dry_run:
        _print_plan(_plan(study, chosen), as_json=as_json)
        return
    _identify(study)
    until = None if minutes is None else time.monotonic() + 60 * minutes

    def over() -> bool:
        return until is not None and time.monotonic() > until

    todo = [c for c in chosen if study.state(c) not in ({"done"} if cell else {"done", "failed"})]
    try:
        for number, each in enumerate(todo, 1):
            if over():
                raise InterruptedRunError(f"{out}: time is up; the same command goes on")
            say(f"cell {number} of {len(todo)}: {each.name}", quiet=quiet)
            reason = run_cell(study, each, stop=over, quiet=quiet)
            if reason:
                say(f"{each.name} failed: {reason}")
    finally:
        states = {each.name: _state(study, each) for each in every}
        _write_json(out / "cells.json", states)
        rows = observations(study, every)
        write_observations(rows, out)
    counts = Counter(state["state"] for state in states.values())
    if counts["done"] == len(every):
        shutil.rmtree(study.frozen, ignore_errors=True)
    if as_json:
        print_json({"output": str(out), "rows": len(rows), "cells": states})
        return
    told = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    print(f"{out / 'observations.csv'}: {len(rows):,} rows; cells: {told}")


def _state(study: "Study", each: "Cell") -> dict[str, str]:
    from worldpm.jsonfiles import read_object

    state = study.state(each)
    if state != "failed":
        return {"state": state}
    return {"state": state, **read_object(study.folder(each) / "failed.json")}


def _study(
    file: Path,
    data: Sequence[Path],
    suites: Sequence[str],
    benchmarks: Path | None,
    part: str,
    base: Path | None,
    out: Path,
    *,
    fetch: bool,
) -> "Study":
    """Everything read and checked before anything is trained; a dry run fetches nothing."""
    from worldpm.cli.eval_sets import choose_sets, read_set
    from worldpm.cli.ladder_cells import Study
    from worldpm.cli.training import _check_data
    from worldpm.config import load_settings
    from worldpm.scaling.ladder import Ladder, sample
    from worldpm.train.recipe import Recipe

    check_inputs([file, *data, *([base] if base else [])])
    ladder = load_settings(Ladder, file)
    recipes = {}
    for name, size in ladder.sizes.items():
        if size.shape:
            check_inputs([file.parent / size.shape])
        for seed in ladder.seeds:
            settings = [*ladder.settings, *size.settings, f"seed={seed}"]
            recipes[name, seed] = load_settings(Recipe, file.parent / size.recipe, settings)
    for folder in data:
        _check_data(folder)
    if not suites:
        raise ConfigError("--suite: name at least one, or there is nothing to look at")
    sets = {
        name: sample(read_set(each, part).comparisons, ladder.suite_comparisons)
        for name, each in choose_sets(suites, benchmarks, flag="--benchmarks").items()
    }
    if base is None and (fetch or any(size.layers for size in ladder.sizes.values())):
        from worldpm.model.default import fetch_base

        base = fetch_base()
    return Study(ladder, file, recipes, data, base or Path(), sets, out)


def _identify(study: "Study") -> None:
    """Record what the study is of; WorldPMError where the folder's is of something else."""
    from worldpm.cli.ladder_shown import IDENTITY
    from worldpm.config import filled
    from worldpm.jsonfiles import read_object
    from worldpm.model.checkpoint import weight_files
    from worldpm.scaling.ladder import Ladder
    from worldpm.store import MANIFEST, file_sha256
    from worldpm.train.recipe import Recipe

    identity = {
        "ladder": study.ladder.model_dump(mode="json"),
        "recipes": {
            f"{size}-s{seed}": each.model_dump(mode="json")
            for (size, seed), each in study.recipes.items()
        },
        "data": [file_sha256(folder / MANIFEST) for folder in study.data],
        "tokenizer": file_sha256(study.base / "tokenizer.json"),
        "suites": _digests(study.suites),
    }
    if any(size.layers for size in study.ladder.sizes.values()):
        identity["base"] = [file_sha256(file) for file in weight_files(study.base)]
    path = study.out / IDENTITY
    if path.is_file():
        begun = read_object(path)
        begun["ladder"] = filled(Ladder, begun.get("ladder"))
        recipes = begun.get("recipes") or {}
        begun["recipes"] = {name: filled(Recipe, each) for name, each in recipes.items()}
        if differs := [name for name, value in identity.items() if begun.get(name) != value]:
            raise WorldPMError(
                f"{study.out}: began with another {' and '.join(differs)}; give the same, or "
                "another -o"
            )
        return
    if study.out.exists() and any(study.out.iterdir()):
        raise OutputExistsError(f"{study.out}: exists and is not a ladder's; give another -o")
    study.out.mkdir(parents=True, exist_ok=True)
    _write_json(path, identity)


def _digests(suites: "Sets") -> dict[str, str]:
    found = {}
    for name, comparisons in suites.items():
        digest = hashlib.sha256()
        for each in comparisons:
            digest.update(orjson.dumps(each) + b"\n")
        found[name] = digest.hexdigest()
    return found


def _write_json(path: Path, value: Any) -> None:
    from worldpm.store import write_atomic

    write_atomic(path, orjson.dumps(value, option=orjson.OPT_INDENT_2))


def _plan(study: "Study", chosen: "Sequence[Cell]") -> list[dict[str, Any]]:
    """FLOPs, seconds and bytes of each cell, by the data's mean lengths.

    A look costs a third of training on as many pairs: a forward without its backward. Looks are
    counted in the time alone, since FLOPs are training's.
    """
    from dataclasses import replace

    from worldpm.model.cut import cut_config
    from worldpm.model.fresh import read_shape
    from worldpm.tokens.encode import Encoder
    from worldpm.train.plan import job_of, plan_training

    vocabulary = DEFAULT_VOCABULARY
    if study.base.name:
        vocabulary = Encoder.from_folder(study.base).vocab_size
    looked = study.ladder.looks * sum(map(len, study.suites.values()))
    jobs, rows = {}, []
    for each in chosen:
        recipe, size = study.recipes[each.size, each.seed], study.ladder.sizes[each.size]
        if each.size not in jobs:
            whole = job_of(study.data, recipe)
            if size.layers:
                config = cut_config(study.base, size.layers)
            else:
                config = read_shape(study.file.parent / (size.shape or ""), vocabulary)
            jobs[each.size] = whole, plan_training(config, recipe, whole), config.hidden_size
        whole, plan, hidden = jobs[each.size]
        if each.comparisons > whole.comparisons:
            raise ConfigError(
                f"comparisons: {each.comparisons:,} were asked for, and the data has "
                f"{whole.comparisons:,} to train on"
            )
        share = each.comparisons / whole.comparisons
        pairs = whole.pairs * share
        rate = size.pairs_per_second or whole.pairs / plan.seconds
        job = replace(whole, comparisons=each.comparisons, pairs=pairs)
        kept = each.comparisons + sum(map(len, study.suites.values()))
        kept_tokens = kept * whole.tokens / whole.comparisons / recipe.data.epochs
        rows.append(
            {
                "cell": each.name, "size": each.size, "seed": each.seed,
                "state": study.state(each), "comparisons": job.comparisons,
                "pairs": pairs, "tokens": round(whole.tokens * share),
                "flops": plan.flops * share, "seconds": (pairs + looked / 3) / rate,
                "peak_bytes": 3 * plan.checkpoint_bytes + 2 * plan.checkpoint_bytes // 3,
                "frozen_bytes": 4 * hidden * kept_tokens if recipe.model.frozen_layers else 0,
                "kept_bytes": 16 * looked + plan.checkpoint_bytes // 3,
            }
        )  # fmt: skip
    return rows


def _print_plan(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    left = [row for row in rows if row["state"] != "done"]
    frozen: dict[tuple[str, int], float] = {}  # the largest amount has the others' as well
    for row in left:
        place = row["size"], row["seed"]
        frozen[place] = max(frozen.get(place, 0), row["frozen_bytes"])
    total = {
        "cells": len(left),
        "flops": sum(row["flops"] for row in left),
        "seconds": sum(row["seconds"] for row in left),
        "disk_bytes": sum(row["kept_bytes"] for row in left)
        + max((row["peak_bytes"] for row in left), default=0)
        + sum(frozen.values()),
    }
    if as_json:
        print_json({"cells": rows, "total": total})
        return
    for row in rows:
        print(
            f"{row['cell']:<20} {row['state']:<7} {row['pairs']:>9,.0f} pairs "
            f"{row['tokens']:>12,} tokens {row['flops']:9.2e} FLOPs {row['seconds'] / 60:7.1f} min"
        )
    print(
        f"{total['cells']} cells to run: {total['flops']:.2e} FLOPs, about "
        f"{total['seconds'] / 3600:.1f} hours, {show_bytes(total['disk_bytes'])} of disk"
    )
