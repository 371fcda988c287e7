"""Stand-ins for vLLM and SGLang: token ids in those engines' forms, scored with a model.

with faulty(lambda: None, answer=VLLM(model)) as (url, seen): ...
"""

import json
import math
from pathlib import Path

import torch

from worldpm.model.batch import collate
from worldpm.model.checkpoint import read_model
from worldpm.tokens.tree import build_tree

REFUSED = 400, {"object": "error", "message": "no such input", "code": 400}
MISSING = 404, {"detail": "Not Found"}


class Engine:
    """Scores ids with a checkpoint's model; `sequences` counts them."""

    def __init__(self, folder: Path) -> None:
        self.model = read_model(folder)
        self.sequences = 0
        self.ids = []

    def score(self, ids):
        """The score at the last of the ids."""
        self.sequences += 1
        self.ids.append(ids)
        with torch.inference_mode():
            return self.model(collate([build_tree([ids])])).item()

    def input(self, body, key):
        """The sequences of ids under a key, None where there is no such thing."""
        found = body.get(key)
        fine = isinstance(found, list) and found and all(
            isinstance(each, list) and each and all(isinstance(i, int) for i in each)
            for each in found
        )  # fmt: skip
        return found if fine else None


class VLLM(Engine):
    """vLLM with a model of one class: /classify, a sigmoid unless told otherwise."""

    def __call__(self, path, body, headers):
        ids = self.input(body, "input")
        if path != "/classify":
            return MISSING
        if ids is None:
            return REFUSED
        values = [self.score(each) for each in ids]
        if body.get("use_activation") is not False:
            values = [1 / (1 + math.exp(-value)) for value in values]
        data = [{"index": i, "label": "LABEL_0", "probs": [value], "num_classes": 1}
                for i, value in enumerate(values)]  # fmt: skip
        return {"id": "classify-1", "object": "list", "created": 1, "model": "m",
                "data": data[::-1], "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # fmt: skip


class Squashing(VLLM):
    """One that does not know `use_activation`, as older versions."""

    def __call__(self, path, body, headers):
        return super().__call__(path, {"input": body.get("input")}, headers)


class PoolingVLLM(Engine):
    """vLLM with WorldPM's own head: nothing but rewards of tokens, by /pooling."""

    def __call__(self, path, body, headers):
        ids = self.input(body, "input")
        if path != "/pooling":
            return MISSING
        if ids is None or body.get("task") != "token_classify":
            return REFUSED
        data = [
            {"index": i, "object": "pooling", "data": [[0.5], [0.5], [self.score(each)]]}
            for i, each in enumerate(ids)
        ]
        return {"id": "pool-1", "object": "list", "created": 1, "model": "m", "data": data,
                "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # fmt: skip


class SGLang(Engine):
    """SGLang with a reward model: /classify by `input_ids`."""

    def __call__(self, path, body, headers):
        ids = self.input(body, "input_ids")
        if path != "/classify":
            return MISSING
        if ids is None:
            return 400, {"error": {"message": "The input text or ids are missing."}}
        return [
            {"embedding": [self.score(each)], "meta_info": {"id": "1", "prompt_tokens": len(each)}}
            for each in ids
        ]


class Embedding(Engine):
    """An engine with another kind of model: vectors of many numbers."""

    def __call__(self, path, body, headers):
        ids = body.get("input_ids") or body.get("input") or []
        return [{"embedding": [0.1] * 8, "meta_info": {}} for _ in ids]


def control_ids(folder: Path):
    """The ids of a checkpoint's control tokens by their text."""
    raw = json.loads((folder / "tokenizer.json").read_text())
    return {token["content"]: token["id"] for token in raw["added_tokens"]}
