"""Whole artefacts: folders of threads -> a folder of comparisons, split, with a manifest.

    build_pairs([Path("threads")], Path("data"), PairSettings())  ->  the manifest

Parts are `train`, `validation` and `test`. The manifest's `dropped` counts the threads left out by
reason, so that threads read = comparisons + dropped.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from worldpm.errors import DataError
from worldpm.pairs.modelfilter import rm_filter
from worldpm.pairs.sample import PairSettings, compare
from worldpm.pairs.split import split_of
from worldpm.pairs.survey import Findings, Survey, needs_survey
from worldpm.records import Comparison, ScoreFn, Thread
from worldpm.store import MANIFEST, ArtifactWriter, read_artifact, read_manifest


def build_pairs(
    thread_folders: Sequence[Path],
    folder: Path,
    settings: PairSettings | None = None,
    *,
    filter_with: tuple[str, ScoreFn] | None = None,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Turn folders of threads into `folder` of comparisons; returns its manifest.

    `filter_with` is a model's name, for the manifest, and its scores: edges whose margin by it is
    not within `settings.filter` are left out.

    Raises DataError for a folder that is no artefact and for a held-out source that none of them
    has, OutputExistsError without `force`.
    """
    settings = settings or PairSettings()
    numbers: Counter[str] = Counter()
    by_source: dict[str, Counter[str]] = {}
    for each in thread_folders:
        read_manifest(each)
    with ArtifactWriter(
        folder,
        Comparison,
        kind="comparisons",
        settings=settings.model_dump(mode="json"),
        force=force,
    ) as out:
        findings = Findings()
        if needs_survey(settings):
            survey, surveyed = Survey(), set()
            for thread in _threads(thread_folders, "survey", quiet=quiet):
                if (thread.source, thread.id) not in surveyed:
                    surveyed.add((thread.source, thread.id))
                    survey.add(thread)
            findings = survey.findings(settings)
            out.notes["findings"] = findings.as_dict()
        for each in thread_folders:
            out.input(each / MANIFEST)
        # By the question: what was asked below one question is never split.
        questions: dict[tuple[str, str], str] = {}

        def compared() -> Iterator[Comparison]:
            seen = set()
            for thread in _threads(thread_folders, "pairs", quiet=quiet):
                numbers["threads"] += 1
                by_source.setdefault(thread.source, Counter())
                if (thread.source, thread.id) in seen:  # two dumps of one site
                    out.drop("repeated_thread")
                    continue
                seen.add((thread.source, thread.id))
                comparison = compare(thread, settings, out.drop, findings)
                if comparison is not None:
                    questions[thread.source, thread.id] = thread.question.id
                    yield comparison

        def drop_edges(comparison: Comparison, reason: str, num_edges: int) -> None:
            numbers[f"edges_{reason}"] += num_edges
            if num_edges == len(comparison.better):
                out.drop(reason)

        comparisons = compared()
        if filter_with is not None:
            out.notes["filter_with"], score = filter_with
            low, high = settings.filter.low, settings.filter.high
            comparisons = rm_filter(comparisons, score, drop_edges, low=low, high=high)
        for comparison in comparisons:
            question = questions.pop((comparison.source, comparison.id))
            part = split_of(settings.split, comparison.source, question)
            out.add(part, comparison)
            numbers["replies"] += len(comparison.replies)
            left_out = comparison.meta["num_answers"] - len(comparison.replies)
            numbers["replies_not_sampled"] += left_out
            numbers["edges"] += len(comparison.better)
            by_source[comparison.source][part] += 1
        if missing := set(settings.split.held_out_sources) - by_source.keys():
            raise DataError(
                f"split.held_out_sources: no threads of {', '.join(sorted(missing))}; "
                f"there are {', '.join(sorted(by_source))}"
            )
        out.notes["numbers"] = dict(numbers)
        out.notes["sources"] = {name: dict(parts) for name, parts in sorted(by_source.items())}
    return read_manifest(folder)


def _threads(folders: Sequence[Path], what: str, *, quiet: bool) -> Iterator[Thread]:
    for folder in folders:
        yield from track(
            read_artifact(folder, Thread),
            description=f"{what} of {folder.name}",
            total=sum(read_manifest(folder)["counts"].values()),
            console=Console(stderr=True),
            disable=quiet,
        )
