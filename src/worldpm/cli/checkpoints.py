"""`model create` and `model export`: a base of random weights; a checkpoint for other programs."""

from pathlib import Path
from typing import Annotated

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
    new_folder,
    print_json,
    say,
)


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
