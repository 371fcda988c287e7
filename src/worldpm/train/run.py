"""A whole training run: prepare the model and the data, fit, write what is to be exchanged.

worldpm train RECIPE.toml --base FOLDER --data DATA/... -o RUN/

RUN/run.json        recipe, data digests, versions: written first, checked on --resume
RUN/metrics.jsonl   one line a step and a validation; the numbers never live in log text
RUN/checkpoints/    for --resume
RUN/adapter/        LoRA factors and head in peft's format (when the recipe trains LoRA)
RUN/model/          the whole model as a Hugging Face folder; its config.json means done
"""

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from worldpm.config import filled
from worldpm.errors import CheckpointError, ConfigError, OutputExistsError, WorldPMError
from worldpm.jsonfiles import read_object
from worldpm.making import lock
from worldpm.model.adapter import WEIGHTS, read_adapter, write_adapter
from worldpm.model.allocator import keep_freed_memory
from worldpm.model.checkpoint import weight_files, write_model
from worldpm.model.export import check_golden
from worldpm.store import MANIFEST, file_sha256, part_files, read_manifest, versions, write_atomic
from worldpm.tokens.encode import Encoder
from worldpm.train.begin import DTYPES, outline, place, whole_model
from worldpm.train.examples import check_tokens, load_examples, load_sets
from worldpm.train.flops import matrix_rate
from worldpm.train.heads import folded, keep_attributes, start_at
from worldpm.train.loop import Watch, fit
from worldpm.train.lora import begin_with, extract
from worldpm.train.objective import check_labels
from worldpm.train.parallel import ALONE, Ranks
from worldpm.train.recipe import Recipe
from worldpm.train.runlog import RunLog


