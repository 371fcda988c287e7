"""A grid of sizes, amounts of data and seeds -> cells, and the steps at which each is looked at.

    ladder = load_settings(Ladder, Path("recipes/ladders/processor.toml"))
    cells(ladder)              ->  [Cell("1m-1000-s0", "1m", 1000, 0), ...], size by size
    look_steps(100, 5)         ->  (3, 6, 16, 40, 100)

Data are nested: an amount holds the comparisons whose hash under the seed is lowest, so that a
larger one is a superset and nothing depends on the order of files.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from worldpm.config import Settings
from worldpm.errors import ConfigError
from worldpm.records import Comparison

Natural = Annotated[int, Field(ge=1)]


class Size(Settings):
    """One size of a ladder, of random weights or of a pretrained base; paths are beside its file.

    Either `shape` or `layers` is given.
    """

    recipe: str = Field(description="the recipe that trains it")
    shape: str | None = Field(
        None, description="its shape, of which a base of random weights is made by seed"
    )
    layers: int | None = Field(
        None, ge=1, description="how many layers of the base, from the first on, it begins with"
    )
    settings: tuple[str, ...] = Field((), description="key.path=value for its recipe alone")
    pairs_per_second: float | None = Field(
        None, gt=0, description="what the planner counts with, as measured; else by operations"
    )

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if (self.shape is None) == (self.layers is None):
            raise ValueError("give either shape or layers")
        return self


class Ladder(Settings):
    """A study: every size is trained on every amount of data by every seed."""

    comparisons: tuple[Natural, ...] = Field(description="amounts of training data", min_length=1)
    seeds: tuple[int, ...] = Field((0,), description="of data, weights and order", min_length=1)
    looks: int = Field(
        6, ge=1, description="log-spaced evaluations of each run, the last at its end"
    )
    suite_comparisons: int | None = Field(
        None, ge=1, description="the most of a suite that is scored, by hash; all if not given"
    )
    settings: tuple[str, ...] = Field((), description="key.path=value for every recipe")
    sizes: dict[str, Size] = Field(description="by the name that cells get", min_length=1)

    @field_validator("comparisons", "seeds")
    @classmethod
    def _once(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("one is there twice")
        return values

    @field_validator("sizes")
    @classmethod
    def _names(cls, sizes: dict[str, Size]) -> dict[str, Size]:
        for name in sizes:
            if not name.replace(".", "").replace("_", "").isalnum() or name.startswith("."):
                raise ValueError(f"{name!r}: letters, digits, dots and underscores make a name")
        return sizes


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a ladder."""

    name: str
    size: str
    comparisons: int
    seed: int


def cells(ladder: Ladder, only: Sequence[str] = ()) -> list[Cell]:
    """The cells, size by size, less data first; with `only`, those that one of its patterns fits.

    Raises ConfigError for a pattern, as of a shell, that fits none.
    """
    found = [
        Cell(f"{size}-{amount}-s{seed}", size, amount, seed)
        for size in ladder.sizes
        for amount in sorted(ladder.comparisons)
        for seed in ladder.seeds
    ]
    for pattern in only:
        if not any(fnmatchcase(cell.name, pattern) for cell in found):
            names = ", ".join(cell.name for cell in found)
            raise ConfigError(f"--cell {pattern!r} is none of {names}")
    return [c for c in found if not only or any(fnmatchcase(c.name, each) for each in only)]


def look_steps(steps: int, looks: int) -> tuple[int, ...]:
    """At most `looks` steps, evenly apart in the logarithm from 1 on; the last is `steps`.

    Fewer where several fall on one step.
    """
    return tuple(sorted({round(steps ** (k / looks)) for k in range(1, looks + 1)}))


def lowest(comparisons: Iterable[Comparison], amount: int, seed: int) -> Iterator[int]:
    """Places of the `amount` comparisons that come first under the seed, rising.

    Those of a smaller amount are among them. Holds `amount` numbers, whatever the data's size.
    Raises ConfigError where there are fewer with an edge.
    """
    ranked = ((_rank(each, seed), place) for place, each in enumerate(comparisons) if each.better)
    chosen = heapq.nsmallest(amount, ranked)
    if len(chosen) < amount:
        raise ConfigError(
            f"comparisons: {amount:,} were asked for, and the data has {len(chosen):,} to train on"
        )
    yield from sorted(place for _, place in chosen)


def sample(comparisons: Iterable[Comparison], most: int | None) -> list[Comparison]:
    """Of those with an edge at most so many, by hash, in their order."""
    decided = [each for each in comparisons if each.better]
    if most is None or len(decided) <= most:
        return decided
    return [decided[place] for place in lowest(decided, most, 0)]


def _rank(comparison: Comparison, seed: int) -> bytes:
    text = f"{seed}\0{comparison.source}\0{comparison.id}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
