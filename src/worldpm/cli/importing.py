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
    check_utf8,
    say,
)
from worldpm.cli.show import report_made


def import_(
    name: Annotated[
        str,
        typer.Argument(
            help="hh-rlhf, helpsteer2, helpsteer2-preference, oasst, oasst-zh, qa-feedback, "
            "rlhflow, shp, skywork, tldr, ukpconvarg, ultrafeedback, or pairs: your own rows, or "
            "rows of TRL's form of any origin."
        ),
    ],
    src: Annotated[
        str,
        typer.Argument(
            help="The set as its authors publish it: a file, a folder, or its id on the Hugging "
            "Face hub (nvidia/HelpSteer2[@revision])."
        ),
    ],
    out: OutFolder,
    overrides: SetOption = None,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """A published preference set -> comparisons, split.

    Settings for --set: rating (which one decides), disjoint_pairs (UltraFeedback as the paper pairs
    it), shuffle, validation, test, seed, and test_by_subset.SUBSET (1.0 holds it out).
    """
    from worldpm.config import load_settings
    from worldpm.pairs.hub import HubSet, fetch_set, hub_name
    from worldpm.pairs.imports import ImportSettings, check_import, check_set, import_published

    settings = load_settings(ImportSettings, None, overrides or [])
    check_set(name, settings)
    on_hub, path = hub_name(src), Path(src).expanduser()
    if on_hub is None:
        check_inputs([path])
        check_import(name, path, out, settings)
    check_utf8(out)
    check_output(out, [path], force=force)
    if dry_run:
        values = {"set": name, **settings.model_dump(mode="json")}
        announce([path if on_hub is None else src], out, values, as_json=as_json)
        return
    found: Path | HubSet = path
    if on_hub is not None:
        found = fetch_set(name, *on_hub)
        say(f"{found.id}: commit {found.commit}", quiet=quiet)
    manifest = import_published(name, found, out, settings, force=force, quiet=quiet)
    report_made(out, manifest, as_json=as_json)
