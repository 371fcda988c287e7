"""The kinds of task that make comparisons of threads, each a small value that any machine can do.

    list_keys      all files: which threads are there twice
    survey_group   a group of files: counts for the findings, where a choice needs them
    compare_group  a group of files: comparisons, their signatures, contaminated ones left out

`near.join_near` and `deciding.decide` go between these and `writing.write_group`. What a task
leaves to the next is in the folder that all of them are given.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.errors import DataError, unread
from worldpm.jsonfiles import read_object
from worldpm.ledger import Lost, write_ledger
from worldpm.pairs.arrays import read_array, write_array
from worldpm.pairs.compared import compared_path, in_batches, write_compared
from worldpm.pairs.decontaminate import DecontaminateSettings, Hit, Index, write_index
from worldpm.pairs.dedup import TEXTS
from worldpm.pairs.near import write_signatures
from worldpm.pairs.sample import compare
from worldpm.pairs.settings import PairSettings
from worldpm.pairs.shingles import Hashes, key_hash
from worldpm.pairs.signatures import fingerprints, signatures
from worldpm.pairs.survey import Findings, Survey
from worldpm.records import Comparison, Thread
from worldpm.schema import REQUIRED, other_kind
from worldpm.store import read_parquet, write_atomic
from worldpm.work import pulse

INDEX, FINDINGS, REPEATED = "benchmarks", "findings.json", "repeated"
ROWS_PER_PULSE = 100
THREADS_AT_ONCE = 500  # whose words are numbered together
KEYS = pa.schema(
    [
        ("source", pa.string()),
        ("id", pa.string()),
        ("question", pa.string()),
        ("question_hash", pa.uint64()),
        ("prompt_hash", pa.uint64()),
        ("whole_hash", pa.uint64()),
        ("num_edges", pa.int64()),
        ("num_replies", pa.int64()),
        ("num_answers", pa.int64()),
    ]
)
"""What is known of each comparison of a group beside the comparison itself."""


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """A folder of benchmarks, and a module's own function that reads it: (name, comparison), ..."""

    folder: Path
    read: Callable[[Path], Iterator[tuple[str, Comparison]]]


@dataclass(frozen=True, slots=True)
class IndexTask:
    """Indexes the benchmarks."""

    name: str
    benchmarks: Benchmarks
    settings: DecontaminateSettings


@dataclass(frozen=True, slots=True)
class KeysTask:
    """Reads the keys of all threads: files by group, absolute paths."""

    name: str
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class GroupTask:
    """Does one group of files of threads; `name` ends in the group's number."""

    name: str
    number: int
    files: tuple[str, ...]
    settings: PairSettings
    against: bool = False


def group_name(number: int) -> str:
    """What the files of a group are called."""
    return f"{number:05d}"


def index_benchmarks(task: IndexTask, folder: Path) -> dict[str, Any]:
    """Write the index; returns the number of rows of each benchmark."""
    rows = task.benchmarks.read(task.benchmarks.folder)
    return {"rows": write_index(rows, task.settings, folder / INDEX)}


def list_keys(task: KeysTask, folder: Path) -> dict[str, Any]:
    """Write which rows of each group are a thread that an earlier row is too; counts by source.

    8 bytes a thread, and twice that while they are sorted.
    """
    hashes: list[Hashes] = []
    sources: Counter[str] = Counter()
    for files in task.groups:
        found = []
        for path in files:
            for source, name in _keys(Path(path)):
                sources[source] += 1
                found.append(key_hash(source, name))
        hashes.append(np.array(found, np.uint64))
        pulse(0, sources.total())
    every = np.concatenate([*hashes, np.empty(0, np.uint64)])
    order = np.argsort(every, kind="stable")
    again = np.zeros(len(every), np.bool_)
    again[order[1:]] = every[order][1:] == every[order][:-1]
    start = 0
    for number, each in enumerate(hashes):
        rows = np.flatnonzero(again[start : start + len(each)])
        write_array(_repeated_path(folder, number), rows)
        start += len(each)
    return {"sources": sources, "repeated": int(again.sum())}


def survey_group(task: GroupTask, folder: Path) -> dict[str, Any]:
    """Count what the findings need of a group."""
    survey = Survey()
    for thread, repeated in _threads(task, folder):
        if not repeated:
            survey.add(thread)
    return survey.as_dict()


