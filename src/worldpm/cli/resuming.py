"""The rows of `score --resume`: those that were scored are known by their id and by what they ask.

    with rows_left(requests, Path("out.jsonl"), kept, file) as left: ...

A row without an id is called by its place, which tells nothing of its text. So a digest of every
row stands beside the unfinished output, written before the row's scores are.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from worldpm.errors import DataError
from worldpm.records import Comparison, turns

Request = tuple[bool, object, Comparison]
"""Whether a row is a single conversation, the id to give back, the comparison by its place."""
DIGEST_BYTES = 8


@contextmanager
def rows_left(
    requests: Iterator[Request],
    output: Path | None,
    kept: Sequence[bytes],
    file: IO[bytes] | None,
) -> Iterator[Iterator[Request]]:
    """The requests without those that the `kept` rows answer; `file` is what rows are written to.

    None for both of `output` and `file` where there is nothing to go on with. Raises DataError for
    a kept row of another id than its request, or scored of another text. Rows that an older version
    kept have no digest, and are known by their ids.
    """
    from worldpm.store import write_atomic

    if output is None or file is None:
        yield requests
        return
    path = output.with_name(f".{output.name}.unfinished.rows")
    noted = path.read_bytes() if kept and path.is_file() else b""
    write_atomic(path, b"".join(_answered(requests, kept, noted)))
    done = False
    try:
        with path.open("ab", buffering=0) as digests:
            yield _noting(requests, digests)
        done = True
    finally:
        if done or not file.tell():
            path.unlink(missing_ok=True)


def rows_digest(requests: Iterable[Request]) -> str:
    """A digest of what all the requests ask, in their order."""
    found = hashlib.sha256()
    for request in requests:
        found.update(_digest(request))
    return found.hexdigest()


def _answered(requests: Iterator[Request], kept: Sequence[bytes], noted: bytes) -> Iterator[bytes]:
    """Take a request for each kept row, and yield its digest."""
    import orjson

    for number, line in enumerate(kept, 1):
        request = next(requests, None)
        own = b"" if request is None else _digest(request)
        then = noted[(number - 1) * DIGEST_BYTES : number * DIGEST_BYTES]
        known = len(then) < DIGEST_BYTES or then == own
        if request is None or orjson.loads(line).get("id") != request[1] or not known:
            raise DataError(
                f"row {number} of the unfinished output is not for row {number} of this input; "
                "resume with the same input, or start anew with --force"
            )
        yield own


def _noting(requests: Iterable[Request], digests: IO[bytes]) -> Iterator[Request]:
    for request in requests:
        digests.write(_digest(request))
        yield request


def _digest(request: Request) -> bytes:
    import orjson

    single, _, comparison = request
    asked = [single, turns(comparison.prompt), [turns(reply) for reply in comparison.replies]]
    return hashlib.sha256(orjson.dumps(asked)).digest()[:DIGEST_BYTES]
