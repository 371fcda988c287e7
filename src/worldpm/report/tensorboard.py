"""A run's numbers as TensorBoard's event files: every step and look, by name.

write_events(read_run(RUN/metrics.jsonl), DIR)   then: tensorboard --logdir DIR
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worldpm.errors import WorldPMError
from worldpm.report.runs import Run


def write_events(run: Run, folder: Path) -> Path:
    """Write all numbers of the run to `folder`, which is returned; steps are optimiser steps.

    A step's are under train/, a look's under validation/. Raises WorldPMError without tensorboardX.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise WorldPMError(
            "event files need tensorboardX, which is not installed; "
            'pip install "worldpm[tensorboard]"'
        ) from None
    with SummaryWriter(str(folder)) as writer:
        for prefix, records in (("train", run.steps), ("validation", run.looks)):
            for record in records:
                for name, value in scalars(record):
                    writer.add_scalar(f"{prefix}/{name}", value, record["step"])
    return folder


def scalars(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name/of/number, value) of a record; names without "validation_", nothing that is missing."""
    for key, value in record.items():
        name = prefix + key.removeprefix("validation_")
        if isinstance(value, Mapping):
            yield from scalars(value, f"{name}/")
        elif isinstance(value, int | float) and key != "step":
            yield name, float(value)
