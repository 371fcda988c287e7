"""`model create` and `model export`: a base of random weights; a checkpoint for other programs."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worldpm.cli.common import (
    DryRunFlag,
    ForceFlag,
    JsonFlag,
    OutFolder,
    QuietFlag,
    announce,
    check_inputs,
    check_output,
    check_utf8,
    new_folder,
    print_json,
    say,
)
from worldpm.errors import DataError

if TYPE_CHECKING:
    from worldpm.report.model_card import Facts

MOST_ROWS = 5000  # of a set, whose licences are looked for


def create(
    shape: Annotated[
        Path,
        typer.Argument(metavar="SHAPE", help="A config.json or its folder; see recipes/shapes."),
    ],
    out: OutFolder,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="A folder with tokenizer.json and template; else the default base's."),
    ] = None,
    seed: Annotated[int, typer.Option(help="What the weights are drawn by.")] = 0,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """A base of random weights, to train from scratch: `train --base`."""
    inputs = [shape, *([tokenizer] if tokenizer else [])]
    check_inputs(inputs)
    check_utf8(out)
    check_output(out, inputs, force=force)
    if dry_run:
        announce(inputs, out, {"seed": seed}, as_json=as_json)
        return
    from worldpm.model.default import fetch_base
    from worldpm.model.fresh import create_base

    source = tokenizer or fetch_base(say=lambda text: say(text, quiet=quiet))
    with new_folder(out) as folder:
        config = create_base(shape, source, folder, seed=seed)
    num_parameters = config.num_parameters()
    if as_json:
        print_json({"folder": str(out), "num_parameters_without_embeddings": num_parameters})
    else:
        print(f"{out}: {num_parameters:,} parameters without embeddings, drawn by seed {seed}")


def export(
    model: Annotated[
        str | None,
        typer.Argument(help="A run, a checkpoint folder or Hugging Face id; else the default."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder to make.")] = None,
    form: Annotated[
        Literal["auto", "reward-model", "classification"],
        typer.Option(help="auto: Qwen2ForRewardModel for an MLP head, else classification."),
    ] = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Of the weights; auto: as now.")
    ] = "auto",
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="DATA", help="What it was trained on, for the card."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="A report.json of `eval`, for the card's results.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The card's title; else the folder's.")] = None,
    base_model: Annotated[str | None, typer.Option(help="The base, for the card.")] = None,
    weights_license: Annotated[
        str | None, typer.Option("--license", help="The weights' licence, for the card.")
    ] = None,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """A folder for transformers, vLLM and SGLang, with a contract and a model card.

    It is read back and its golden conversations are scored again before it takes its name.
    """
    if out is None:
        raise typer.BadParameter("give the folder to make with -o")
    given_path = Path(model) if model else None
    run = given_path if given_path and (given_path / "run.json").is_file() else None
    given = [*(data or []), *([report] if report else [])]
    source = run / "model" if run else given_path
    inputs = [*given, *([source] if source and (run or source.exists()) else [])]
    check_inputs(inputs)
    check_utf8(out)
    check_output(out, inputs, force=force)
    if dry_run:
        announce([*inputs, *([] if source in inputs else [model or "the embedded default"])], out,
                 {"form": form, "dtype": dtype}, as_json=as_json)  # fmt: skip
        return
    from dataclasses import asdict

    from worldpm.jsonfiles import valid_text
    from worldpm.model.export import export_model
    from worldpm.model.hub import locate
    from worldpm.report.model_card import model_card
    from worldpm.store import write_atomic

    folder = locate(source if run else model, say=lambda text: say(text, quiet=quiet)).folder
    with new_folder(out) as partial:
        made = export_model(folder, partial, form=form, dtype=None if dtype == "auto" else dtype)
        facts = _facts(partial, name or out.name, run, data or [], report, base_model,
                       weights_license)  # fmt: skip
        write_atomic(partial / "README.md", valid_text(model_card(facts)).encode())
    if made.shift:
        say(
            f"the head's bias has no place in {made.architecture}: every score is "
            f"{made.shift:+.6g} lower, and no difference of two is another",
            quiet=quiet,
        )
    if made.pad_token_id is None:
        say("the tokenizer has no token to pad with: other programs score one by one", quiet=quiet)
    if as_json:
        print_json({"folder": str(out), **asdict(made)})
        return
    print(f"{out}: {made.architecture}, {made.dtype}")
    print(
        f"read back: {len(made.golden_scores)} golden conversations within "
        f"{made.largest_difference:.1e}"
    )


def _facts(
    folder: Path,
    name: str,
    run: Path | None,
    data: Sequence[Path],
    report: Path | None,
    base_model: str | None,
    weights_license: str | None,
) -> "Facts":
    """What the card says; DataError for data that the model was not trained on."""
    from worldpm.jsonfiles import read_object
    from worldpm.model.inspect import inspect_model
    from worldpm.report.model_card import Facts
    from worldpm.report.runs import read_run
    from worldpm.store import MANIFEST, file_sha256, read_manifest

    checkpoint = inspect_model(folder)
    known = (checkpoint["contract"] or {}).get("training_data")
    manifests: dict[str, dict[str, Any]] = {}
    for each in data:
        manifests[each.name] = {**read_manifest(each), "licenses": _licenses(each)}
        if known is not None and file_sha256(each / MANIFEST) not in known:
            raise DataError(f"{each}: is not among the data that the model was trained on")
    course = read_run(run / "metrics.jsonl") if run else None
    return Facts(
        name=name,
        checkpoint=checkpoint,
        base_model=base_model,
        license=weights_license,
        run=read_object(run / "run.json") if run else None,
        steps=course.steps if course else (),
        validations=course.looks if course else (),
        data=manifests,
        report=read_object(report) if report else None,
    )


def _licenses(folder: Path) -> list[str]:
    """The licences that a set's rows state, else the published set's."""
    from worldpm.records import Comparison
    from worldpm.store import read_artifact, read_manifest

    manifest = read_manifest(folder)
    found = {
        each
        for part in manifest.get("counts", {})
        for row in islice(read_artifact(folder, Comparison, part), MOST_ROWS)
        if isinstance(each := row.meta.get("license"), str)
    }
    published = manifest.get("published", {}).get("license")
    return sorted(found) or ([published] if published else [])
