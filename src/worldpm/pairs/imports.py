"""A published set -> the same artefact that `build_pairs` makes: comparisons, split, a manifest.

    import_published("hh-rlhf", Path("hh-rlhf"), Path("data/hh-rlhf"),
                     ImportSettings(test_by_subset={"harmless-base": 1.0}))

Rows that begin alike never straddle splits: the split is drawn from the hash of the opening (the
first user message, case and blanks ignored), and a row that would train or validate on an opening
which another subset or source holds out for test, or train on one that validates there, is dropped
as `opening_held_out`. Many sets put the chosen reply first; here the place of a reply is drawn by a
hash, so that it tells nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field
from rich.console import Console
from rich.progress import track

from worldpm.config import Settings
from worldpm.errors import ConfigError
from worldpm.outputs import check_outside
from worldpm.pairs.hub import HubSet
from worldpm.pairs.published import ABOUT, PUBLISHED
from worldpm.pairs.split import Split, SplitSettings, split_of, unit_hash
from worldpm.records import Comparison, Edge
from worldpm.store import ArtifactWriter, files_of, read_manifest

# What `meta` may hold of each reply, in the order of the replies.
PER_REPLY = ("posts", "replies", "reply_labels")


class ImportSettings(Settings):
    """How a published set becomes comparisons, and how it is split."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    rating: str | None = None
    """The rating that decides, of a set with several (HelpSteer2, UltraFeedback); the set's own
    default if not given. The paper fine-tunes on HelpSteer2's helpfulness and does not say which
    of UltraFeedback's it takes."""
    disjoint_pairs: bool = False
    """Make K replies K/2 pairs that share no reply, drawn by a hash, instead of one comparison:
    UltraFeedback as in the paper, two pairs of four completions (section 4.1)."""
    keep_ties: bool = False
    """Keep what is rated equal, as comparisons without an edge (HelpSteer2, UltraFeedback): a
    regression learns from their ratings, other losses leave them out."""
    shuffle: bool = True
    """Draw the place of each reply by a hash; false keeps the set's own order, in which the
    chosen one often stands first."""
    validation: float = Field(default=0.05, ge=0, le=1)
    """Fraction of the openings that validate."""
    test: float = Field(default=0.05, ge=0, le=1)
    """Fraction of the openings that test."""
    test_by_subset: dict[str, float] = Field(default_factory=dict)
    """Test fractions of named subsets, in place of `test`; 1.0 holds a subset out as a whole."""
    seed: int = 0
    """Of every draw: splits, places and disjoint pairs."""


