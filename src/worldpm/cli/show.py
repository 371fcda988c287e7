"""`show`: what any artefact is, its counts, where every dropped row went, a few samples.

    worldpm show threads    worldpm show data    worldpm show run    worldpm show checkpoint

Reads folders of threads, comparisons and evaluations, files of comparisons, of scores, of one
evaluation or a report, runs, ladders, adapters and checkpoints. `--json` gives the same as one
object. Of comparisons there is more: `--why ID`, `--html page.html`, `--card`; of runs `--plot`,
`--tensorboard`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from worldpm.cli.common import (
    ForceFlag,
    JsonFlag,
    print_json,
    show_bytes,
    show_size,
    stdout,
)
from worldpm.errors import DataError
from worldpm.records import Comparison, Thread

SamplesOption = Annotated[int, typer.Option(min=0, help="Records to print.")]


def show(
    path: Annotated[
        Path,
        typer.Argument(
            help="Threads, comparisons, scores, an evaluation, a run, a ladder, an adapter or a "
            "checkpoint."
        ),
    ],
    samples: SamplesOption = 2,
    why: Annotated[
        str | None,
        typer.Option(metavar="ID", help="What became of a thread, post or row: ID or SOURCE:ID."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with charts about comparisons."),
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Print the data card (README.md) of comparisons.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw a run's curves: FILE.svg, .png and .csv."),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a run's numbers as TensorBoard's event files."),
    ] = None,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
) -> None:
    """What an artefact, run, ladder, checkpoint or file is: counts, distributions and samples."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if (plot or tensorboard) and not (path / "run.json").is_file():
        raise DataError(f"{path}: is no run of training; --plot and --tensorboard are for those")
    if why is not None or html is not None or card:
        from worldpm.cli.corpus import show_data

        show_data(path, why, html, card, samples, as_json=as_json, force=force)
    elif (path / "manifest.json").is_file():
        _show_artifact(path, samples, as_json)
    elif (path / "run.json").is_file():
        from worldpm.cli.runs import show_run

        show_run(path, plot, tensorboard, as_json=as_json, force=force)
    elif (path / "ladder.json").is_file():
        from worldpm.cli.ladder_shown import show_ladder

        show_ladder(path, as_json=as_json)
    elif (path / "config.json").is_file():
        from worldpm.model.inspect import inspect_model

        found = inspect_model(path)
        print_json({"kind": "checkpoint", **found}) if as_json else print_checkpoint(found)
    elif (path / "adapter_config.json").is_file():
        _show_adapter(path, as_json)
    elif path.suffix == ".json" and path.is_file():
        _show_evaluations(_evaluations(path), path, as_json)
    elif path.is_file():
        _show_file(path, samples, as_json)
    else:
        raise DataError(
            f"{path}: holds no manifest.json, run.json, ladder.json, config.json or "
            "adapter_config.json; not an artefact, or its making was cut short"
        )


def print_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """An artefact's making, counts and drops, for people."""
    counts, dropped = manifest.get("counts", {}), manifest.get("dropped", {})
    total = sum(counts.values())
    print_line(f"{folder}: {total:,} {manifest.get('kind')}, {show_size(folder)}")
    if manifest.get("created"):
        version = manifest.get("versions", {}).get("worldpm", "?")
        print_line(f"  made      {manifest['created']} by worldpm {version}")
        print_line(f"  command   {' '.join(map(str, manifest.get('command', [])))}")
    for file in manifest.get("inputs", []):
        size = f", {show_bytes(file['bytes'])}" if "bytes" in file else ""
        print_line(f"  read      {file['path']}{size}")
    for name, value in flat_items(manifest.get("settings", {})):
        print_line(f"  setting   {name} = {value}")
    _table("kept", counts)
    if dropped:
        _table("dropped", dropped)
    else:
        print_line("  dropped   nothing")
    for name in ("numbers", "sources", "subsets"):
        values = manifest.get(name) or {}
        flat = {
            key: ", ".join(f"{k} {v:,}" for k, v in value.items())
            if isinstance(value, Mapping)
            else value
            for key, value in values.items()
        }
        if flat:
            _table(name, flat)


