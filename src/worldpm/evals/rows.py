"""The rows of the benchmarks as their authors write them, read and checked at the border.

    a JSON file -> rows(path, LLMBarRow) -> ("dataset.json[0]", LLMBarRow(...)), ...

Keys that we do not use are ignored; one that is missing or of another type is a DataError.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from worldpm.errors import DataError
from worldpm.store import read_json_lines, read_parquet_rows

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
class RewardBenchSetRow:
    """RewardBench v1 as on the hub: the chosen over the rejected reply."""

    id: int | str
    prompt: str
    chosen: str
    rejected: str
    subset: str


@dataclass(frozen=True, slots=True)
class RewardBench2Row:
    """RewardBench 2: the first `num_correct` of `total_completions` replies are the chosen ones."""

    id: int | str
    prompt: str
    chosen: list[str]
    rejected: list[str]
    num_correct: int
    total_completions: int
    subset: str


@dataclass(frozen=True, slots=True)
class RMBenchRow:
    """RM-Bench: three chosen and three rejected replies, of style 0, 1, 2.

    `domain` is there in the file of all domains, `subset` in those of one.
    """

    id: int | str
    prompt: str
    chosen: tuple[str, str, str]
    rejected: tuple[str, str, str]
    subset: str | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class RMBTurn:
    """RMB: one turn of the conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class RMBReply:
    """RMB: one model's answer."""

    answer: str


@dataclass(frozen=True, slots=True)
class RMBPairRow:
    """RMB, pairwise."""

    pair_uid: int | str
    conversation_input: tuple[RMBTurn, ...]
    chosen: RMBReply
    reject: RMBReply


@dataclass(frozen=True, slots=True)
class RMBBestRow:
    """RMB, best-of-n."""

    bon_uid: int | str
    conversation_input: tuple[RMBTurn, ...]
    bon_best: RMBReply
    loser_list: tuple[RMBReply, ...]


@dataclass(frozen=True, slots=True)
class PPEHumanRow:
    """PPE's human preferences: `winner` is model_a, model_b or a kind of tie."""

    prompt: str
    response_1: str
    response_2: str
    winner: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class PPEBestRow:
    """A checked benchmark of PPE; `responses` gathers response_1, response_2, ... in order."""

    prompt: str
    scores: list[bool]
    sampled_conflict_pairs: list[tuple[int, int]]
    responses: Annotated[list[str], Field(min_length=2)]
    model_name: str | None = None


@dataclass(frozen=True, slots=True)
class JudgeBenchRow:
    """JudgeBench: `label` says which of the two responses is right."""

    question: str
    response_A: str
    response_B: str
    label: Literal["A>B", "B>A"]
    source: str
    pair_id: str | None = None


@dataclass(frozen=True, slots=True)
class OffsetBiasRow:
    """OffsetBias: `label` is the number of the better output."""

    instruction: str
    output_1: str
    output_2: str
    label: Literal[1, 2]


@dataclass(frozen=True, slots=True)
class HHRow:
    """hh-rlhf: two whole dialogues."""

    chosen: str
    rejected: str


_Rating = Annotated[float, Field(ge=0, le=4)]


@dataclass(frozen=True, slots=True)
class HelpSteerRow:
    """HelpSteer2: one answer with five ratings from 0 to 4."""

    prompt: str
    response: str
    helpfulness: _Rating
    correctness: _Rating
    coherence: _Rating
    complexity: _Rating
    verbosity: _Rating


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
    if kind is PPEBestRow and isinstance(row, dict):
        row = {**row, "responses": _responses(row)}
    try:
        parsed: RowT = _adapter(kind).validate_python(row)  # type: ignore[arg-type]
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"][:1].lower() + problem["msg"][1:]
        raise DataError(f"{where}: {key or 'row'}: {message}; is this the authors' file?") from None
    return parsed


def _responses(row: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    while f"response_{len(found) + 1}" in row:
        found.append(row[f"response_{len(found) + 1}"])
    return found


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


_ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".json")


def find_tables(
    folder: Path, what: str, keep: Callable[[str], bool] = lambda name: True
) -> list[Path]:
    """The files of rows below `folder`, by name; `keep` sees `place`, the path in small letters.

    Hidden folders and the hub's own `dataset_info*` are passed over. Raises DataError naming `what`
    if there is none, or if the same rows may stand there in two forms.
    """
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.name.lower().endswith(_ENDINGS)
        and path.is_file()
        and not path.name.startswith("dataset_info")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and keep(place(folder, path))
    ]
    if not found:
        raise DataError(
            f"{folder}: has no file of {what} ({', '.join(_ENDINGS)}); give the benchmark's own "
            "folder, as on the hub"
        )
    forms = sorted({next(e for e in _ENDINGS if path.name.lower().endswith(e)) for path in found})
    if len(forms) > 1:
        raise DataError(
            f"{folder}: {what} stand there as {' and '.join(forms)}; leave one of the forms"
        )
    return found


def place(folder: Path, path: Path) -> str:
    """`ppe/ppe-math-best-of-k/data/x.parquet`: what names a file's subset, "_" written as "-"."""
    whole = Path(folder.resolve().name) / path.relative_to(folder)
    return whole.as_posix().lower().replace("_", "-")


def read_table(path: Path, kind: type[RowT]) -> Iterator[tuple[str, RowT]]:
    """Yield (place, row) of Parquet, JSON lines, or one JSON list, by the file's name.

    A `.json` file that does not begin with a bracket is read as JSON lines, as the hub has them.
    """
    name = path.name.lower()
    if name.endswith(".json") and _is_list(path):
        yield from read_rows(path, kind)
        return
    rows = read_parquet_rows if name.endswith(".parquet") else read_json_lines
    for number, row in rows(path):
        where = f"{path}:{number}"
        yield where, parse_row(kind, row, where)


def _is_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] == b"["
