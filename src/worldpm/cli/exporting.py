"""`export`: comparisons -> JSON lines, in TRL's form or in ours, with a data card. No torch.

DATA/ -> export -> OUT/train.jsonl, OUT/test.jsonl, ..., OUT/README.md
"""

from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from worldpm.cli.common import (
    DryRunFlag,
    ForceFlag,
    JsonFlag,
    QuietFlag,
    announce,
    check_inputs,
    check_output,
    new_file,
    print_json,
    say,
)
from worldpm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worldpm.records import Comparison


OTHER_ENDINGS = frozenset({".json", ".csv", ".tsv", ".txt", ".parquet", ".gz", ".zst"})


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A folder or file of comparisons, or a suite (with --data)."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder for PART.jsonl files, or one FILE.jsonl.")
    ],
    form: Annotated[
        Literal["trl", "jsonl"],
        typer.Option("--format", help="trl: prompt, chosen, rejected, a row an edge; jsonl: ours."),
    ] = "jsonl",
    data: Annotated[
        Path | None, typer.Option(help="Where the suites' folders are, to export one of them.")
    ] = None,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Comparisons -> JSON lines for TRL, or in our own row form.

    A folder made of a folder gets a data card, README.md, which the hub reads too.
    """
    suite = None
    if data is not None:
        from worldpm.cli.eval_sets import choose_sets

        ((name, (source, suite)),) = choose_sets([str(source)], data).items()
    check_inputs([source])
    one_file = out.suffix == ".jsonl"
    if out.suffix in OTHER_ENDINGS and not out.is_dir():
        raise ConfigError(f"-o {out}: give FILE.jsonl for one file of JSON lines, or a folder")
    parts = [name] if suite else _parts(source)
    targets = {part: out if one_file else out / f"{part}.jsonl" for part in parts}
    card_file = None if one_file or suite or not source.is_dir() else out / "README.md"
    for target in dict.fromkeys([*targets.values(), *filter(None, [card_file])]):
        check_output(target, [source], force=force)
    if dry_run:
        announce([source], out, {"format": form, "parts": parts}, as_json=as_json)
        return
    import orjson

    rows, dropped = Counter(dict.fromkeys(parts, 0)), Counter[str]()
    with ExitStack() as stack:
        if not out.exists():
            stack.callback(_remove_empty, out)
        files: dict[Path, IO[bytes]] = {
            path: stack.enter_context(new_file(path)) for path in dict.fromkeys(targets.values())
        }
        for part in parts:
            for comparison in _read_part(source, part, suite, dropped):
                made = _trl_rows(comparison) if form == "trl" else _own_rows(comparison)
                dropped["no_edge"] += not made
                for row in made:
                    files[targets[part]].write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
                    rows[part] += 1
    if card_file is not None:
        from worldpm.cli.corpus import card
        from worldpm.store import read_manifest, write_atomic

        names = {part: target.name for part, target in targets.items()}
        text = card(source, read_manifest(source), names, form, rows)
        write_atomic(card_file, text.encode())
    result = {"output": str(out), "format": form, "rows": rows, "dropped": +dropped}
    if as_json:
        print_json(result)
        return
    if one_file and len(rows) > 1:
        shares = ", ".join(f"{part} {count:,}" for part, count in rows.items())
        print(f"{out}: {rows.total():,} rows, {shares}")
        say(
            "the parts stand in one file, one after the other; a folder as -o keeps them apart",
            quiet=quiet,
        )
    else:
        for part, count in rows.items():
            print(f"{targets[part]}: {count:,} rows")
    if left_out := dropped.pop("no_edge", 0):
        say(f"left out: {left_out:,} comparisons without an edge", quiet=quiet)
    for reason, count in dropped.items():
        say(f"left out: {count:,} rows: {reason}", quiet=quiet)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds files, or is one
        folder.rmdir()


def _parts(source: Path) -> list[str]:
    if not source.is_dir():
        from worldpm.rows import set_name

        return [set_name(source)]
    from worldpm.store import read_manifest

    return sorted(read_manifest(source).get("counts", {}))


def _read_part(
    source: Path, part: str, suite: str | None, dropped: Counter[str]
) -> "Iterable[Comparison]":
    from worldpm.evals.suites import read_counted
    from worldpm.records import Comparison
    from worldpm.rows import read_comparisons
    from worldpm.store import read_artifact

    if suite is not None:
        found = read_counted(suite, source)
        dropped.update(found.dropped)
        return found.comparisons
    return read_artifact(source, Comparison, part) if source.is_dir() else read_comparisons(source)


def _own_rows(comparison: "Comparison") -> list[dict[str, Any]]:
    from worldpm.schema import comparison_row

    return [comparison_row(comparison)]


def _trl_rows(comparison: "Comparison") -> list[dict[str, Any]]:
    """One row an edge, in the conversational form of TRL's reward trainer.

    `id`, `source` and `url` say whose texts they are. The edge's margin, in votes or points, is
    `difference` here: a column called margin TRL subtracts from the difference of two rewards,
    which 300 votes would drown. TRL leaves out columns that it does not know, the weight too.
    """
    from worldpm.schema import comparison_row

    row = comparison_row(comparison)
    url = comparison.meta.get("url")
    return [
        {
            "id": comparison.id,
            "source": comparison.source,
            "url": url if isinstance(url, str) else None,
            "prompt": row["prompt"],
            "chosen": row["replies"][edge.winner],
            "rejected": row["replies"][edge.loser],
            "difference": edge.margin,
            "weight": edge.weight,
        }
        for edge in comparison.better
    ]
