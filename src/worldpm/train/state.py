"""Saving a run so that nothing is lost: trained tensors, optimiser moments and progress.

    RUN/checkpoints/step-00000120/{trained,first_moment,second_moment}.safetensors + progress.json

`progress.json` is written last and the folder is renamed into place, so a folder with that name is
complete. A damaged newest checkpoint falls back to the one before. Progress holds at least "step"
and, from where on steps were skipped, "skipped_steps": the optimiser has not counted those.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from worldpm.errors import WorldPMError

PROGRESS = "progress.json"


def save_checkpoint(
    run: Path,
    trained: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
    keep: int,
) -> None:
    """Write the checkpoint of `progress["step"]` and remove all but the newest `keep`.

    Checkpoints of later steps are left from before a fallback, damaged, and go too. Raises
    WorldPMError if it cannot be written; those before it then still stand.
    """
    folder = run / "checkpoints" / f"step-{progress['step']:08d}"
    partial = folder.with_name(f".{folder.name}.partial")
    moments = [optimizer.state[p] for p in trained.values()]
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tensors = {name: p.detach().contiguous() for name, p in trained.items()}
        save_file(tensors, partial / "trained.safetensors")
        for key, file in (("exp_avg", "first_moment"), ("exp_avg_sq", "second_moment")):
            states = {n: m[key] for n, m in zip(trained, moments, strict=True) if m}
            save_file(states, partial / f"{file}.safetensors")
        (partial / PROGRESS).write_bytes(orjson.dumps(progress))
        for path in partial.iterdir():
            with path.open("rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise WorldPMError(
            f"{folder}: the checkpoint could not be written ({error}); the one before stands, "
            "free some space and go on with --resume"
        ) from error
    found = checkpoints(run)
    own = found.index(folder)
    for old in found[: max(0, own + 1 - keep)] + found[own + 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def checkpoints(run: Path) -> list[Path]:
    """Complete checkpoint folders of a run, oldest first."""
    return sorted(path.parent for path in (run / "checkpoints").glob(f"step-*/{PROGRESS}"))


def load_checkpoint(
    run: Path,
    trained: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    warn: Callable[[str], None],
) -> dict[str, Any] | None:
    """Restore the newest readable checkpoint in place; its progress, or None if there is none."""
    for folder in reversed(checkpoints(run)):
        try:
            progress: dict[str, Any] = orjson.loads((folder / PROGRESS).read_bytes())
            files = ("trained", "first_moment", "second_moment")
            values, first, second = (load_file(folder / f"{f}.safetensors") for f in files)
        except (OSError, SafetensorError, orjson.JSONDecodeError) as error:
            warn(f"{folder}: damaged ({error}); falling back to the checkpoint before")
            continue
        if values.keys() != trained.keys():
            raise WorldPMError(f"{folder}: holds other tensors than this recipe trains")
        updates = progress["step"] - progress.get("skipped_steps", 0)
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(values[name])
                if name in first:
                    optimizer.state[parameter] = {
                        "step": torch.tensor(float(updates)),
                        "exp_avg": first[name],
                        "exp_avg_sq": second[name],
                    }
        return progress
    return None
