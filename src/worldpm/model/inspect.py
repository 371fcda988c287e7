"""What a checkpoint folder is, from its headers alone: no tensor is read.

inspect_model(Path("checkpoint"))  ->  {"head": "linear", "scored_token": "<|endoftext|>", ...}
"""

from collections import Counter
from pathlib import Path
from typing import Any

from worldpm.model.checkpoint import IGNORED, head_kind, read_config, read_json, weight_files
from worldpm.model.contract import fact_differences, facts_of, read_contract
from worldpm.model.fingerprint import read_header
from worldpm.tokens.encode import Encoder


def inspect_model(folder: Path) -> dict[str, Any]:
    """Shape, head, precision, template, scored token and sizes, as plain values.

    `head` is None for a plain language model, which cannot score; `contract` is None for a foreign
    checkpoint, whose meaning is inferred from its other files. Raises CheckpointError for a
    folder that is incomplete, damaged or of a shape that we do not have.
    """
    config = read_config(folder)
    files = weight_files(folder)
    stored = {name: place for path in files for name, place in read_header(path).items()}
    dtypes: Counter[str] = Counter()
    for place in stored.values():
        dtypes[place.dtype] += place.num_values
    encoder = Encoder.from_folder(folder)
    facts = facts_of(folder, encoder)
    contract = read_contract(folder)
    return {
        "folder": str(folder),
        "architectures": read_json(folder / "config.json").get("architectures") or [],
        "shape": {name: getattr(config, name) for name in type(config).__slots__},
        "head": head_kind(stored),
        "dtypes": dict(dtypes),
        "num_tensors": len(stored),
        "num_parameters": dtypes.total(),
        "num_parameters_without_embeddings": config.num_parameters(),
        "ignored": sorted(name for name in stored if name.startswith(IGNORED)),
        "weight_bytes": sum(file.stat().st_size for file in files),
        "weight_files": [file.name for file in files],
        "template_sha256": facts.template_sha256,
        "scored_token": facts.scored_token.text,
        "scored_token_id": facts.scored_token.id,
        "contract": contract
        and {
            "made_by": contract.made_by,
            "differences": fact_differences(contract, facts),
            "golden_conversations": len(contract.golden),
            "training_data": contract.training_data,
        },
    }
