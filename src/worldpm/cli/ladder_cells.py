"""One cell of a ladder: its base, its data, its run and its looks; and the table of all of them.

OUT/bases/1m-s0/                 random weights by shape and seed, or bases/10 of a base's layers
OUT/frozen/                      what frozen layers gave, for all cells; gone when all are done
OUT/data/1000-s0/                the comparisons that the cell trains on
OUT/cells/1m-1000-s0/looks/      step-000016.json, step-000016.llmbar.npy: counts and scores
OUT/cells/1m-1000-s0/done.json   or failed.json with the reason
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from worldpm.cli.common import new_folder
from worldpm.errors import ConfigError, InterruptedRunError, UnwrittenError, WorldPMError
from worldpm.jsonfiles import read_object
from worldpm.records import Comparison
from worldpm.scaling.ladder import Cell, Ladder, look_steps, lowest
from worldpm.scaling.observations import read_scores, write_scores
from worldpm.store import ArtifactWriter, read_artifact, read_manifest, write_atomic

if TYPE_CHECKING:
    from worldpm.model.decoder import PreferenceModel
    from worldpm.train.recipe import Recipe

Sets = Mapping[str, Sequence[Comparison]]


@dataclass(frozen=True, slots=True)
class Study:
    """A ladder with its inputs: recipes by size and seed, data folders, suites, and its folder."""

    ladder: Ladder
    file: Path
    recipes: Mapping[tuple[str, int], "Recipe"]
    data: Sequence[Path]
    base: Path  # the tokenizer of all sizes, and the layers of those that begin with some
    suites: Sets
    out: Path

    def folder(self, cell: Cell) -> Path:
        """Where a cell's looks, run and verdict are."""
        return self.out / "cells" / cell.name

    @property
    def frozen(self) -> Path:
        """The shelf of what frozen layers gave."""
        return self.out / "frozen"

    def state(self, cell: Cell) -> str:
        """done, failed, begun or absent."""
        return cell_state(self.folder(cell))


def cell_state(folder: Path) -> str:
    """done, failed, begun or absent, of the cell that has this folder."""
    for name in ("done", "failed"):
        if (folder / f"{name}.json").is_file():
            return name
    return "begun" if folder.exists() else "absent"


