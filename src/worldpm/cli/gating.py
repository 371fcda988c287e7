"""`score --dtype int8 --gate FILE`: a precision that must first show what it costs.

The gate is the user's own: comparisons with known better replies, scored in float32 and in int8.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worldpm.cli.common import check_inputs, say
from worldpm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from worldpm.score import Scorer


def check_gate(dtype: str, engine: str, gate: Path | None) -> None:
    """ConfigError unless int8 and a gate come together; DataError for a file that is not there."""
    if dtype == "int8" and gate is None:
        raise ConfigError(
            "--dtype int8 changes scores; say with --gate FILE on which comparisons it must prove "
            "itself"
        )
    if gate is not None and dtype != "int8":
        raise ConfigError("--gate judges --dtype int8; give both or neither")
    if gate is not None and engine == "native":
        raise ConfigError("the native engine has no int8; leave --engine out")
    check_inputs([] if gate is None else [gate])


def load_gated(
    model: str | None, gate: Path, *, threads: int | None, truncate: bool, quiet: bool
) -> "Scorer":
    """The int8 scorer, once it has passed; its report goes to stderr.

    Raises GateError if it does not pass, DataError where the file has no comparison with an edge.
    """
    from worldpm.evals.gate import compare_precision
    from worldpm.rows import read_comparisons
    from worldpm.score import load

    comparisons = [c for c in read_comparisons(gate) if c.better]
    if not comparisons:
        raise DataError(f"{gate}: has no comparison with a known better reply to judge int8 by")

    def scored(dtype: str) -> tuple["Scorer", Sequence[Sequence[float]]]:
        scorer = load(model, dtype=dtype, threads=threads, truncate=truncate)
        return scorer, scorer.score(comparisons)

    exact = scored("float32")[1]  # its weights are gone before the next come
    scorer, cheap = scored("int8")
    report = compare_precision(comparisons, exact, cheap)
    say("\n".join([f"int8 on {gate}:", *report.lines()]), quiet=quiet and report.passed)
    report.check()
    return scorer
