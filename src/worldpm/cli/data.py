"""The data verbs, without torch: `forum`, `pairs`, `import`, `export`.

dumps -> forum -> threads -> pairs -> comparisons <- import <- published sets; export -> JSON lines
"""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

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
    new_file,
    print_json,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worldpm.records import Comparison

forum_app = typer.Typer(help="Forum dumps -> threads.", no_args_is_help=True)


@forum_app.command("stackexchange")
def stackexchange(
    dumps: Annotated[
        list[Path], typer.Argument(help="SITE.7z archives, or folders that hold Posts.xml.")
    ],
    out: OutFolder,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Stack Exchange dumps -> a folder of threads, one part a site."""
    check_inputs(dumps)
    check_output(out, dumps, force=force)
    if dry_run:
        announce(dumps, out, {"forum": "stackexchange"}, as_json=as_json)
        return
    from worldpm.forum.build import build_threads

    _report(out, build_threads(dumps, out, force=force, quiet=quiet), as_json=as_json)


@forum_app.callback()
def _forum() -> None:
    pass


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
    overrides: SetOption = None,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Threads -> comparisons: answers as replies, votes as edges, split by a hash.

    Settings for --set: min_margin, seed, split.validation, split.test, split.seed.
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

    _report(out, build_pairs(threads, out, settings, force=force, quiet=quiet), as_json=as_json)


def import_(
    name: Annotated[
        str, typer.Argument(help="hh-rlhf, helpsteer2, ultrafeedback, pairs (your own rows), ...")
    ],
    src: Annotated[Path, typer.Argument(help="The set as its authors publish it.")],
    out: OutFolder,
    overrides: SetOption = None,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """A published preference set -> comparisons, split.

    Settings for --set: validation, test, seed, and test_by_subset.SUBSET (1.0 holds it out).
    """
    from worldpm.config import load_settings
    from worldpm.pairs.imports import ImportSettings, check_import, import_published

    settings = load_settings(ImportSettings, None, overrides or [])
    check_inputs([src])
    check_import(name, src, out)
    check_output(out, [src], force=force)
    if dry_run:
        values = {"set": name, **settings.model_dump(mode="json")}
        announce([src], out, values, as_json=as_json)
        return
    manifest = import_published(name, src, out, settings, force=force, quiet=quiet)
    _report(out, manifest, as_json=as_json)


def export(
    source: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder or file of comparisons.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder for PART.jsonl files, or one FILE.jsonl.")
    ],
    form: Annotated[
        Literal["trl", "jsonl"],
        typer.Option("--format", help="trl: prompt, chosen, rejected, a row an edge; jsonl: ours."),
    ] = "jsonl",
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Comparisons -> JSON lines for TRL, or in our own row form."""
    check_inputs([source])
    one_file = out.suffix == ".jsonl"
    parts = _parts(source)
    targets = {part: out if one_file else out / f"{part}.jsonl" for part in parts}
    for target in {out} if one_file else set(targets.values()):
        check_output(target, [source], force=force)
    if dry_run:
        announce([source], out, {"format": form, "parts": parts}, as_json=as_json)
        return
    import orjson

    rows, dropped = Counter[str](), Counter[str]()
    with ExitStack() as stack:
        files: dict[Path, IO[bytes]] = {
            path: stack.enter_context(new_file(path)) for path in dict.fromkeys(targets.values())
        }
        for part in parts:
            for comparison in _read_part(source, part):
                made = _trl_rows(comparison) if form == "trl" else _own_rows(comparison)
                dropped["no_edge"] += not made
                for row in made:
                    files[targets[part]].write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
                    rows[part] += 1
    result = {"output": str(out), "format": form, "rows": rows, "dropped": +dropped}
    if as_json:
        print_json(result)
        return
    for part, count in rows.items():
        print(f"{targets[part]}: {count:,} rows")
    if dropped["no_edge"]:
        say(f"left out: {dropped['no_edge']:,} comparisons without an edge", quiet=quiet)


def _parts(source: Path) -> list[str]:
    if not source.is_dir():
        from worldpm.rows import set_name

        return [set_name(source)]
    from worldpm.store import read_manifest

    return sorted(read_manifest(source).get("counts", {}))


def _read_part(source: Path, part: str) -> "Iterator[Comparison]":
    from worldpm.records import Comparison
    from worldpm.rows import read_comparisons
    from worldpm.store import read_artifact

    return read_artifact(source, Comparison, part) if source.is_dir() else read_comparisons(source)


def _own_rows(comparison: "Comparison") -> list[dict[str, Any]]:
    from worldpm.schema import comparison_row

    return [comparison_row(comparison)]


def _trl_rows(comparison: "Comparison") -> list[dict[str, Any]]:
    """One row an edge, in the conversational form of TRL's reward trainer."""
    from worldpm.schema import comparison_row

    row = comparison_row(comparison)
    return [
        {
            "prompt": row["prompt"],
            "chosen": row["replies"][edge.winner],
            "rejected": row["replies"][edge.loser],
            **({} if edge.margin is None else {"margin": edge.margin}),
        }
        for edge in comparison.better
    ]


def _report(folder: Path, manifest: dict[str, Any], *, as_json: bool) -> None:
    """What was made: the manifest, or what `worldpm show` says of it."""
    if as_json:
        print_json({"output": str(folder), **manifest})
        return
    from worldpm.cli.show import print_manifest

    print_manifest(folder, manifest)