def report_made(folder: Path, manifest: Mapping[str, Any], *, as_json: bool) -> None:
    """What a verb made: its manifest as JSON, or what `show` says of it."""
    if as_json:
        print_json({"output": str(folder), **manifest})
    else:
        print_manifest(folder, manifest)


def print_checkpoint(found: Mapping[str, Any]) -> None:
    """What `inspect_model` found, for people."""
    shape = found["shape"]
    print_line(f"{found['folder']}: {', '.join(found['architectures']) or shape['model_type']}")
    dtypes = ", ".join(f"{count:,} in {name}" for name, count in found["dtypes"].items())
    rows = {
        "head": found["head"] or "none: a plain language model, which cannot score",
        "parameters": f"{found['num_parameters']:,} ({dtypes}), "
        f"{found['num_parameters_without_embeddings']:,} without embeddings",
        "weights": f"{show_bytes(found['weight_bytes'])} in {len(found['weight_files'])} files, "
        f"{found['num_tensors']} tensors",
        "scored token": f"{found['scored_token']} (id {found['scored_token_id']})",
        "template": f"SHA-256 {found['template_sha256'][:16]}...",
        "contract": _contract(found["contract"]),
        **{name.replace("_", " "): value for name, value in shape.items()},
    }
    if found["ignored"]:
        rows["not read"] = ", ".join(found["ignored"])
    for name, value in rows.items():
        print_line(f"  {name:<24}{value}")


