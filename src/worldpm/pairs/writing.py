"""A group's comparisons and verdicts -> its files of each split, and of the ledger.

write_group(WriteTask(...), folder)     FOLDER/out/train-00003-of-00016.parquet, ...

A file is written also where a group has nothing of a split: the numbers of a part have no gaps.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.ledger import Lost, ledger_path, read_ledger_file, write_ledger
from worldpm.pairs.compared import compared_path, read_compared
from worldpm.pairs.deciding import read_verdicts
from worldpm.pairs.modelfilter import REASON, rm_filter
from worldpm.pairs.settings import PairSettings
from worldpm.pairs.split import Split, split_of
from worldpm.pairs.tasks import read_keys
from worldpm.records import Comparison, ScoreFn
from worldpm.schema import READERS, SCHEMAS, to_table
from worldpm.store import ROWS_PER_GROUP, part_path, whole_file
from worldpm.work import pulse

SPLITS: tuple[Split, ...] = get_args(Split)
OUT = "out"


@dataclass(frozen=True, slots=True)
class WriteTask:
    """Writes group `number` of `count`."""

    name: str
    number: int
    count: int
    settings: PairSettings


def write_group(task: WriteTask, folder: Path, score: ScoreFn | None = None) -> dict[str, Any]:
    """Write the files of a group; with `score`, edges are filtered by their margin before.

    Returns the comparisons of each split, what was dropped by reason, and what was counted.
    """
    path = compared_path(folder, task.number)
    verdicts = read_verdicts(folder, task.number)
    keys = read_keys(folder, task.number).to_pylist()
    lost = list(read_ledger_file(path.with_suffix(".lost")))
    numbers = Counter({"edges": 0, "replies": 0, "replies_not_sampled": 0})
    sources: dict[str, Counter[str]] = {}
    counts: Counter[str] = Counter()
    out = folder / OUT
    with ExitStack() as stack:
        parts = {
            split: stack.enter_context(_file(part_path(out, split, task.number, task.count)))
            for split in SPLITS
        }
        for start, table in read_compared(path):
            chosen: dict[Split, list[int]] = {split: [] for split in SPLITS}
            edges: dict[int, int] = {}
            if score is not None:
                stays = [verdicts.get(start + n, ("",))[0] is not None for n in range(len(table))]
                table, edges = _filtered(table, stays, task.settings, score)
            for place in range(len(table)):
                key = keys[start + place]
                left = edges.get(place, key["num_edges"])
                split, reason, detail = verdicts.get(start + place) or (
                    split_of(task.settings.split, key["source"], key["question"]), "", None
                )  # fmt: skip
                if split is None:
                    lost.append(Lost(key["source"], key["id"], reason, detail))
                    continue
                if left < key["num_edges"]:
                    numbers["edges_filtered_by_model"] += key["num_edges"] - left
                if not left:
                    lost.append(Lost(key["source"], key["id"], REASON))
                    continue
                chosen[split].append(place)
                sources.setdefault(key["source"], Counter())[split] += 1
                numbers["edges"] += left
                numbers["replies"] += key["num_replies"]
                numbers["replies_not_sampled"] += key["num_answers"] - key["num_replies"]
            for split, places in chosen.items():
                counts[split] += len(places)
                parts[split](table.take(pa.array(places, pa.int64())))
            pulse(0, start + len(table))
    write_ledger(ledger_path(out, task.number, task.count), lost)
    return {
        "counts": counts,
        "dropped": Counter(each.reason for each in lost),
        "numbers": numbers,
        "sources": sources,
    }


@contextmanager
def _file(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """What adds rows to a Parquet file of comparisons, in groups of a thousand; it comes whole."""
    waiting: list[pa.Table] = []
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMAS[Comparison], compression="zstd") as writer,
    ):

        def write() -> None:
            writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS_PER_GROUP)
            waiting.clear()

        def add(rows: pa.Table) -> None:
            waiting.append(rows)
            if sum(map(len, waiting)) >= ROWS_PER_GROUP:
                write()

        yield add
        if any(map(len, waiting)):
            write()


def _filtered(
    table: pa.Table, stays: Sequence[bool], settings: PairSettings, score: ScoreFn
) -> tuple[pa.Table, dict[int, int]]:
    """The table with the edges that the filter leaves, and how many those are in each row.

    What is dropped for another reason is not scored.
    """
    records = [READERS[Comparison](row) for row in table.to_pylist()]
    asked = [n for n, stay in enumerate(stays) if stay]
    edges = {}
    filtered = rm_filter([records[n] for n in asked], score, settings.filter)
    for n, found in zip(asked, filtered, strict=True):
        records[n], edges[n] = found, len(found.better)
    return to_table(Comparison, records), edges
