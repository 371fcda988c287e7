"""The rows of the benchmarks as their authors write them, read and checked at the border.

    a JSON file -> rows(path, LLMBarRow) -> ("dataset.json[0]", LLMBarRow(...)), ...

Keys that we do not use are ignored; one that is missing or of another type is a DataError.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from worldpm.errors import DataError

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class LLMBarRow:
    """LLMBar: `label` is the number of the better output."""

    input: str
    output_1: str
    output_2: str
    label: Literal[1, 2]


@dataclass(frozen=True, slots=True)
class RewardBenchRow:
    """The re-cut RewardBench: `label` names the better response, A in every row."""

    id: str
    prompt: str
    response_a: str
    response_b: str
    label: Literal["A", "B"]


@dataclass(frozen=True, slots=True)
class RMBenchRow:
    """RM-Bench: three chosen and three rejected replies, of style 0, 1, 2."""

    id: int
    prompt: str
    subset: str
    chosen: tuple[str, str, str]
    rejected: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class EvalBiasRow:
    """EvalBiasBench: `label` is the number of the better response."""

    bias: str
    instruction: str
    response1: str
    response2: str
    label: Literal[1, 2]


@dataclass(frozen=True, slots=True)
class HHHRow:
    """HHH: each side stands inside a prompt for a judge."""

    source: str
    chosen_instruction: str
    rejected_instruction: str


@dataclass(frozen=True, slots=True)
class MathRow:
    """math-prm: one solution, as its list of steps."""

    problem: str
    eval_solution: list[str]
    subject: str
    level: int
    problem_id: int
    solution_type: Literal["chosen", "rejected"]


@cache  # building an adapter costs 100 times what checking a row does
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parse_row(kind: type[RowT], row: Any, where: str) -> RowT:
    """`row` as a `kind`; DataError saying `where`, which key, and what it should be."""
    try:
        parsed: RowT = _adapter(kind).validate_python(row)  # type: ignore[arg-type]
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"][:1].lower() + problem["msg"][1:]
        raise DataError(f"{where}: {key or 'row'}: {message}; is this the authors' file?") from None
    return parsed


def load_json(path: Path) -> Any:
    """A JSON file's content; DataError if it is absent or not valid JSON."""
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; give the benchmark's own folder"
        ) from None
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON: {error}; fetch the file again") from None


def read_rows(path: Path, kind: type[RowT]) -> Iterator[tuple[str, RowT]]:
    """Yield ("path[index]", row) of a file that holds one JSON list; the index counts from 0."""
    yield from check_rows(load_json(path), kind, str(path))


def check_rows(rows: Any, kind: type[RowT], where: str) -> Iterator[tuple[str, RowT]]:
    """Yield ("where[index]", row) of a list of rows; DataError if it is no list."""
    if not isinstance(rows, list):
        raise DataError(f"{where}: holds a {type(rows).__name__}, not a list of rows")
    for index, row in enumerate(rows):
        place = f"{where}[{index}]"
        yield place, parse_row(kind, row, place)
