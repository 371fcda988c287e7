"""`import`: a published preference set, or rows of your own -> comparisons, split. No torch.

published set -> import -> comparisons
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
from worldpm.cli.show import report_made


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
    report_made(out, manifest, as_json=as_json)
