"""A published set -> the same artefact that `build_pairs` makes: comparisons, split, a manifest.

    import_published("hh-rlhf", Path("hh-rlhf"), Path("data/hh-rlhf"),
                     ImportSettings(test_by_subset={"harmless-base": 1.0}))

Rows that begin alike never straddle splits: the split is drawn from the hash of the opening (the
first user message, case and blanks ignored), and a row that would train or validate on an opening
which another subset holds out for test is dropped as `opening_held_out`.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console
from rich.progress import track

from worldpm.config import Settings
from worldpm.errors import ConfigError, OutputExistsError
from worldpm.pairs.published import PUBLISHED
from worldpm.pairs.split import Split, SplitSettings, split_of
from worldpm.records import Comparison, Edge
from worldpm.store import ArtifactWriter, read_manifest


class ImportSettings(Settings):
    """How a published set is split."""

    validation: float = Field(default=0.05, ge=0, le=1)
    test: float = Field(default=0.05, ge=0, le=1)
    test_by_subset: dict[str, float] = Field(default_factory=dict)
    """Test fractions of named subsets, in place of `test`; 1.0 holds a subset out as a whole."""
    seed: int = 0


def import_published(
    name: str,
    src: Path,
    folder: Path,
    settings: ImportSettings | None = None,
    *,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Read the published set `name` at `src` into `folder`; returns its manifest.

    Raises what `check_import` does, ConfigError for an unknown subset, DataError for what cannot be
    read.
    """
    settings = settings or ImportSettings()
    check_import(name, src, folder)
    console = Console(stderr=True)
    with ArtifactWriter(
        folder,
        Comparison,
        kind="comparisons",
        settings={"set": name, **settings.model_dump(mode="json")},
        force=force,
    ) as out:
        # Two passes, so that every held-out opening is known before the first row trains.
        held_out, subsets = _held_out_openings(name, src, settings)
        if unknown := settings.test_by_subset.keys() - subsets:
            raise ConfigError(
                f"test_by_subset: {name} has no subset {', '.join(sorted(unknown))}; "
                f"it has {', '.join(sorted(subsets)) or 'none'}"
            )
        numbers: Counter[str] = Counter()
        by_subset: dict[str, Counter[str]] = {}
        for comparison in track(
            PUBLISHED[name](src, out.drop), f"import {name}", console=console, disable=quiet
        ):
            better = _decided(comparison)
            if not better:
                out.drop("identical_replies" if comparison.better else "no_preference")
                continue
            numbers["edges_between_identical_replies"] += len(comparison.better) - len(better)
            part = _split(comparison, settings)
            if part != "test" and opening(comparison) in held_out:
                out.drop("opening_held_out")
                continue
            out.add(part, replace(comparison, better=better))
            numbers["replies"] += len(comparison.replies)
            numbers["edges"] += len(better)
            by_subset.setdefault(comparison.subset or "", Counter())[part] += 1
        for file in sorted(each for each in src.rglob("*") if each.is_file()) or [src]:
            out.input(file)
        out.notes["numbers"] = dict(numbers)
        if subsets:
            out.notes["subsets"] = {subset: dict(parts) for subset, parts in by_subset.items()}
    return read_manifest(folder)


def check_import(name: str, src: Path, folder: Path) -> None:
    """ConfigError for an unknown set, OutputExistsError for a `folder` that is a part of `src`."""
    if name not in PUBLISHED:
        raise ConfigError(f"set {name!r} is unknown; choose from {', '.join(sorted(PUBLISHED))}")
    if src.resolve() in folder.resolve().parents:
        raise OutputExistsError(
            f"{folder}: lies inside {src}, so that what is written would be read as part of the "
            "set; give an -o elsewhere"
        )


def opening(comparison: Comparison) -> str:
    """The first user message, case and blanks ignored; the whole prompt where there is none."""
    asked = [message.content for message in comparison.prompt if message.role == "user"]
    text = asked[0] if asked else "\n".join(message.content for message in comparison.prompt)
    return " ".join(text.split()).casefold()


def _decided(comparison: Comparison) -> tuple[Edge, ...]:
    """The edges whose two replies differ: the same text cannot beat itself."""
    replies = comparison.replies
    return tuple(edge for edge in comparison.better if replies[edge.winner] != replies[edge.loser])


def _split(comparison: Comparison, settings: ImportSettings) -> Split:
    fractions = SplitSettings(
        validation=settings.validation, test=settings.test, seed=settings.seed
    )
    test = settings.test_by_subset.get(comparison.subset or "", settings.test)
    return split_of(fractions, comparison.source, opening(comparison), test)


def _held_out_openings(name: str, src: Path, settings: ImportSettings) -> tuple[set[str], set[str]]:
    """(openings that some subset holds out for test, names of the subsets)."""
    openings, subsets = set(), set()
    for comparison in PUBLISHED[name](src, lambda reason: None):
        if comparison.subset is not None:
            subsets.add(comparison.subset)
        if _split(comparison, settings) == "test":
            openings.add(opening(comparison))
    return openings, subsets
