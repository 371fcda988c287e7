"""What makes two jobs one and the same, so that one may go on with the other's states."""

import hashlib
from collections.abc import Sequence
from typing import Any

from worldpm.model.batch import TreeBatch
from worldpm.model.engine import Engine
from worldpm.model.native import NativeEngine
from worldpm.model.weights import Weights

SAMPLE_BYTES = 4096


def job_identity(weights: Weights, engine: Engine, job: Sequence[TreeBatch]) -> dict[str, Any]:
    """Model, batches, engine and precision; with torch the threads too, which move its bits."""
    identity = {
        "model": weights_fingerprint(weights),
        "batches": batches_digest(job),
        "engine": engine.name,
        "dtype": engine.dtype,
    }
    return identity if isinstance(engine, NativeEngine) else {**identity, "threads": engine.threads}


def weights_fingerprint(weights: Weights) -> str:
    """A digest of shapes, places, sizes and times of the files, and of each tensor's first bytes.

    Not of all bytes: those of a 145 GB checkpoint take longer to read than many a job.
    """
    digest = hashlib.sha256(repr(weights.config).encode())
    by_file: dict[Any, list[str]] = {}
    for name, place in sorted(weights.places.items()):
        by_file.setdefault(place.file, []).append(name)
    for path, names in sorted(by_file.items()):
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
        with path.open("rb", buffering=0) as file:
            for name in names:
                at = weights.places[name]
                digest.update(f"{name} {at.start} {at.shape} {at.dtype}".encode())
                file.seek(at.start)
                digest.update(file.read(min(SAMPLE_BYTES, at.num_bytes)))
    return digest.hexdigest()


def batches_digest(job: Sequence[TreeBatch]) -> str:
    """A digest of the batches' tokens and layout, in their order."""
    digest = hashlib.sha256()
    for batch in job:
        for tensor in (batch.tokens, batch.positions, batch.leaves):
            digest.update(tensor.numpy().tobytes())
        digest.update(repr((batch.segments, batch.ancestors, batch.replies_per_tree)).encode())
    return digest.hexdigest()