def run_cell(study: Study, cell: Cell, *, stop: Callable[[], bool], quiet: bool) -> str | None:
    """Train, look and record; the reason if it failed. Goes on with what was stopped or killed.

    Raises InterruptedRunError where `stop` or a signal ended it early, saved.
    """
    from worldpm.train.loop import Watch
    from worldpm.train.run import train

    folder = study.folder(cell)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failed.json").unlink(missing_ok=True)
    recipe = study.recipes[cell.size, cell.seed]
    run = folder / "run"
    if run.exists() and not (run / "run.json").is_file():
        shutil.rmtree(run)  # killed before it began
    try:
        base, data = _base(study, cell), _data(study, cell)

        def see(counts: Mapping[str, Any], model: "PreferenceModel") -> None:
            _look(study, folder, base, recipe, counts, model)

        watch = Watch(lambda steps: look_steps(steps, study.ladder.looks), see)
        train(
            recipe, base, [data], run, frozen_cache=study.frozen,
            resume=True, quiet=quiet, watch=watch, stop=stop,
        )  # fmt: skip
    except (InterruptedRunError, ConfigError, UnwrittenError):
        raise  # not the cell's own: the next one would have the same
    except (WorldPMError, MemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "memory" not in str(error):
            raise  # a bug; torch says by this class, too, that memory is out
        reason = f"{type(error).__name__}: {error}"
        write_atomic(folder / "failed.json", orjson.dumps({"reason": reason}))
        return reason
    params = read_object(folder / "params.json")
    write_atomic(folder / "done.json", orjson.dumps({"cell": cell.name, **params}))
    shutil.rmtree(run)  # its course is told by the looks, and weights are large
    return None


def _base(study: Study, cell: Cell) -> Path:
    from worldpm.model.cut import cut_base
    from worldpm.model.fresh import create_base

    size = study.ladder.sizes[cell.size]
    base = study.out / "bases" / (cell.size if size.layers else f"{cell.size}-s{cell.seed}")
    if not base.exists():
        with new_folder(base) as made:
            if size.layers:
                cut_base(study.base, size.layers, made)
            elif size.shape:
                create_base(study.file.parent / size.shape, study.base, made, seed=cell.seed)
    return base


def _data(study: Study, cell: Cell) -> Path:
    folder = study.out / "data" / f"{cell.comparisons}-s{cell.seed}"
    if folder.exists():
        return folder
    chosen = set(lowest(_part(study.data, "train"), cell.comparisons, cell.seed))
    settings = {"comparisons": cell.comparisons, "seed": cell.seed}
    with ArtifactWriter(folder, Comparison, kind="comparisons", settings=settings) as writer:
        for part in study.data:
            writer.input(part)
        for place, each in enumerate(_part(study.data, "train")):
            if place in chosen:
                writer.add("train", each)
        for each in _part(study.data, "validation"):
            writer.add("validation", each)
    return folder


def _part(folders: Sequence[Path], part: str) -> Iterator[Comparison]:
    for folder in folders:
        if read_manifest(folder)["counts"].get(part, 0):
            yield from read_artifact(folder, Comparison, part)


def _look(
    study: Study,
    folder: Path,
    base: Path,
    recipe: "Recipe",
    counts: Mapping[str, Any],
    model: "PreferenceModel",
) -> None:
    """Score every suite by the model as it is now; the counts come last and make it complete."""
    from worldpm.model.checkpoint import write_model
    from worldpm.model.engine import Resident
    from worldpm.score import load
    from worldpm.train.begin import DTYPES, whole_model
    from worldpm.train.frozen import Shelved
    from worldpm.train.shelf import Shelf, frozen_digest

    looks, snapshot = folder / "looks", folder / "snapshot"
    record = looks / f"step-{counts['step']:06d}.json"
    if record.is_file():
        return
    looks.mkdir(exist_ok=True)
    shutil.rmtree(snapshot, ignore_errors=True)
    dtype, frozen = recipe.model.dtype, recipe.model.frozen_layers
    write_model(whole_model(model), snapshot, base, dtype=DTYPES[dtype])
    scorer = load(snapshot, dtype=dtype, truncate=True)
    if frozen and isinstance(scorer.runner, Resident):
        identity = f"{frozen_digest(model, frozen)} {scorer.describe()}"
        scorer.runner = Shelved(scorer.runner, frozen, Shelf(study.frozen, identity))
    for name, comparisons in study.suites.items():
        write_scores(_scores(record, name), scorer.score(comparisons))
    params = {"params": model.model.config.num_parameters()}
    write_atomic(folder / "params.json", orjson.dumps(params))
    kept = {name: counts[name] for name in ("step", "steps", "pairs", "tokens", "flops")}
    write_atomic(record, orjson.dumps(kept))
    shutil.rmtree(snapshot)


def _scores(record: Path, suite: str) -> Path:
    return record.with_name(f"{record.stem}.{suite}.npy")


def observations(study: Study, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The rows of all cells that are done, measured from the scores that were kept."""
    from worldpm.evals.observe import observe

    rows = []
    for cell in cells:
        if study.state(cell) != "done":
            continue
        folder = study.folder(cell)
        params = read_object(folder / "done.json")["params"]
        for record in sorted((folder / "looks").glob("step-*.json")):
            counts = read_object(record)
            run = {
                "run": cell.name, "size": cell.size, "seed": cell.seed, "params": params,
                **{name: counts[name] for name in ("step", "pairs", "tokens", "flops")},
            }  # fmt: skip
            for name, comparisons in study.suites.items():
                scores = read_scores(_scores(record, name), comparisons)
                rows += [{**run, **row} for row in observe(name, comparisons, scores)]
    return rows
