from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Precision = Literal["float32", "bfloat16"]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Weights = NDArray[np.float32] | NDArray[np.uint16]

class LayerShape(Protocol):
    """What a layer reads of a configuration; `worldpm.model.config.ModelConfig` has it."""

    @property
    def hidden_size(self) -> int: ...
    @property
    def num_attention_heads(self) -> int: ...
    @property
    def num_key_value_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def rms_norm_eps(self) -> float: ...
    @property
    def qk_norm(self) -> bool: ...

def isas(precision: Precision | None = None) -> tuple[str, ...]:
    """Instruction sets this processor can run, fastest first, for `precision` or for any.

    "amx-emulated", a test's AMX on any processor, is not among them; `Layer` takes its name.
    """

def precisions(isa: str) -> tuple[Precision, ...]:
    """The precisions that `isa` computes; ValueError if it cannot run here."""

def set_num_threads(count: int) -> None:
    """Threads of every later call, the caller's included; ValueError below 1."""

def num_threads() -> int:
    """Threads in use: as many as the process has processors, unless set."""

class Plan:
    """The layout of T tokens in S segments of token trees, laid end to end."""

    def __init__(
        self,
        positions: Ints,
        cos: Floats,
        sin: Floats,
        starts: Ints,
        lengths: Ints,
        parents: Ints,
    ) -> None:
        """Take `positions` (T,), `cos` and `sin` (T, head_dim / 2), the rest (S,); copies.

        Segments follow each other without gaps, parents precede their children (-1: a root) and
        positions count on by one along every path; ValueError names what does not.
        """

    @property
    def num_tokens(self) -> int: ...
    @property
    def num_segments(self) -> int: ...

class Layer:
    """One decoder layer, its weights packed for an instruction set."""

    def __init__(
        self,
        shape: LayerShape | Mapping[str, float],
        weights: Mapping[str, Weights],
        precision: Precision = "float32",
        isa: str | None = None,
        storage: Precision | None = None,
    ) -> None:
        """Pack `weights`: checkpoint names after "model.layers.i.", float32 or bfloat16 as uint16.

        In "bfloat16" the inputs of matrix products are rounded, sums stay float32. `isa` defaults
        to the fastest, or what WORLDPM_ISA names. `storage` of the matrices defaults to bfloat16
        where that loses nothing. ValueError names a tensor that is missing, unknown or misshapen.
        """

    @staticmethod
    def from_buffer(buffer: NDArray[np.uint8]) -> Layer:
        """A layer that looks into `buffer`: what `to_bytes` gave, aligned to 64 bytes.

        ValueError unless this version packed it for an instruction set that can run here.
        """

    def to_bytes(self) -> bytes:
        """The packed layer, to be stored."""

    @property
    def packed(self) -> NDArray[np.uint8]:
        """The packed layer without a copy, read-only."""

    @property
    def packed_bytes(self) -> int: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def storage(self) -> Precision: ...
    @property
    def isa(self) -> str: ...
    def run(self, residual: Floats, plan: Plan) -> None:
        """Replace `residual` (T, hidden) by the layer's output; releases the interpreter lock."""

class Head:
    """The final RMS norm and a linear or Linear-ReLU-Linear head, in float32."""

    def __init__(
        self,
        norm_weight: Weights,
        eps: float,
        weights: Sequence[tuple[Weights, Weights | None]],
        isa: str | None = None,
    ) -> None:
        """Take pairs of weight (out, in) and bias (out,), ReLU between them; the last out is 1."""

    @property
    def isa(self) -> str: ...
    def run(self, rows: Floats) -> Floats:
        """Scores (N,) of residual rows (N, hidden), the same bits whatever N."""
