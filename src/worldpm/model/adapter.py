"""LoRA adapters in peft's format, and their merge into a base model's weights.

    base tensors + adapter_model.safetensors -> merged tensors:  W + (alpha / r) * B @ A

(Hu et al. 2021, arXiv 2106.09685, section 4.1.) The head always travels with the adapter, whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from worldpm.errors import CheckpointError
from worldpm.model.checkpoint import read_json, save_tensors
from worldpm.store import write_atomic

PREFIX = "base_model.model."
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
# Settings of peft that change what an adapter computes, and that are not read here.
NOT_PLAIN = (
    "use_dora", "use_rslora", "use_qalora", "fan_in_fan_out", "rank_pattern", "alpha_pattern",
    "layer_replication", "lora_bias", "target_parameters", "alora_invocation_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Adapter:
    """Low-rank factors by module name, and the head's tensors by their own names."""

    factors: Mapping[str, tuple[Tensor, Tensor]]  # module -> A (r, in), B (out, r)
    head: Mapping[str, Tensor]
    rank: int
    alpha: float

    def merge(self, tensors: Iterator[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Add the factors to the base's `tensors` in float32, each returned in its own dtype.

        Raises CheckpointError if a factor has no tensor to change, or one of another shape.
        """
        merged = {}
        used = set()
        for name, tensor in tensors:
            module = name.removesuffix(".weight")
            if module in self.factors:
                down, up = self.factors[module]
                if tensor.shape != (up.shape[0], down.shape[1]):
                    raise CheckpointError(
                        f"the adapter's factors for {module} make {up.shape[0]} x {down.shape[1]}, "
                        f"the base has {tuple(tensor.shape)}; it belongs to another base"
                    )
                delta = (up.float() @ down.float()) * (self.alpha / self.rank)
                tensor = (tensor.float() + delta).to(tensor.dtype)
                used.add(module)
            merged[name] = tensor
        unused = sorted(self.factors.keys() - used)
        if unused:
            raise CheckpointError(f"the adapter changes {unused[0]}, which the base does not have")
        return {**merged, **self.head}


def read_adapter(folder: Path) -> Adapter:
    """Read a peft LoRA adapter; CheckpointError names what is missing or not plain LoRA."""
    config = read_json(folder / CONFIG)
    unknown = [key for key in NOT_PLAIN if config.get(key)]
    if config.get("peft_type") != "LORA" or unknown or config.get("bias", "none") != "none":
        raise CheckpointError(
            f"{folder / CONFIG}: only plain LoRA adapters are supported"
            f"{', not ' if unknown else ''}{', '.join(unknown)}"
        )
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG}: r or lora_alpha is missing ({error})") from None
    if rank < 1:
        raise CheckpointError(f"{folder / CONFIG}: r must be over 0, not {rank}")
    try:
        tensors = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / WEIGHTS}: cannot be read: {error}") from None
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{folder / WEIGHTS}: {name} has values that are not finite")
    factors = {}
    for name in tensors:
        module, is_down, _ = name.partition(".lora_A.weight")
        if is_down:
            down, up = tensors[name], tensors.get(f"{module}.lora_B.weight")
            shapes = [] if up is None else [down.ndim, up.ndim, *down.shape[:1], *up.shape[1:]]
            if up is None or shapes != [2, 2, rank, rank]:
                raise CheckpointError(f"{folder / WEIGHTS}: {module} has no factors of rank {rank}")
            factors[module] = (down, up)
    head = {name: tensor for name, tensor in tensors.items() if name.startswith("score.")}
    if not head:
        raise CheckpointError(f"{folder}: the adapter has no score head")
    known = {f"{module}.lora_{side}.weight" for module in factors for side in "AB"}
    others = sorted(tensors.keys() - head.keys() - known)
    if others:
        raise CheckpointError(f"{folder / WEIGHTS}: {others[0]} is neither a factor nor the head")
    return Adapter(factors, head, rank, alpha)


def write_adapter(adapter: Adapter, folder: Path, base: str) -> None:
    """Write `adapter` as peft would, so that peft and vLLM load it too; its config comes last."""
    tensors = {PREFIX + name: tensor.contiguous() for name, tensor in adapter.head.items()}
    for module, (down, up) in adapter.factors.items():
        tensors[f"{PREFIX}{module}.lora_A.weight"] = down.contiguous()
        tensors[f"{PREFIX}{module}.lora_B.weight"] = up.contiguous()
    save_tensors(tensors, folder / WEIGHTS)
    layers = sorted({int(m.split(".")[2]) for m in adapter.factors if ".layers." in m})
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({module.rsplit(".", 1)[1] for module in adapter.factors}),
        "layers_to_transform": layers,
        "modules_to_save": ["score"],
        "inference_mode": True,
    }
    write_atomic(folder / CONFIG, orjson.dumps(config, option=orjson.OPT_INDENT_2))
