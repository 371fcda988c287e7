"""Which of train, validation and test a record belongs to: decided by a hash, never by its place.

    split_of(SplitSettings(test=0.1), source="ai.stackexchange.com", key="1")  ->  "train"

The same settings, source and key give the same split on every machine and in every order.
"""

import hashlib
from typing import Literal

from pydantic import Field

from worldpm.config import Settings

Split = Literal["train", "validation", "test"]


class SplitSettings(Settings):
    """Fractions of the records that go to validation and test; the rest trains."""

    validation: float = Field(default=0.05, ge=0, le=1)
    test: float = Field(default=0.05, ge=0, le=1)
    held_out_sources: tuple[str, ...] = ()
    """Sources (sites) that go to test as a whole."""
    seed: int = 0


def unit_hash(*key: object) -> float:
    """A number in [0, 1) that depends on nothing but `key` (blake2b)."""
    text = "\x1f".join(map(str, key)).encode("utf-8")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / 2**64


def split_of(settings: SplitSettings, source: str, key: str, test: float | None = None) -> Split:
    """The split of the record `key` of `source`; `test` replaces the settings' fraction.

    Test and validation are drawn by separate hashes, so that a key's place in validation does not
    move when the test fraction does.
    """
    if source in settings.held_out_sources:
        return "test"
    fraction = settings.test if test is None else test
    if unit_hash(settings.seed, "test", source, key) < fraction:
        return "test"
    if unit_hash(settings.seed, "validation", source, key) < settings.validation:
        return "validation"
    return "train"
