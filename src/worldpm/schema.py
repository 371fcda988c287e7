"""Records <-> the rows of our Parquet files: their columns, and what a row must hold.

to_table(Comparison, comparisons)   ->  a table whose columns are those of SCHEMAS[Comparison]
READERS[Comparison](row)            ->  comparison, or ValueError saying what is wrong with the row
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from worldpm.errors import DataError
from worldpm.records import (
    ROLES,
    Comparison,
    Conversation,
    Edge,
    Message,
    Post,
    Thread,
    edge_fault,
    turns,
)

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMAS: dict[type, pa.Schema] = {
    Comparison: pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("subset", pa.string()),
            ("prompt", _MESSAGES),
            ("replies", pa.list_(_MESSAGES)),
            (
                "better",
                pa.list_(
                    pa.struct(
                        [
                            ("winner", pa.int32()),
                            ("loser", pa.int32()),
                            ("margin", pa.float64()),
                            ("weight", pa.float64()),
                        ]
                    )
                ),
            ),
            ("meta", pa.string()),  # JSON: its keys differ from source to source
        ]
    ),
    Thread: pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("title", pa.string()),
            ("tags", pa.list_(pa.string())),
            (
                "posts",
                pa.list_(
                    pa.struct(
                        [
                            ("id", pa.string()),
                            ("parent", pa.string()),
                            ("author", pa.string()),
                            ("created", pa.string()),
                            ("text", pa.string()),
                            ("votes", pa.int64()),
                            ("accepted", pa.bool_()),
                            ("url", pa.string()),
                            ("up", pa.int64()),
                            ("down", pa.int64()),
                        ]
                    )
                ),
            ),
            ("url", pa.string()),
            ("license", pa.string()),
            ("num_prompt_posts", pa.int32()),
        ]
    ),
}
REQUIRED: dict[type, frozenset[str]] = {
    Comparison: frozenset(SCHEMAS[Comparison].names),
    # Threads of before there were chains: their prompt is the question.
    Thread: frozenset(SCHEMAS[Thread].names) - {"num_prompt_posts"},
}


def other_kind(wanted: type, names: Sequence[str]) -> str:
    """What a table of such columns is instead of the wanted records, for an error's end."""
    if wanted is Comparison and REQUIRED[Thread] <= set(names):
        return "; it holds threads, of which `worldpm pairs` makes comparisons"
    if wanted is Thread and REQUIRED[Comparison] <= set(names):
        return "; it holds comparisons, and threads are wanted here, as `worldpm forum` makes them"
    return ""


def _messages(rows: Sequence[Mapping[str, Any]]) -> Conversation:
    for index, row in enumerate(rows):
        if row["role"] not in ROLES:
            raise ValueError(f"message {index} is of the role {row['role']!r}")
        if not isinstance(row["content"], str):
            raise ValueError(f"message {index} has no text")
    return tuple(Message(row["role"], row["content"]) for row in rows)


