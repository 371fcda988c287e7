"""`eval`: benchmarks or your own comparisons, and a model -> accuracy and loss beside the floors.

    worldpm eval llmbar rm-bench --data benchmarks -o out        the suites' folders below --data
    worldpm eval data/hh-rlhf -o out                             the test part of an artefact

OUT/NAME.json holds the evaluation, OUT/NAME.scores.jsonl every score, OUT/evaluation.* the picture
(where matplotlib is installed), OUT/figures.json what `--protocol` and `--against` made of it,
OUT/manifest.json how it was made. Without -o nothing is kept.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from worldpm.cli.common import (
    DryRunFlag,
    DtypeOption,
    ForceFlag,
    JsonFlag,
    ModelOption,
    QuietFlag,
    announce,
    check_output,
    new_folder,
    print_json,
    say,
    stdout,
)
from worldpm.cli.scoring import with_progress
from worldpm.errors import ConfigError, DataError, WorldPMError
from worldpm.records import Comparison

if TYPE_CHECKING:
    from worldpm.evals.published import Published
    from worldpm.score import Scorer


class _Set(NamedTuple):
    """Where comparisons are read from, and whether as a suite, in its authors' layout."""

    path: Path
    suite: str | None


def evaluate(
    suites: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE|PATH]...", help="Suites, or comparisons of your own."),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The folder to make; without it nothing is kept."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the suites' folders are; all found there by default.")
    ] = None,
    part: Annotated[str, typer.Option(help="The part of an artefact to evaluate on.")] = "test",
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Figures as in the paper (worldpm) or as each benchmark's (official)."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Published figures to set beside, such as paper:WorldPM-72B-HelpSteer2."),
    ] = None,
    model: ModelOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Accuracy and Bradley-Terry loss with 95 % intervals, beside length, style and chance."""
    chosen = _choose(suites or [], data)
    paths = [each.path for each in chosen.values()]
    protocols = _protocols(protocol or [], against or [], chosen)
    if out is not None:
        check_output(out, paths, force=force)
    if dry_run:
        values = {"suites": list(chosen), "part": part, "model": model or "the embedded default",
                  "protocols": list(protocols)}  # fmt: skip
        announce(paths, out or Path("nothing"), values, as_json=as_json)
        return
    sets = {name: _read(each, part) for name, each in chosen.items()}
    import orjson

    from worldpm.evals.standing import standing
    from worldpm.score import load
    from worldpm.store import write_atomic

    scorer = load(model, dtype=dtype)
    evaluations, scored = [], {}
    with new_folder(out) if out is not None else nullcontext() as folder:
        for name, comparisons in sets.items():
            result, scores = _evaluate(folder, name, comparisons, scorer, quiet=quiet)
            evaluations.append(result)
            if chosen[name].suite is not None:
                scored[name] = (comparisons, scores)
        figures = [standing(name, scored, published) for name, published in protocols.items()]
        if folder is not None:
            _draw(evaluations, folder, quiet=quiet)
            if figures:
                write_atomic(
                    folder / "figures.json", orjson.dumps(figures, option=orjson.OPT_INDENT_2)
                )
            settings = {"part": part, "dtype": dtype, "protocols": list(protocols)}
            _write_manifest(folder, paths, evaluations, settings, scorer)
    if as_json:
        print_json({"output": None if out is None else str(out), "model": scorer.name,
                    "evaluations": evaluations, "figures": figures})  # fmt: skip
        return
    from worldpm.report.standing import figures_table, unmatched_lines
    from worldpm.report.tables import evaluation_table

    stdout().print(evaluation_table(evaluations))
    for each in figures:
        stdout().print(figures_table(each))
        if any(row["control"] == "style" for column in each["against"] for row in column["rows"]):
            stdout().print(figures_table(each, "style"))
        for line in unmatched_lines(each):
            say(line, quiet=quiet)


def _protocols(
    names: Sequence[str], against: Sequence[str], chosen: "dict[str, _Set]"
) -> "dict[str, list[Published]]":
    """The protocols to use, each with what was published by it; errors before a model is loaded.

    Published figures bring their own protocols where none was named.
    """
    from worldpm.evals.protocols import protocol
    from worldpm.evals.published import find

    published = [find(name) for name in against]
    wanted = list(names) or [row.protocol for each in published for row in each.rows]
    suites = {each.suite for each in chosen.values()}
    found = {}
    for name in dict.fromkeys(wanted):
        if not suites & set(protocol(name).suites):
            raise ConfigError(
                f"protocol {name!r} has no figures of {', '.join(chosen)}; "
                f"it is about {', '.join(protocol(name).suites)}"
            )
        found[name] = [each for each in published if any(r.protocol == name for r in each.rows)]
    return found


def _choose(names: Sequence[str], data: Path | None) -> dict[str, _Set]:
    """The suites and the user's own sets, by the names that their results get."""
    from worldpm.evals.suites import SUITES
    from worldpm.rows import set_name

    if not names:
        found = {name: _suite_folder(name, data) for name in SUITES if data is not None}
        chosen = {name: _Set(folder, name) for name, folder in found.items() if folder is not None}
        if not chosen:
            raise ConfigError(
                f"no suite was named, and --data {data or ''} has none of {', '.join(SUITES)}; "
                "name suites or give a path of comparisons"
            )
        return chosen
    chosen = {}
    for name in names:
        path = Path(name)
        # Without --data a suite has no files, so what is meant is the user's own of that name.
        own = name not in SUITES or (data is None and _holds_comparisons(path))
        if own and path.exists():
            key, each = set_name(path), _Set(path, None)
            if key in SUITES:
                key = f"own-{key}"  # or the results would read as the suite's
        elif own:
            raise ConfigError(f"{name!r} is neither a path nor one of {', '.join(SUITES)}")
        elif data is None:
            raise ConfigError(
                f"suite {name!r}: --data must say where its files are"
                + (f"; comparisons of your own are called ./{name}" if path.exists() else "")
            )
        else:
            folder = _suite_folder(name, data) or (data if len(names) == 1 else None)
            if folder is None:
                raise DataError(f"{data / name}: no such folder; {name} needs its authors' files")
            key, each = name, _Set(folder, name)
        if key in chosen:
            raise ConfigError(f"{key!r} is there twice; evaluate one of them by itself")
        chosen[key] = each
    return chosen