def compare_group(task: GroupTask, folder: Path) -> dict[str, Any]:
    """Write a group's comparisons with what is to be known of them, and what was dropped."""
    settings = task.settings
    found = folder / FINDINGS
    findings = Findings.from_dict(read_object(found)) if found.exists() else None
    index = Index(folder / INDEX) if task.against else None
    lost: list[Lost] = []
    keys: list[tuple[Any, ...]] = []
    hits: list[Hit] = []
    near = settings.dedup.near
    signed: dict[str, list[Any]] = {text: [signatures([])] for text in TEXTS}

    def made_of(thread: Thread, repeated: bool) -> Comparison | None:
        reasons = ["repeated_thread"] if repeated else []
        made = None if repeated else compare(thread, settings, reasons.append, findings)
        if made is None:
            lost.append(Lost(thread.source, thread.id, *reasons))
        elif index is not None and (leaks := index.search(made)):
            hits.extend(leaks)
            if index.settings.drop:
                where = f"{leaks[0].benchmark} {leaks[0].row}, {leaks[0].of}"
                detail = f"{where} in {leaks[0].where}"
                lost.append(Lost(thread.source, thread.id, "contaminated", detail))
                return None
        return made

    def comparisons() -> Iterator[Comparison]:
        for threads in in_batches(_threads(task, folder), THREADS_AT_ONCE):
            found = [(thread, made_of(thread, repeated)) for thread, repeated in threads]
            kept = [(thread, made) for thread, made in found if made is not None]
            prints = fingerprints([thread for thread, _ in kept], near=near)
            for (thread, made), each in zip(kept, prints, strict=True):
                question = thread.question.id
                keys.append(
                    (
                        made.source, made.id, question, key_hash(made.source, question),
                        each.prompt_hash, each.whole_hash,
                        len(made.better), len(made.replies), made.meta["num_answers"],
                    )
                )  # fmt: skip
                yield made
            if near:
                signed["prompt"].append(signatures([each.prompt for each in prints]))
                signed["whole"].append(signatures([each.whole for each in prints]))

    path = compared_path(folder, task.number)
    write_compared(path, comparisons())
    if near:
        for text in TEXTS:
            rows = np.concatenate(signed[text])
            write_signatures(folder, text, group_name(task.number), rows)
    columns = list(zip(*keys, strict=True)) or [()] * len(KEYS)
    arrays = [pa.array(each, kind) for each, kind in zip(columns, KEYS.types, strict=True)]
    pq.write_table(pa.table(arrays, schema=KEYS), path.with_suffix(".keys"))
    write_ledger(path.with_suffix(".lost"), lost)
    lines = [orjson.dumps(hit._asdict(), option=orjson.OPT_APPEND_NEWLINE) for hit in hits]
    write_atomic(path.with_suffix(".hits"), b"".join(lines))
    return {
        "threads": len(keys) + len(lost),
        "comparisons": len(keys),
        "dropped": Counter(each.reason for each in lost),
        "contaminated": len({(hit.source, hit.id) for hit in hits}),
        "hits": Counter(f"{hit.benchmark} {hit.kind}" for hit in hits),
    }


def read_keys(folder: Path, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The keys of a group's comparisons, in their order."""
    return pq.read_table(compared_path(folder, number).with_suffix(".keys"), columns=columns)


def _threads(task: GroupTask, folder: Path) -> Iterator[tuple[Thread, bool]]:
    """The threads of a group, each with whether it was there before."""
    repeated = set(read_array(_repeated_path(folder, task.number)).tolist())
    number = 0
    for path in task.files:
        for thread in read_parquet(Path(path), Thread):
            yield thread, number in repeated
            number += 1
            if number % ROWS_PER_PULSE == 0:
                pulse(0, number)


def _repeated_path(folder: Path, number: int) -> Path:
    return folder / REPEATED / f"{group_name(number)}.npy"


def _keys(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with pq.ParquetFile(path) as file:
            if missing := REQUIRED[Thread] - set(file.schema_arrow.names):
                raise DataError(
                    f"{path}: lacks the columns {', '.join(sorted(missing))}"
                    + other_kind(Thread, file.schema_arrow.names)
                )
            for batch in file.iter_batches(columns=["source", "id"]):
                values = batch.column("source").to_pylist(), batch.column("id").to_pylist()
                for source, name in zip(*values, strict=True):
                    if not isinstance(source, str) or not isinstance(name, str):
                        raise DataError(f"{path}: a thread has no source or id; make it again")
                    yield source, name
    except (pa.ArrowException, OSError) as error:
        problem = DataError(f"{path}: cannot be read as Parquet: {error}")
        raise unread(path, error) or problem from None