def _contract(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "no contract: inferred head, precision, template and scored token"
    if found["differences"]:
        return f"NOT KEPT: {'; '.join(found['differences'])}"
    count = found["golden_conversations"]
    return f"by {found['made_by']}, {count} golden conversations; kept, as far as headers tell"


def _show_artifact(path: Path, samples: int, as_json: bool) -> None:
    from worldpm.cli import corpus
    from worldpm.store import MANIFEST, read_artifact, read_manifest

    manifest = read_manifest(path)
    kind, counts = manifest.get("kind"), manifest.get("counts", {})
    if kind == "evaluation":
        from worldpm.cli.evaluating import read_evaluations

        _show_evaluations(list(read_evaluations(path, list(counts))), path, as_json)
        return
    if kind not in ("threads", "comparisons"):
        raise DataError(f"{path / MANIFEST}: of an unknown kind, {kind!r}")
    record = Thread if kind == "threads" else Comparison
    chosen = list(islice(read_artifact(path, record), samples))
    figures = corpus.figures(path, kind)
    if as_json:
        print_json(
            {
                "path": str(path),
                "kind": kind,
                "manifest": manifest,
                "figures": figures,
                "samples": [_plain(each) for each in chosen],
            }
        )
        return
    print_manifest(path, manifest)
    for place, line in enumerate(corpus.figure_lines(figures, sum(counts.values()))):
        print_line(f"  {'' if place else 'figures':<10}{line}")
    _print_samples(chosen)


def _show_file(path: Path, samples: int, as_json: bool) -> None:
    """A file of comparisons in any row form: how many, of how many replies and edges."""
    if path.suffix in {".7z", ".xml"}:
        raise DataError(f"{path}: a dump; read it with `worldpm forum stackexchange`")
    from worldpm.cli.scored import holds_scores

    if path.suffix != ".parquet" and holds_scores(path):
        _show_scores(path, samples, as_json)
        return
    records: Iterable[Any]
    records = _read_file(path)
    chosen = list(islice(records, samples))
    counts: Counter[str] = Counter()
    for record in chain(chosen, records):
        if isinstance(record, Thread):
            counts.update({"threads": 1, "posts": len(record.posts)})
        else:
            counts.update({"comparisons": 1, "replies": len(record.replies)})
            counts.update({"edges": len(record.better)})
            counts[f"with_{len(record.replies)}_replies"] += 1
    kind = "threads" if counts["threads"] else "comparisons"
    if as_json:
        plain = [_plain(each) for each in chosen]
        print_json({"path": str(path), "kind": kind, "counts": +counts, "samples": plain})
        return
    print_line(f"{path}: {counts[kind]:,} {kind}, {show_size(path)}")
    _table("counts", +counts)
    _print_samples(chosen)


def _show_scores(path: Path, samples: int, as_json: bool) -> None:
    from worldpm.cli.scored import summarise

    found = summarise(path, samples)
    if as_json:
        print_json({"path": str(path), "kind": "scores", **found})
        return
    print_line(f"{path}: scores of {found['rows']:,} rows, {show_size(path)}")
    counts = {name: found[name] for name in ("rows", "replies", "tokens")}
    _table("counts", {name: count for name, count in counts.items() if count is not None})
    _table("score", {name: f"{value:+9.4f}" for name, value in found["score"].items()})
    for row in found["samples"]:
        scores = row.get("scores", [row.get("score")])
        shown = (
            f"{value:+.4f}{'*' if i == row.get('best') else ''}" for i, value in enumerate(scores)
        )
        print_line(f"  {row.get('id')}: {', '.join(shown)}")


def _read_file(path: Path) -> Any:
    from worldpm.rows import read_comparisons
    from worldpm.store import is_own_parquet, read_parquet

    if path.suffix == ".parquet" and is_own_parquet(path, Thread):
        return read_parquet(path, Thread)
    return read_comparisons(path)


def _show_adapter(path: Path, as_json: bool) -> None:
    from worldpm.jsonfiles import read_object

    config = read_object(path / "adapter_config.json")
    if as_json:
        print_json({"path": str(path), "kind": "adapter", "config": config})
        return
    print_line(f"{path}: an adapter, {show_size(path)}")
    for key, value in config.items():
        print_line(f"  {key:<24}{value}")


def _evaluations(path: Path) -> list[Any]:
    """The evaluation that a file holds, or those of a report."""
    from worldpm.evals.summary import FORMAT
    from worldpm.jsonfiles import read_object

    advice = "rows of comparisons are read as JSON lines, named *.jsonl"
    whole = read_object(path, advice=advice)
    if whole.get("format") != FORMAT:
        return [whole]
    found = whole.get("evaluations")
    if not isinstance(found, list) or not found:
        raise DataError(f"{path}: a report without evaluations")
    return found


def _show_evaluations(found: Sequence[Any], path: Path, as_json: bool) -> None:
    from worldpm.report.tables import evaluation_lines, evaluation_table

    for each in found:
        try:
            evaluation_lines(each if isinstance(each, Mapping) else {})
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    if as_json:
        print_json({"path": str(path), "kind": "evaluation", "evaluations": found})
        return
    models = dict.fromkeys(str(each.get("model", "a model")) for each in found)
    print_line(f"{path}: an evaluation of {', '.join(models)}")
    kinds = ("all", "class", "section", "subset", "style")
    stdout().print(evaluation_table(found, kinds))


def flat_items(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Every value that is no mapping, under the names on the way to it: `optim.lr`."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat_items(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _plain(record: Comparison | Thread) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(record)


def _print_samples(records: Sequence[Comparison | Thread]) -> None:
    from worldpm.report.ranking import one_line, preview, prompt_label, shorten

    for record in records:
        print_line("")
        if isinstance(record, Thread):
            print_line(f"  {record.source} {record.id}: {shorten(one_line(record.title), 70)}")
            print_line(f"    {record.url or 'no link'}, {record.license or 'no licence stated'}")
            for answer in record.answers:
                text = shorten(one_line(answer.text), 60)
                print_line(f"    {answer.score:>5}{'*' if answer.accepted else ' '} {text}")
            continue
        winners = {e.winner for e in record.better} - {e.loser for e in record.better}
        label = shorten(prompt_label(record), 60)
        print_line(f"  {record.source} {record.id}: {label} ({len(record.better)} edges)")
        for index, reply in enumerate(record.replies):
            print_line(
                f"    {index}{'*' if index in winners else ' '} {shorten(preview(reply), 66)}"
            )


def _table(name: str, values: Mapping[str, Any]) -> None:
    width = max((len(str(key)) for key in values), default=0)
    for place, (key, value) in enumerate(values.items()):
        shown = f"{value:>9,}" if isinstance(value, int | float) else value
        print_line(f"  {name if place == 0 else '':<10}{key:<{width}}  {shown}")
    numbers = [value for value in values.values() if isinstance(value, int)]
    if name in {"kept", "dropped"} and len(numbers) > 1:
        print_line(f"  {'':<10}{'total':<{width}}  {sum(numbers):>9,}")


def print_line(text: str) -> None:
    """Print data on one line, without the control characters that a terminal would obey."""
    print("".join(c if c.isprintable() else " " for c in text))
