"""XML of the form `<posts><row .../><row .../></posts>` -> the attributes of each row.

    parser = RowParser("ai.7z: Posts.xml", lambda row: print(row["Id"]))
    parser.feed(b"..."); parser.feed(b"..."); parser.close()

The XML is untrusted: entities and documents of other files are refused, no tree is built.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from lxml import etree

from worldpm.errors import DataError

Row = Mapping[str, str]
CHUNK_BYTES = 1 << 20
_SAFELY: dict[str, Any] = {
    "resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False,
}  # fmt: skip


class Parser(Protocol):
    """What takes the bytes of a member as they come."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def close(self) -> None:
        """End of file: what is still open is an error."""


class RowParser:
    """Calls `row` with the attributes of each `<row .../>` below the root, as bytes are fed.

    No tree is built, so memory is bounded. Raises DataError, beginning with `where`, for broken XML
    and for any entity declaration.
    """

    def __init__(self, where: str, row: Callable[[Row], None]) -> None:
        self._where = where
        self._head = bytearray()
        self._events = _Events(row, self._refuse_entities)
        # Where nothing is resolved, libxml2 hands on &amp; as it was written. What a dump declares
        # itself is refused before its first row.
        safely = _SAFELY | {"resolve_entities": "internal"}
        self._parser = etree.XMLParser(target=self._events, **safely)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        try:
            for start in range(0, len(data), CHUNK_BYTES):
                piece = data[start : start + CHUNK_BYTES]
                if not self._events.depth and len(self._head) < 2 * CHUNK_BYTES:
                    self._head += piece
                self._parser.feed(piece)
        except etree.XMLSyntaxError as error:
            raise DataError(f"{self._where}: broken or hostile XML: {error}") from None

    def close(self) -> None:
        """End of file: what is still open is an error."""
        try:
            self._parser.close()
        except etree.XMLSyntaxError as error:
            raise DataError(
                f"{self._where}: the XML ends too early or is broken: {error}"
            ) from None

    def _refuse_entities(self) -> None:
        """Read what stands before the root again, by a parser that tells what is declared there."""
        pull: Any = etree.XMLPullParser(events=("start",), **_SAFELY)
        with suppress(etree.XMLSyntaxError):
            pull.feed(bytes(self._head))
        _, root = next(pull.read_events(), (None, None))
        dtd = None if root is None else root.getroottree().docinfo.internalDTD
        if dtd is None or any(True for _ in dtd.entities()):
            raise DataError(f"{self._where}: declares XML entities, which no dump does; refused")


class _Events:
    """What the parser calls as it goes; `check` before the root, where there is a document type."""

    def __init__(self, row: Callable[[Row], None], check: Callable[[], None]) -> None:
        self._row, self._check = row, check
        self._typed = False
        self.depth = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        self._typed = True

    def start(self, tag: str, attributes: Row) -> None:
        self.depth += 1
        if self.depth == 2 and tag == "row":
            self._row(attributes)
        elif self.depth == 1 and self._typed:
            self._check()

    def end(self, tag: str) -> None:
        self.depth -= 1

    def close(self) -> None:
        pass
