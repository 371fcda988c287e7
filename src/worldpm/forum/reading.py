"""What every reader of a forum is given, and what it gives back.

    scatter(path, settings, Reading(drop, note), shards)    one dump -> rows by their question
    join(Bucket(part, rows, folders), settings, reading)    those of a shard -> Thread, Thread, ...

Each row of the dumps becomes a post of exactly one thread, or `drop` hears of it under a reason.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from worldpm.config import Settings
from worldpm.ledger import Lost

Count = Callable[[str], None]
TOO_FEW_ANSWERS = "too_few_answers"
# Past what any forum counts, and well inside the 64 bits of a Parquet column.
MAX_VOTES = 10**12
_INTEGER = re.compile(r"[+-]?[0-9]+")


class ForumSettings(Settings):
    """What is done to the threads of any forum."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    mask_contacts: bool = False
    """Put `[e-mail]` and `[phone]` where a text has one."""
    authors: Literal["keep", "drop"] = "keep"
    """Some licences ask that authors be named; `drop` leaves them out, and their profile links."""
    min_answers: int = Field(default=2, ge=0)
    """Threads with fewer are dropped, since one answer alone is compared with nothing; 0 keeps all.

    Of fifteen Stack Exchange sites they are half of the threads, with 28 % of the text.
    """
    shard_bytes: int = Field(default=64_000_000, ge=100)
    """About how much text of the dumps goes into one file of threads; less needs less memory."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Whom a reader tells of rows left out (`drop`) and of things worth a count (`note`).

    `lose` is told of those that the ledger names; they are not told to `drop` once more.
    """

    drop: Count = lambda reason: None
    note: Count = lambda name: None
    lose: Callable[[Lost], None] = lambda lost: None

    def too_few_answers(self, source: str, ids: Iterable[str]) -> None:
        """Lose the posts of a thread with fewer than `min_answers`."""
        for each in ids:
            self.lose(Lost(source, each, TOO_FEW_ANSWERS))


@dataclass(frozen=True, slots=True)
class Bucket:
    """The rows of one shard, of all dumps that belong together."""

    part: str
    """What the dumps are called together: a site, a forum."""
    rows: list[Any]
    folders: Sequence[Path] = ()
    """Where scattering each dump has left other files."""


def votes_of(value: Any) -> int | str:
    """A row's votes as an integer, or the reason why it has none.

    Takes integers, whole floats (tables with gaps come as 12.0) and texts of an integer.
    """
    if value is None or value == "":
        return "no_score"
    written = isinstance(value, str) and len(value) < 20 and _INTEGER.fullmatch(value.strip())
    if written or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_VOTES:
        return "malformed_score"
    return value


def id_of(value: Any) -> str | None:
    """A row's id as text, or None where it is neither a short text nor an integer.

    Whole floats are integers, as far as floats tell these apart.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
        return None
    return value.strip() or None


def text_of(value: Any) -> str | None:
    """A text without blanks around it, or None for anything else and for an empty one."""
    return value.strip() or None if isinstance(value, str) else None


def moment_of(seconds: Any) -> str | None:
    """Seconds since 1970 as `2017-03-30T03:46:36` (UTC), the form of Stack Exchange's dumps."""
    try:
        moment = datetime.datetime.fromtimestamp(float(seconds), datetime.UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")
