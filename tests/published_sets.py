"""Published sets in small: rows in their authors' own form, and what a reader makes of them."""

import gzip
from collections import Counter

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from worldpm.pairs.published import PUBLISHED
from worldpm.records import Message


def write(path, rows):
    """JSON (a list), JSON lines, gzipped JSON lines or Parquet, by the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_bytes(orjson.dumps(rows))
    else:
        data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def read(name, path, **options):
    """(comparisons, drops by reason) of a set's reader."""
    dropped = Counter()
    found = list(PUBLISHED[name](path, lambda reason: dropped.update([reason]), **options))
    return found, dict(dropped)


def texts(comparison):
    return ["|".join(message.content for message in reply) for reply in comparison.replies]


def edges(comparison):
    return [(edge.winner, edge.loser, edge.margin) for edge in comparison.better]


def user(content):
    return Message("user", content)


def assistant(content):
    return Message("assistant", content)