def _holds_comparisons(path: Path) -> bool:
    from worldpm.store import MANIFEST

    return path.is_file() or (path / MANIFEST).is_file()


def _suite_folder(name: str, data: Path | None) -> Path | None:
    """DATA/rm-bench or DATA/rm_bench, whichever there is."""
    if data is None:
        return None
    for folder in (data / name, data / name.replace("-", "_")):
        if folder.is_dir():
            return folder
    return None


def _read(chosen: _Set, part: str) -> list[Comparison]:
    """All of a set; DataError if nothing in it can be measured, before a model is loaded."""
    from worldpm.evals.suites import read_suite
    from worldpm.rows import read_comparisons
    from worldpm.store import read_artifact

    path, suite = chosen
    if suite is not None:
        found = read_suite(suite, path)
    elif path.is_dir():
        found = list(read_artifact(path, Comparison, part))
    else:
        found = list(read_comparisons(path))
    if not any(comparison.better for comparison in found):
        raise DataError(
            f"{path}: none of its {len(found):,} comparisons says which reply is better, so there "
            "is nothing to measure; `worldpm score` scores them"
        )
    return found


def _evaluate(
    folder: Path | None, name: str, comparisons: list[Comparison], scorer: "Scorer", *, quiet: bool
) -> tuple[dict[str, Any], list[list[float]]]:
    import orjson

    from worldpm.evals.run import evaluate, to_json
    from worldpm.store import write_atomic

    stream = scorer.iter_scores(comparisons)
    scores = list(with_progress(stream, name, len(comparisons), quiet=quiet))
    values = [[each.value for each in reply_scores] for reply_scores in scores]
    result = {**to_json(evaluate(comparisons, lambda _: values, suite=name)), "model": scorer.name}
    if folder is not None:
        with (folder / f"{name}.scores.jsonl").open("wb") as file:
            for comparison, own, each in zip(comparisons, values, scores, strict=True):
                tokens = [score.num_tokens for score in each]
                row = {"id": comparison.id, "scores": own, "num_tokens": tokens}
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        write_atomic(folder / f"{name}.json", orjson.dumps(result, option=orjson.OPT_INDENT_2))
    say(f"{name}: {len(comparisons):,} comparisons scored", quiet=quiet)
    return result, values


def _draw(evaluations: Sequence[dict[str, Any]], folder: Path, *, quiet: bool) -> None:
    from worldpm.report.plots import plot_evaluation

    try:
        plot_evaluation(evaluations, folder / "evaluation")
    except WorldPMError as error:  # without matplotlib the numbers stand all the same
        say(f"no picture: {error}", quiet=quiet)


def _write_manifest(
    folder: Path,
    paths: Sequence[Path],
    evaluations: Sequence[dict[str, Any]],
    settings: dict[str, Any],
    scorer: "Scorer",
) -> None:
    import datetime

    import orjson

    from worldpm.store import FORMAT, MANIFEST, versions, write_atomic

    manifest = {
        "format": FORMAT,
        "kind": "evaluation",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": ["worldpm", *sys.argv[1:]],
        "settings": {"model": scorer.name, **settings},
        "versions": versions("worldpm", "torch", "tokenizers", "numpy"),
        "inputs": [{"path": path.name} for path in paths],
        "counts": {each["suite"]: each["num_comparisons"] for each in evaluations},
        "dropped": {},
    }
    write_atomic(folder / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


def read_evaluations(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The evaluations that an artefact of this verb holds."""
    from worldpm.jsonfiles import read_object

    for name in names:
        yield read_object(folder / f"{name}.json")
