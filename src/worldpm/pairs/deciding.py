"""All comparisons' keys and the pairs that are alike -> which are dropped, and in which split.

decide(DecideTask("decide", num_groups=16, near=(("prompt", "near-0"), ...), settings), folder)

Only what differs from the rule for a comparison by itself is written down, a verdict for each: it
is dropped for a twin, or it goes to the split of the texts that it is like. In memory are 60 bytes
a comparison, and the names of those that are like another.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.pairs.dedup import TEXTS, Clusters, Member, Text, Twin, choose, keep_apart, split_key
from worldpm.pairs.near import read_pairs
from worldpm.pairs.settings import PairSettings
from worldpm.pairs.split import Split, split_of
from worldpm.pairs.tasks import group_name, read_keys

DECIDED = "decided"
VERDICTS = pa.schema(
    [
        ("row", pa.int64()),
        ("split", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""Of a row of a group: its split, or why it is dropped."""


@dataclass(frozen=True, slots=True)
class DecideTask:
    """`near` names the tasks that searched each text, as pairs of text and name."""

    name: str
    num_groups: int
    near: tuple[tuple[Text, str], ...]
    settings: PairSettings


def decide(task: DecideTask, folder: Path) -> dict[str, Any]:
    """Write the verdicts of each group; returns how many clusters there were."""
    settings = task.settings
    held_out = settings.split.held_out_sources
    keys = _Keys(folder, task.num_groups)
    dropped: dict[int, Twin] = {}
    num_clusters = 0
    if settings.dedup.drop != "nothing":
        for rows in _clusters(task, folder, keys, [settings.dedup.drop]).several():
            twins = choose(keys.members(rows, settings.dedup.drop), settings.dedup, held_out)
            dropped |= twins
            num_clusters += bool(twins)
    splits: dict[int, Split] = {}
    alike = _clusters(task, folder, keys, TEXTS)
    alike.join_equal(keys.question_hash)
    for rows in alike.several():
        left = keys.members([row for row in rows if row not in dropped], "whole")
        apart = keep_apart(left, held_out)
        dropped |= apart
        questions = {(each.source, each.question) for each in left if each.row not in apart}
        if len(questions) > 1:
            source, question = split_key(questions)
            part = split_of(settings.split, source, question)
            splits |= {each.row: part for each in left if each.row not in apart}
    _write(folder, keys.starts, dropped, splits)
    return {"clusters": num_clusters, "dropped": len(dropped), "moved": len(splits)}


def read_verdicts(folder: Path, number: int) -> dict[int, tuple[Split | None, str, str | None]]:
    """The verdicts of a group by row: split, or None with reason and detail."""
    columns = pq.read_table(_path(folder, number)).to_pydict()
    return {
        row: (split, reason, detail)
        for row, split, reason, detail in zip(
            *(columns[name] for name in VERDICTS.names), strict=True
        )
    }


class _Keys:
    """Numbers of all comparisons in arrays, names from the files where they are asked for."""

    def __init__(self, folder: Path, num_groups: int) -> None:
        self._folder = folder
        names = ["question_hash", "prompt_hash", "whole_hash", "num_edges"]
        tables = [read_keys(folder, number, names) for number in range(num_groups)]
        self.starts = np.cumsum([0, *(len(each) for each in tables)])
        whole = pa.concat_tables(tables)
        self.question_hash = whole["question_hash"].to_numpy()
        self.hashes = {text: whole[f"{text}_hash"].to_numpy() for text in TEXTS}
        self._num_edges = whole["num_edges"].to_numpy()
        self._names: tuple[int, pa.Table] | None = None

    def members(self, rows: Iterable[int], text: Text) -> list[Member]:
        found = []
        for row in rows:
            number, place = self._place(row)
            if self._names is None or self._names[0] != number:
                names = read_keys(self._folder, number, ["source", "id", "question"])
                self._names = number, names
            source, name, question = (
                self._names[1][column][place].as_py() for column in ("source", "id", "question")
            )
            edges, value = int(self._num_edges[row]), int(self.hashes[text][row])
            found.append(Member(row, source, name, question, edges, value))
        return found

    def _place(self, row: int) -> tuple[int, int]:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return number, row - int(self.starts[number])


def _clusters(task: DecideTask, folder: Path, keys: _Keys, texts: Sequence[Text]) -> Clusters:
    """What is alike in any of these texts."""
    clusters = Clusters(int(keys.starts[-1]))
    for text in texts:
        clusters.join_equal(keys.hashes[text])
    names = [name for text, name in task.near if text in texts]
    for a, b in read_pairs(folder, names):
        clusters.join(a, b)
    return clusters


def _write(folder: Path, starts: Any, dropped: dict[int, Twin], splits: dict[int, Split]) -> None:
    rows = sorted(dropped.keys() | splits.keys())
    bounds = np.searchsorted(rows, starts)
    for number in range(len(starts) - 1):
        verdicts = _verdicts(rows[bounds[number] : bounds[number + 1]], dropped, splits)
        columns = list(zip(*verdicts, strict=True)) or [()] * len(VERDICTS)
        first = int(starts[number])
        columns[0] = tuple(row - first for row in columns[0])
        arrays = [pa.array(c, kind) for c, kind in zip(columns, VERDICTS.types, strict=True)]
        path = _path(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(arrays, schema=VERDICTS), path)


def _verdicts(
    rows: Sequence[int], dropped: dict[int, Twin], splits: dict[int, Split]
) -> Iterator[tuple[int, str | None, str | None, str | None]]:
    for row in rows:
        twin = dropped.get(row)
        if twin is None:
            yield row, splits[row], None, None
        else:
            yield row, None, twin.reason, twin.key


def _path(folder: Path, number: int) -> Path:
    return folder / DECIDED / f"{group_name(number)}.parquet"
