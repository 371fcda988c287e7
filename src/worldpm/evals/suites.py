"""Benchmarks in their authors' own files -> comparisons.

    a folder of the benchmark -> read_suite("llmbar", folder) -> [Comparison, ...]
                              -> read_counted("hh-rlhf", folder) -> Reading(comparisons, dropped)

A suite is a function from the benchmark's own folder to an iterator of comparisons; `SUITES` names
them, and `suite_files.FILES` says which files each expects. `meta["class"]` is the paper's class
of the row (WorldPM sections 3.2 and 3.3), or ours where the paper does not use the set. Where the
authors always put the better reply first, a hash of the id decides the order, so that no score
function can win by position. A row that is not as published is a DataError that names it; one
that says nothing stays as a comparison without an edge, and `meta["undecided"]` says why; one that
cannot be a comparison at all is dropped and counted.

>>> read_suite("llmbar", Path("llmbar"))[0].better  # doctest: +SKIP
(Edge(winner=1, loser=0, margin=None, weight=1.0),)
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worldpm.errors import ConfigError, DataError
from worldpm.evals import (
    suites_adversarial,
    suites_correctness,
    suites_people,
    suites_rewardbench,
    suites_style,
)
from worldpm.evals.shaping import Dropped
from worldpm.records import Comparison

Suite = Callable[[Path], Iterator[Comparison | Dropped] | Iterator[Comparison]]

SUITES: dict[str, Suite] = {
    "llmbar": suites_adversarial.llmbar,
    "rewardbench": suites_rewardbench.rewardbench,
    "rewardbench2": suites_rewardbench.rewardbench2,
    "rm-bench": suites_style.rm_bench,
    "rmb": suites_style.rmb,
    "ppe": suites_correctness.ppe,
    "judgebench": suites_correctness.judgebench,
    "evalbiasbench": suites_adversarial.evalbiasbench,
    "offsetbias": suites_adversarial.offsetbias,
    "hhh": suites_people.hhh,
    "hh-rlhf": suites_people.hh_rlhf,
    "helpsteer2": suites_people.helpsteer2,
    "reward-math-prm": suites_rewardbench.reward_math_prm,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A suite as read: `comparisons` in file order, and how many rows were `dropped` and why.

    `undecided` counts the comparisons without an edge by their reason: they are among the
    comparisons, are scored, and take no part in a mean.
    """

    comparisons: list[Comparison]
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def undecided(self) -> dict[str, int]:
        """The comparisons that say nothing, by reason."""
        return dict(
            Counter(
                str(each.meta.get("undecided", "no edge"))
                for each in self.comparisons
                if not each.better
            )
        )


def read_counted(name: str, folder: Path) -> Reading:
    """All comparisons of a suite, in file order, with the count of what was dropped.

    Raises ConfigError for a name that is not in `SUITES`, DataError naming file and row for a file
    that is absent, empty, malformed or has an id twice.
    """
    if name not in SUITES:
        raise ConfigError(f"suite {name!r} is not known; choose from {', '.join(SUITES)}")
    comparisons: list[Comparison] = []
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    for each in SUITES[name](folder):
        if isinstance(each, Dropped):
            dropped[each.reason] += 1
            continue
        if each.id in seen:
            raise DataError(f"{folder}: {name} has the id {each.id!r} twice")
        seen.add(each.id)
        comparisons.append(each)
    if not comparisons:
        raise DataError(f"{folder}: {name} has no rows there; fetch its files again")
    return Reading(comparisons, dict(dropped))


def read_suite(name: str, folder: Path) -> list[Comparison]:
    """The comparisons of `read_counted`, which see."""
    return read_counted(name, folder).comparisons