@contextmanager
def _stop_on_signals(ranks: Ranks) -> Any:
    """Turn the first SIGTERM or SIGINT into a request; a second one acts as usual.

    Not so among several processes: a launcher may pass on a signal that they have had already.
    """
    requested: list[int] = []

    def handler(number: int, frame: object) -> None:
        requested.append(number)
        if ranks.world == 1:
            signal.signal(number, previous[number])

    previous = {int(n): signal.signal(n, handler) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(requested)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def train(
    recipe: Recipe,
    base: Path,
    data: Sequence[Path],
    run: Path,
    *,
    adapter: Path | None = None,
    frozen_cache: Path | None = None,
    resume: bool = False,
    force: bool = False,
    quiet: bool = False,
    ranks: Ranks = ALONE,
    watch: Watch | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train and write `run`; returns the last validation record with counts.

    Of several processes the first writes and says all but the checkpoints' parts.

    With `adapter`, training begins with its factors and head; `frozen_cache` is a folder of outputs
    of frozen layers that runs share; `watch` sees the model between steps, and `stop` turning true
    saves and ends the run as a signal does. Raises OutputExistsError unless
    `run` is new, or `resume` or `force` is given; WorldPMError if `resume` meets another recipe,
    base, data or adapter than the run began with.
    """
    beginning = None if adapter is None else read_adapter(adapter)
    identity = {
        "recipe": recipe.model_dump(mode="json"),
        "base": [file_sha256(path) for path in weight_files(base)],
        "data": [_digest(folder) for folder in data],
        "adapter": None if adapter is None else file_sha256(adapter / WEIGHTS),
    }
    keep_freed_memory()
    encoder = Encoder.from_folder(base)
    model = outline(base, recipe)
    if beginning is not None:
        begin_with(model, beginning)
    attributes = tuple(recipe.loss.attributes)
    goes_on = _check_run(run, identity, resume=resume, force=force)
    examples, dropped = load_examples(data, "train", encoder, recipe.data, attributes)
    validation, lost = load_sets(data, "validation", encoder, recipe.data, attributes)
    for own in (examples, *validation.values()):
        check_labels(own, recipe.loss)
        check_tokens(own, model.model.config.vocab_size, base)
    if attributes:
        start_at(model.score, examples)
    place(model, base, recipe, ranks)
    if not any(recipe.data.repeats.get(example.source, 1) for example in examples):
        raise ConfigError("data.repeats: 0 for every source leaves nothing to train on")
    ranks.barrier()  # all have seen the folder as it was
    if not goes_on and ranks.first:  # nothing is known to be wrong: what --force replaces may go
        _begin_run(run, identity)
    ranks.barrier()
    logged = run if ranks.first else None
    with (
        _held(logged),
        RunLog(logged, quiet=quiet) as log,
        _stop_on_signals(ranks) as stop_requested,
    ):
        log.note(f"train: {len(examples)} comparisons; left out: {dict(dropped) or 'none'}")
        for name, held in validation.items():
            log.note(f"validation {name}: {len(held)} comparisons")
        log.note(f"validation: left out: {dict(lost) or 'none'}")
        for source in sorted(recipe.data.repeats.keys() - {example.source for example in examples}):
            log.note(f"data.repeats: no comparison to train on is of the source {source!r}")
        peak = matrix_rate(DTYPES[recipe.model.dtype], next(model.parameters()).device)
        log.note(f"matrix products in {recipe.model.dtype}: {peak / 1e12:.3g} TFLOP/s, measured")
        fit(
            model, examples, validation, recipe, run,
            resume=resume, log=log.record, on_resume=log.rewind,
            stop_requested=lambda: stop_requested() or stop(),
            ranks=ranks, frozen_cache=frozen_cache, peak=peak, watch=watch,
        )  # fmt: skip
    adapter_made = extract(model, recipe.lora) if recipe.lora.rank else None
    made = whole_model(model)  # with several processes, a meeting of all
    if ranks.first:
        if attributes:
            keep_attributes(made.score, recipe.loss.attributes, run)
            made.score = folded(made.score, recipe.loss)
            head = {f"score.{name}": tensor for name, tensor in made.score.state_dict().items()}
            adapter_made = adapter_made and replace(adapter_made, head=head)
        if adapter_made is not None:
            write_adapter(adapter_made, run / "adapter", base.name)
        write_model(
            made, run / "model", base, dtype=DTYPES[recipe.model.dtype],
            training_data=[file_sha256(folder / MANIFEST) for folder in data],
        )  # fmt: skip
        check_golden(run / "model")
    return {"dropped": {"train": dict(dropped), "validation": dict(lost)}, **log.last_validation}


def _digest(folder: Path) -> dict[str, str]:
    parts = sorted(read_manifest(folder)["counts"])
    return {
        part: " ".join(file_sha256(file) for file in part_files(folder, part)) for part in parts
    }


def _check_run(run: Path, identity: dict[str, Any], *, resume: bool, force: bool) -> bool:
    """Whether the run is one to go on with; raises where it may not be, nor a new one begin."""
    path = run / "run.json"
    if resume and path.is_file():
        begun, wanted = (
            {**each, "recipe": _compared(each.get("recipe"))}
            for each in (read_object(path, CheckpointError), identity)
        )
        differs = [key for key in wanted if begun.get(key) != wanted[key]]
        if differs:
            raise WorldPMError(
                f"{run}: began with another {' and '.join(differs)}; resume with the same, "
                "or start a new run"
            )
        return True
    if run.exists() and not path.is_file() and (not run.is_dir() or any(run.iterdir())):
        raise OutputExistsError(
            f"{run}: is not a run, so --resume has nothing to go on with and --force does not "
            "replace it; give another -o"
        )
    if run.exists() and not force:
        raise OutputExistsError(f"{run}: exists already; give another -o, --resume or --force")
    return False


def _compared(recipe: object) -> object:
    """What of a recorded recipe must be the same: how processes share the work may change."""
    found = filled(Recipe, recipe)
    return {**found, "parallel": None} if isinstance(found, dict) else found


@contextmanager
def _held(run: Path | None) -> Iterator[None]:
    """Hold a run as the only process that trains it: two would mix their steps and checkpoints.

    Raises OutputExistsError while another one does. It lets go with the process, however it ends.
    """
    if run is None or not (run / "run.json").is_file():
        yield
        return
    with (run / "run.json").open("r+b") as file:
        if not lock(file, shared=False):
            raise OutputExistsError(f"{run}: another process trains it just now")
        yield


def _begin_run(run: Path, identity: dict[str, Any]) -> None:
    """Remove what stands in the folder, which may be a link to one, and write run.json.

    An earlier run's goes last: while anything else of it stands, --force may replace the folder.
    """
    with _held(run):  # --force replaces no run under way
        pass
    for each in sorted(run.glob("*"), key=lambda each: each.name == "run.json"):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
    packages = ("worldpm", "torch", "tokenizers", "safetensors")
    record = {**identity, "versions": versions(*packages)}
    write_atomic(run / "run.json", orjson.dumps(record, option=orjson.OPT_INDENT_2))
