"""Whole artefacts: folders of threads -> a folder of comparisons, split, with a manifest.

    build_pairs([Path("threads")], Path("data"), PairSettings())  ->  the manifest

Parts are `train`, `validation` and `test`. The manifest's `dropped` counts the threads left out by
reason, so that threads read = comparisons + dropped.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from worldpm.errors import DataError
from worldpm.pairs.sample import PairSettings, compare
from worldpm.pairs.split import split_of
from worldpm.records import Comparison, Thread
from worldpm.store import MANIFEST, ArtifactWriter, read_artifact, read_manifest


def build_pairs(
    thread_folders: Sequence[Path],
    folder: Path,
    settings: PairSettings | None = None,
    *,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Turn folders of threads into `folder` of comparisons; returns its manifest.

    Raises DataError for a folder that is no artefact and for a held-out source that none of them
    has, OutputExistsError without `force`.
    """
    settings = settings or PairSettings()
    numbers: Counter[str] = Counter()
    by_source: dict[str, Counter[str]] = {}
    seen: set[tuple[str, str]] = set()
    totals = [sum(read_manifest(each)["counts"].values()) for each in thread_folders]
    with ArtifactWriter(
        folder,
        Comparison,
        kind="comparisons",
        settings=settings.model_dump(mode="json"),
        force=force,
    ) as out:
        for threads, total in zip(thread_folders, totals, strict=True):
            out.input(threads / MANIFEST)
            for thread in track(
                read_artifact(threads, Thread),
                description=f"pairs of {threads.name}",
                total=total,
                console=Console(stderr=True),
                disable=quiet,
            ):
                numbers["threads"] += 1
                by_source.setdefault(thread.source, Counter())
                if (thread.source, thread.id) in seen:  # two dumps of one site
                    out.drop("repeated_thread")
                    continue
                seen.add((thread.source, thread.id))
                comparison = compare(thread, settings, out.drop)
                if comparison is None:
                    continue
                # By the question: what was asked below one question is never split.
                part = split_of(settings.split, comparison.source, thread.question.id)
                out.add(part, comparison)
                numbers["replies"] += len(comparison.replies)
                numbers["replies_not_sampled"] += len(thread.answers) - len(comparison.replies)
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
