"""A checkpoint folder -> one digest of everything that its scores depend on but the conversation.

    score_digest(folder, encoder, engine="native", dtype="float32")  ->  "4f0c1b..."

Template, scored token, head and shape as in the contract, samples of every tensor, and what
computes, since engines and precisions agree to some digits only.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path

import orjson

from worldpm.model.checkpoint import weight_files
from worldpm.model.contract import facts_of
from worldpm.model.fingerprint import fingerprints
from worldpm.tokens.encode import Encoder


def score_digest(folder: Path, encoder: Encoder, **settings: object) -> str:
    """40 hex digits of the folder and of `settings`, what else a score depends on.

    Reads the headers and 4 KiB a tensor; CheckpointError for damaged files."""
    parts = {
        "facts": asdict(facts_of(folder, encoder)),
        "tensors": fingerprints(weight_files(folder)),
        "settings": settings,
    }
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:40]