def comparison_row(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain JSON-ready values (`meta` still a mapping)."""
    return {
        "id": comparison.id,
        "source": comparison.source,
        "subset": comparison.subset,
        "prompt": turns(comparison.prompt),
        "replies": [turns(reply) for reply in comparison.replies],
        "better": [
            {"winner": e.winner, "loser": e.loser, "margin": e.margin, "weight": e.weight}
            for e in comparison.better
        ],
        "meta": dict(comparison.meta),
    }


def to_table(record_type: type, records: Sequence[Any]) -> pa.Table:
    """Records of one type as a table whose columns are those of `SCHEMAS`.

    Column by column, which takes a fifth of the time of a mapping for each post and message. Raises
    DataError for a comparison whose `meta` JSON cannot hold.
    """
    schema = SCHEMAS[record_type]
    nested = {
        "posts": lambda: _lists([t.posts for t in records], schema.field("posts").type),
        "prompt": lambda: _lists([c.prompt for c in records], _MESSAGES),
        "replies": lambda: _replies([c.replies for c in records]),
        "better": lambda: _lists([c.better for c in records], schema.field("better").type),
        "meta": lambda: pa.array(list(map(_meta_text, records))),
    }
    arrays = [
        nested[f.name]()
        if f.name in nested
        else pa.array(list(map(attrgetter(f.name), records)), f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _meta_text(comparison: Comparison) -> str:
    try:
        return orjson.dumps(dict(comparison.meta)).decode()
    except orjson.JSONEncodeError as error:  # what Parquet holds and JSON does not
        raise DataError(
            f"{comparison.source} {comparison.id}: meta cannot be written as JSON: {error}"
        ) from None


def _offsets(lists: Sequence[Sequence[Any]]) -> pa.Array:
    return pa.array(np.cumsum([0, *map(len, lists)], dtype=np.int32))


def _lists(lists: Sequence[Sequence[Any]], kind: Any) -> pa.Array:
    """Lists of records as a column of lists of structs, field by field."""
    flat = [each for one in lists for each in one]
    fields = list(kind.value_type)
    columns = [pa.array(list(map(attrgetter(f.name), flat)), f.type) for f in fields]
    struct = pa.StructArray.from_arrays(columns, fields=fields)
    return pa.ListArray.from_arrays(_offsets(lists), struct)


def _replies(lists: Sequence[Sequence[Conversation]]) -> pa.Array:
    flat = _lists([reply for replies in lists for reply in replies], _MESSAGES)
    return pa.ListArray.from_arrays(_offsets(lists), flat)


def from_batch(record_type: type, batch: pa.RecordBatch) -> list[Any] | None:
    """The records of a batch, column by column; None where each row must be looked at by itself."""
    names = [f.name for f in SCHEMAS[Thread]]
    if record_type is not Thread or batch.schema.names != names:
        return None
    listed = batch.column("posts")
    struct = listed.flatten()
    kind = SCHEMAS[Thread].field("posts").type
    if listed.type != kind or listed.null_count or struct.null_count or batch["tags"].null_count:
        return None
    posts = list(map(Post, *(field.to_pylist() for field in struct.flatten())))
    lengths = listed.value_lengths().to_pylist()
    columns = [batch.column(name).to_pylist() for name in names if name != "posts"]
    found, start = [], 0
    for length, row in zip(lengths, zip(*columns, strict=True), strict=True):
        own, source, title, tags, url, license, num_prompt_posts = row
        if num_prompt_posts is None or not 1 <= num_prompt_posts <= length:
            return None
        mine = tuple(posts[start : start + length])
        found.append(Thread(own, source, title, tuple(tags), mine, url, license, num_prompt_posts))
        start += length
    return found


def _comparison(row: Mapping[str, Any]) -> Comparison:
    found = Comparison(
        id=row["id"],
        source=row["source"],
        subset=row["subset"],
        prompt=_messages(row["prompt"]),
        replies=tuple(_messages(reply) for reply in row["replies"]),
        better=tuple(Edge(**edge) for edge in row["better"]),
        meta=orjson.loads(row["meta"]),
    )
    if not isinstance(found.id, str) or not isinstance(found.source, str):
        raise ValueError("id or source is missing")
    if not isinstance(found.meta, dict):
        raise ValueError("meta is not a JSON object")
    if not found.replies:
        raise ValueError("there is no reply")
    if () in found.replies:
        raise ValueError(f"reply {found.replies.index(())} holds no message")
    for index, edge in enumerate(found.better):
        if fault := edge_fault(edge, len(found.replies)):
            raise ValueError(f"better[{index}] {fault}")
    return found


def _thread(row: Mapping[str, Any]) -> Thread:
    found = Thread(
        id=row["id"],
        source=row["source"],
        title=row["title"],
        tags=tuple(row["tags"]),
        posts=tuple(Post(**post) for post in row["posts"]),
        url=row["url"],
        license=row["license"],
        num_prompt_posts=row.get("num_prompt_posts", 1),
    )
    if not 1 <= found.num_prompt_posts <= len(found.posts):
        raise ValueError(f"num_prompt_posts is {found.num_prompt_posts} of {len(found.posts)}")
    return found


# ValueError, TypeError or KeyError says what is wrong with a row that others have changed.
READERS: dict[type, Callable[[Mapping[str, Any]], Any]] = {
    Comparison: _comparison,
    Thread: _thread,
}
