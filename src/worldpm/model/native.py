"""The engine of the optional package `worldpm-kernels`: the same bits whatever the batch.

Each token's reductions have a fixed order there, by construction, so a score does not depend on
what it was computed with. Torch promises no such thing: its bfloat16 products moved scores by up
to 0.17 with their batch-mates, its float32 products by about 1e-6.
"""

import os
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldpm.errors import ConfigError
from worldpm.model.batch import TreeBatch
from worldpm.model.config import ModelConfig
from worldpm.model.decoder import rotary_table
from worldpm.model.engine import Engine, HeadRun, LayerRun, TorchEngine
from worldpm.work import processors

PRECISION = {"amx-bf16": "bfloat16", "avx512-bf16": "bfloat16"}
ENGINES = ("auto", "native", "torch")


def choose_engine(
    config: ModelConfig, dtype: str, engine: str = "auto", threads: int | None = None
) -> Engine:
    """The engine and precision to use for a model of this shape.

    "auto" is torch on a GPU where there is one, else the native package where it is installed and
    the processor has vector units that it serves; and float32. Raises ConfigError for what is
    unknown or not to be had.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r} is not one of {', '.join(ENGINES)}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads {threads} is below 1")
    precision = "float32" if dtype == "auto" else dtype
    isas = native_isas()
    usable = [isa for isa in isas if PRECISION.get(isa, "float32") == precision]
    if engine == "native" and not usable:
        reason = f"has no {precision} here" if isas else "is not installed (worldpm-kernels)"
        raise ConfigError(f"the native engine {reason}; use another --dtype or --engine torch")
    device = gpu()
    slow = not usable or usable[0] == "portable" or device is not None
    if engine == "torch" or not usable or (engine == "auto" and slow):
        if threads is not None:
            torch.set_num_threads(threads)
        return TorchEngine(config, precision, device or "cpu")
    import worldpm_kernels

    worldpm_kernels.set_num_threads(threads or processors())
    return NativeEngine(config, precision, usable[0])


def gpu() -> str | None:
    """The GPU of this process: the one that torchrun gave it, or the first; None without any."""
    if not torch.cuda.is_available():
        return None
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def native_isas() -> tuple[str, ...]:
    """Instruction sets that the native package can use here, best first; none without it."""
    try:
        import worldpm_kernels
    except ImportError:
        return ()
    return tuple(worldpm_kernels.isas())


class NativeEngine:
    """Layers packed and run by `worldpm_kernels`."""

    def __init__(self, config: ModelConfig, dtype: str, isa: str) -> None:
        import worldpm_kernels

        self.config = config
        self.dtype = dtype
        self.isa = isa
        self.name = f"native {isa}"
        self._kernels = worldpm_kernels

    @property
    def threads(self) -> int:
        """See `Engine.threads`."""
        return int(self._kernels.num_threads())

    def plan(self, batch: TreeBatch) -> Any:
        """See `Engine.plan`."""
        lengths = [length for tree in batch.segments for length in tree]
        parents: list[int] = []
        for ancestors in batch.ancestors:
            first = len(parents)
            parents += [first + above[-1] if above else -1 for above in ancestors]
        starts = [0, *accumulate(lengths)][:-1]
        half = self.config.head_dim // 2
        cos, sin = rotary_table(batch.positions, self.config.head_dim, self.config.rope_theta)
        return self._kernels.Plan(
            batch.positions.numpy().astype(np.int32),
            cos[:, 0, :half].contiguous().numpy(),
            sin[:, 0, :half].contiguous().numpy(),
            *(np.array(values, dtype=np.int32) for values in (starts, lengths, parents)),
        )

    def make_layer(self, tensors: Mapping[str, Tensor]) -> LayerRun:
        """See `Engine.make_layer`."""
        config = self.config
        shape = {
            "hidden_size": config.hidden_size,
            "num_attention_heads": config.num_attention_heads,
            "num_key_value_heads": config.num_key_value_heads,
            "head_dim": config.head_dim,
            "intermediate_size": config.intermediate_size,
            "rms_norm_eps": config.rms_norm_eps,
            "qk_norm": config.qk_norm,
        }
        arrays = {name: _array(tensor) for name, tensor in tensors.items()}
        layer = self._kernels.Layer(shape, arrays, self.dtype, self.isa)

        def run(residual: Tensor, plan: Any) -> Tensor:
            layer.run(residual.numpy(), plan)
            return residual

        return run

    def make_head(self, norm: Tensor, head: nn.Module) -> HeadRun:
        """See `Engine.make_head`."""
        linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
        weights = [
            (_array(linear.weight), None if linear.bias is None else _array(linear.bias))
            for linear in linears
        ]
        native = self._kernels.Head(_array(norm.float()), self.config.rms_norm_eps, weights)

        def run(rows: Tensor) -> Tensor:
            return torch.from_numpy(native.run(rows.contiguous().numpy()))

        return run


def _array(tensor: Tensor) -> Any:
    """float32 as it is, bfloat16 as uint16 (numpy has no bfloat16), others through float32."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy()
    return tensor.float().numpy()
