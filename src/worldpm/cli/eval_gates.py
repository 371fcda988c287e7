"""`eval --fail-under`: the least accuracy that a set, or a group of it, must have.

gates = read_gates(["rewardbench:Safety=0.6"], chosen)   before anything is scored
check_gates(gates, report["evaluations"])                GateError, exit code 3, for what is below
"""

from collections.abc import Mapping, Sequence
from typing import Any

from worldpm.cli.eval_sets import Set
from worldpm.errors import ConfigError, GateError

Gate = tuple[str, str | None, float]
"""Set, group of it or None for the whole, and the least accuracy as a fraction."""


def read_gates(texts: Sequence[str], chosen: Mapping[str, Set]) -> list[Gate]:
    """What --fail-under asks for; ConfigError for a form or a set that is not there."""
    gates = []
    for text in texts:
        place, _, number = text.rpartition("=")
        suite, colon, group = place.partition(":")
        try:
            least = float(number)
        except ValueError:
            least = -1.0
        if not place or not 0 <= least <= 1:
            raise ConfigError(
                f"--fail-under {text!r}: write SET=ACCURACY with a fraction, such as llmbar=0.6"
            )
        if suite not in chosen:
            raise ConfigError(f"--fail-under {text!r}: {suite!r} is none of {', '.join(chosen)}")
        gates.append((suite, group if colon else None, least))
    return gates


def check_gates(gates: Sequence[Gate], evaluations: Sequence[Mapping[str, Any]]) -> None:
    """GateError that names every accuracy below its gate; ConfigError for a group not there."""
    missed = []
    for suite, group, least in gates:
        for evaluation in evaluations:
            if evaluation["suite"] != suite:
                continue
            lines = evaluation["lines"] if group is not None else evaluation["lines"][:1]
            found = [line["outcome"] for line in lines if group in (None, line["outcome"]["name"])]
            if not found:
                names = ", ".join(line["outcome"]["name"] for line in lines)
                raise ConfigError(f"--fail-under: {suite} has no group {group!r}, but {names}")
            accuracy = found[0]["accuracy"]
            if accuracy < least:
                place = suite if group is None else f"{suite}:{group}"
                missed.append(f"{evaluation['model']} has {accuracy:.4f} on {place}, under {least}")
    if missed:
        raise GateError("; ".join(missed))
