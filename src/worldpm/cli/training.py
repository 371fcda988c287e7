"""`train`: a recipe, a base and comparisons -> a run folder with checkpoints and a model.

torchrun --nproc-per-node 8 -m worldpm train RECIPE.toml ...       the same, by eight processes
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldpm.cli.common import (
    DryRunFlag,
    ForceFlag,
    JsonFlag,
    QuietFlag,
    SetOption,
    announce,
    check_inputs,
    check_output,
    check_utf8,
    print_json,
    say,
)
from worldpm.errors import DataError, WorldPMError

if TYPE_CHECKING:
    from worldpm.train.plan import TrainingPlan
    from worldpm.train.recipe import Recipe


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="See recipes/.")],
    data: Annotated[
        list[Path], typer.Option(metavar="DATA", help="A folder of comparisons; repeat it.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run's folder.")],
    base: Annotated[
        Path | None,
        typer.Option(help="The checkpoint to begin with; without it, the embedded default's base."),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(help="Go on with this LoRA adapter of the base instead of a new one."),
    ] = None,
    frozen_cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep what frozen layers give here, for other runs too."),
    ] = None,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's newest checkpoint.")
    ] = False,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Train a preference model; RUN/model is what `score --model` takes."""
    # Whatever can be wrong is found before torch is imported.
    from worldpm.config import load_settings
    from worldpm.train.recipe import Recipe

    settings = load_settings(Recipe, recipe, overrides or [])
    beginning = [folder for folder in (base, adapter) if folder]
    check_inputs([*data, *beginning])
    for folder in data:
        _check_data(folder)
    check_utf8(out, *data, *beginning)
    check_output(out, [recipe, *data, *beginning], force=force or resume)
    if dry_run:
        values = {"recipe": settings.model_dump(mode="json"), "resume": resume}
        inputs: list[Path | str] = [recipe, *data, base or "the embedded default's base"]
        inputs += [adapter] if adapter else []
        plan = _plan(settings, base, data)
        shown = asdict(plan) | {"fits": plan.fits} if plan is not None else None
        announce(inputs, out, values, plan=shown, as_json=as_json)
        if plan is not None and not as_json:
            print(plan)
        return
    from worldpm.model.default import fetch_base
    from worldpm.train import run
    from worldpm.train.parallel import joined

    with joined(settings.parallel) as ranks:
        result = run.train(
            settings, base or fetch_base(), data, out,
            adapter=adapter, frozen_cache=frozen_cache, resume=resume, force=force,
            quiet=quiet, ranks=ranks,
        )  # fmt: skip
    if not ranks.first:
        return
    if as_json:
        print_json({"run": str(out), "model": str(out / "model"), **result})
        return
    print(f"{out / 'model'}: the trained model")
    if result.get("validation_accuracy") is not None:
        print(
            f"validation: accuracy {result['validation_accuracy']:.3f}, "
            f"loss {result['validation_loss_nats']:.4f} nats"
        )


def _plan(settings: "Recipe", base: Path | None, data: list[Path]) -> "TrainingPlan | None":
    """What the run takes, for a base whose config.json is here; nothing is fetched for it.

    A shape that lacks what only its tokenizer can say has no plan yet, which stderr is told.
    """
    if base is None or not (base / "config.json").is_file():
        return None
    from worldpm.model.checkpoint import read_config
    from worldpm.train.plan import job_of, plan_training

    try:
        return plan_training(read_config(base), settings, job_of(data, settings))
    except WorldPMError as error:
        say(f"no plan: {error}")
        return None


def _check_data(folder: Path) -> None:
    from worldpm.store import read_manifest

    kind = read_manifest(folder).get("kind")
    if kind != "comparisons":
        raise DataError(f"{folder}: holds {kind}, not comparisons; make those with `worldpm pairs`")