def import_published(
    name: str,
    src: Path | HubSet,
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
    path = src.folder if isinstance(src, HubSet) else src
    check_import(name, path, folder, settings)
    options: dict[str, Any] = {} if settings.rating is None else {"rating": settings.rating}
    if settings.keep_ties:
        options["keep_ties"] = True
    if name == "pairs" and isinstance(src, HubSet):
        options["source"] = src.id.partition("/")[2]

    def read(drop: Callable[[str], None]) -> Iterator[Comparison]:
        for comparison in PUBLISHED[name](path, drop, **options):
            yield from _pieces(comparison, settings, drop)

    with ArtifactWriter(
        folder,
        Comparison,
        kind="comparisons",
        settings={"set": name, **settings.model_dump(mode="json")},
        force=force,
    ) as out:
        # Two passes, so that every held-out opening is known before the first row trains; one where
        # an opening's hash alone decides, because the set has one source and one test fraction.
        held_out, subsets = dict[str, Split](), set[str]()
        if settings.test_by_subset or name == "pairs":
            held_out, subsets = _held_out_openings(read(lambda reason: None), settings)
        if unknown := settings.test_by_subset.keys() - subsets:
            raise ConfigError(
                f"test_by_subset: {name} has no subset {', '.join(sorted(unknown))}; "
                f"it has {', '.join(sorted(subsets)) or 'none'}"
            )
        numbers: Counter[str] = Counter()
        by_subset: dict[str, Counter[str]] = {}
        by_source: dict[str, Counter[str]] = {}
        console = Console(stderr=True)
        for comparison in track(read(out.drop), f"import {name}", console=console, disable=quiet):
            if (reason := _fault(comparison, settings)) is not None:
                out.drop(reason)
                continue
            part = _split(comparison, settings)
            if held_out.get(opening(comparison), part) != part:
                out.drop("opening_held_out")
                continue
            better = _decided(comparison)
            numbers["edges_between_identical_replies"] += len(comparison.better) - len(better)
            comparison = replace(comparison, better=better)
            out.add(part, shuffled(comparison, settings.seed) if settings.shuffle else comparison)
            numbers["replies"] += len(comparison.replies)
            numbers["edges"] += len(better)
            by_subset.setdefault(comparison.subset or "", Counter())[part] += 1
            by_source.setdefault(comparison.source, Counter())[part] += 1
        for file in files_of(path):
            out.input(file)
        out.notes["numbers"] = dict(numbers)
        out.notes["sources"] = {source: dict(parts) for source, parts in by_source.items()}
        if by_subset.keys() - {""}:
            out.notes["subsets"] = {subset: dict(parts) for subset, parts in by_subset.items()}
        about = ABOUT[name]
        out.notes["published"] = {"set": name, "url": about.url, "license": about.license}
        if isinstance(src, HubSet):
            out.notes["hub"] = {"id": src.id, "commit": src.commit}
    return read_manifest(folder)


def check_import(
    name: str, src: Path, folder: Path, settings: ImportSettings | None = None
) -> None:
    """ConfigError for an unknown set or rating, OutputExistsError for a `folder` inside `src`."""
    check_set(name, settings or ImportSettings())
    check_outside(folder, [src])


def check_set(name: str, settings: ImportSettings) -> None:
    """ConfigError for a set that is unknown, or one without the rating that is to decide."""
    if name not in PUBLISHED:
        raise ConfigError(f"set {name!r} is unknown; choose from {', '.join(sorted(PUBLISHED))}")
    known = ABOUT[name].ratings
    if settings.rating is not None and settings.rating not in known:
        raise ConfigError(
            f"rating: {name} has no {settings.rating!r}; it has {', '.join(known) or 'none'}"
        )
    if settings.keep_ties and not known:
        raise ConfigError(f"keep_ties: {name} has no ratings, without which a tie says nothing")


def opening(comparison: Comparison) -> str:
    """The first user message, case and blanks ignored; the whole prompt where there is none."""
    asked = [message.content for message in comparison.prompt if message.role == "user"]
    text = asked[0] if asked else "\n".join(message.content for message in comparison.prompt)
    return " ".join(text.split()).casefold()


def shuffled(comparison: Comparison, seed: int = 0) -> Comparison:
    """The same comparison with its replies in an order drawn from the hash of its id.

    What `meta` holds of each reply (`PER_REPLY`) moves along; edges are sorted, so that neither
    they nor the places tell which reply the set named first.
    """
    return _taken(comparison, _drawn_order(comparison, seed, "place"))


def _drawn_order(comparison: Comparison, seed: int, purpose: str) -> list[int]:
    """Numbers of the replies in an order drawn by a hash."""

    def draw(index: int) -> float:
        return unit_hash(seed, purpose, comparison.source, comparison.id, index)

    return sorted(range(len(comparison.replies)), key=draw)


def _taken(comparison: Comparison, order: list[int]) -> Comparison:
    """The comparison of the replies `order`, in that order, and the edges among them."""
    place = {old: new for new, old in enumerate(order)}
    meta = dict(comparison.meta)
    for key in PER_REPLY:
        values = meta.get(key)
        if isinstance(values, list) and len(values) == len(comparison.replies):
            meta[key] = [values[old] for old in order]
    edges = [
        replace(edge, winner=place[edge.winner], loser=place[edge.loser])
        for edge in comparison.better
        if edge.winner in place and edge.loser in place
    ]
    return replace(
        comparison,
        replies=tuple(comparison.replies[old] for old in order),
        better=tuple(sorted(edges, key=lambda edge: (edge.winner, edge.loser))),
        meta=meta,
    )


def _pieces(
    comparison: Comparison, settings: ImportSettings, drop: Callable[[str], None]
) -> Iterator[Comparison]:
    """The comparison itself, or its disjoint pairs; a pair without an edge is a drop."""
    if not settings.disjoint_pairs or len(comparison.replies) == 2:
        yield comparison
        return
    order = _drawn_order(comparison, settings.seed, "pair")
    for number in range(len(order) // 2):
        pair = _taken(comparison, sorted(order[2 * number : 2 * number + 2]))
        if pair.better or settings.keep_ties:
            yield replace(pair, id=f"{comparison.id}/{number + 1}")
        else:
            drop("tied_pair")


def _decided(comparison: Comparison) -> tuple[Edge, ...]:
    """The edges whose two replies differ: the same text cannot beat itself."""
    replies = comparison.replies
    return tuple(edge for edge in comparison.better if replies[edge.winner] != replies[edge.loser])


def _fault(comparison: Comparison, settings: ImportSettings) -> str | None:
    """Why a comparison is left out whatever its split, or None."""
    if _decided(comparison) or (settings.keep_ties and not comparison.better):
        return None
    return "identical_replies" if comparison.better else "no_preference"


def _split(comparison: Comparison, settings: ImportSettings) -> Split:
    fractions = SplitSettings(
        validation=settings.validation, test=settings.test, seed=settings.seed
    )
    test = settings.test_by_subset.get(comparison.subset or "", settings.test)
    return split_of(fractions, comparison.source, opening(comparison), test)


def _held_out_openings(
    comparisons: Iterator[Comparison], settings: ImportSettings
) -> tuple[dict[str, Split], set[str]]:
    """(openings that are held out, for test if any row of theirs is, names of the subsets).

    A row that is left out holds none out.
    """
    openings, subsets = dict[str, Split](), set[str]()
    for comparison in comparisons:
        if comparison.subset is not None:
            subsets.add(comparison.subset)
        if _fault(comparison, settings) is not None:
            continue
        part = _split(comparison, settings)
        if part == "test" or (part == "validation" and opening(comparison) not in openings):
            openings[opening(comparison)] = part
    return openings, subsets
