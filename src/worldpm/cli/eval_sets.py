"""What `eval` is to be run on: suites in their authors' layout, and the user's own comparisons.

choose_sets(["llmbar", "mine.jsonl"], Path("benchmarks"))  ->  {"llmbar": Set(...), "mine": ...}
read_set(chosen["llmbar"], "test")                         ->  Reading(comparisons, dropped)
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from worldpm.errors import ConfigError, DataError
from worldpm.records import Comparison

if TYPE_CHECKING:
    from worldpm.evals.suites import Reading

# What files of the verb's own are called, beside which a set's are put.
TAKEN = frozenset({"report", "figures", "manifest"})
REPEATED = "repeated row"
PROBES = "probes"  # stands among the sets' names: run the probes on those sets too


class Set(NamedTuple):
    """Where comparisons are read from, and whether as a suite, in its authors' layout."""

    path: Path
    suite: str | None


def choose_sets(
    names: Sequence[str], data: Path | None, *, flag: str = "--data", probes: bool = False
) -> dict[str, Set]:
    """The suites and the user's own sets, by the names that their results get.

    With `probes`, that word among the names is no set but a wish of `eval`, and `data` may then be
    a file of comparisons, itself a set. `flag` is what the command calls `data`. Raises ConfigError
    for what is neither a path nor a suite, or there twice, and DataError for what is not there.
    """
    from worldpm.cli.common import check_inputs
    from worldpm.evals.suites import SUITES
    from worldpm.rows import set_name

    check_inputs([] if data is None else [data])
    if probes and PROBES in names:
        names = [name for name in names if name != PROBES]
        if data is not None and data.is_file():
            names, data = [str(data), *names], None
    if not names:
        found = {name: suite_folder(name, data) for name in SUITES if data is not None}
        chosen = {name: Set(folder, name) for name, folder in found.items() if folder is not None}
        if not chosen:
            place = "" if data is None else f", and {flag} {data} has no folder called after one"
            raise ConfigError(
                f"no suite was named{place}; name some of {', '.join(SUITES)}, "
                "or give a path of comparisons"
            )
        return chosen
    chosen = {}
    for name in names:
        path = Path(name)
        # Without --data a suite has no files, so what is meant is the user's own of that name.
        own = name not in SUITES or (data is None and _holds_comparisons(path))
        if own and path.is_dir() and not _holds_comparisons(path) and _suites_below(path):
            raise ConfigError(f"{name}: suites stand in it, so it is given as {flag} {name}")
        if own and path.exists():
            key, each = set_name(path), Set(path, None)
            if key in SUITES or key in TAKEN:
                key = f"own-{key}"  # or the results would read as the suite's, or be written over
        elif own:
            near = difflib.get_close_matches(name, SUITES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{name!r} is neither a path nor one of {', '.join(SUITES)}{hint}")
        elif data is None:
            raise ConfigError(f"suite {name!r}: {flag} must say where its files are{_own(name)}")
        else:
            folder = suite_folder(name, data)
            if folder is None and len(names) == 1 and not _suites_below(data):
                folder = data  # the suite's own folder
            if folder is None:
                raise DataError(
                    f"{data / name}: no such folder; {name} needs its authors' files{_own(name)}"
                )
            key, each = name, Set(folder, name)
        if key in chosen:
            raise ConfigError(f"{key!r} is there twice; evaluate one of them by itself")
        chosen[key] = each
    return chosen


def _own(name: str) -> str:
    return f"; comparisons of your own are called ./{name}" if Path(name).exists() else ""


def _holds_comparisons(path: Path) -> bool:
    from worldpm.store import MANIFEST

    return path.is_file() or (path / MANIFEST).is_file()


def _suites_below(data: Path) -> list[str]:
    from worldpm.evals.suites import SUITES

    return [name for name in SUITES if suite_folder(name, data) is not None]


def suite_folder(name: str, data: Path) -> Path | None:
    """DATA/rm-bench or DATA/rm_bench, whichever there is."""
    for folder in (data / name, data / name.replace("-", "_")):
        if folder.is_dir():
            return folder
    return None


def read_set(chosen: Set, part: str) -> "Reading":
    """All of a set; DataError if nothing in it can be measured, before a model is loaded."""
    from worldpm.evals.suites import read_counted
    from worldpm.rows import read_comparisons
    from worldpm.store import read_artifact

    path, suite = chosen
    if suite is not None:
        found = read_counted(suite, path)
    elif path.is_dir():
        found = _each_once(read_artifact(path, Comparison, part))
    else:
        found = _each_once(read_comparisons(path))
    if not any(comparison.better for comparison in found.comparisons):
        raise DataError(
            f"{path}: none of its {len(found.comparisons):,} comparisons says which reply is "
            "better, so there is nothing to measure; `worldpm score` scores them"
        )
    return found


def _each_once(comparisons: Iterable[Comparison]) -> "Reading":
    """Rows that repeat an earlier one, id and all, are dropped; other rows may share its id."""
    from worldpm.evals.suites import Reading

    known: dict[tuple[str, str], list[Comparison]] = {}
    kept, repeated = [], 0
    for each in comparisons:
        alike = known.setdefault((each.source, each.id), [])
        if each in alike:
            repeated += 1
        else:
            alike.append(each)
            kept.append(each)
    return Reading(kept, {REPEATED: repeated} if repeated else {})
