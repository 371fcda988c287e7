"""Whole artefacts: folders of threads -> a folder of comparisons, split, with a manifest.

    build_pairs([Path("threads")], Path("data"), PairSettings())  ->  the manifest
    build_pairs([...], Path("data"), against=Benchmarks(Path("evals"), read), run=Run(workers=2))

Parts are `train`, `validation` and `test`. First each file of threads is read once: its comparisons
are made, those that hold a benchmark's text are left out, the texts of the rest get signatures.
Then what is alike among all of them is found, and then each file is written by itself. All are
tasks (`work`), so any number of processes or machines may do them, and a killed run is gone on
with. Bytes depend on the threads, the benchmarks and the settings alone.

The manifest's `dropped` counts the threads left out by reason, so that threads read = comparisons +
dropped; `ledger/` names each of them, and `ledger/contamination.jsonl` each benchmark's text found.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from worldpm.errors import DataError
from worldpm.ledger import LEDGER
from worldpm.making import Making, fingerprint, making
from worldpm.pairs.compared import compared_path
from worldpm.pairs.deciding import DecideTask, decide
from worldpm.pairs.dedup import TEXTS, Text, least_agreement
from worldpm.pairs.near import NearTask, join_near, num_ranges
from worldpm.pairs.planning import DEFAULT_MEMORY_BYTES, Group, group_files
from worldpm.pairs.sample import PairSettings
from worldpm.pairs.survey import Survey, needs_survey
from worldpm.pairs.tasks import (
    FINDINGS,
    Benchmarks,
    GroupTask,
    IndexTask,
    KeysTask,
    compare_group,
    group_name,
    index_benchmarks,
    list_keys,
    survey_group,
)
from worldpm.pairs.writing import SPLITS, WriteTask, write_group
from worldpm.progress import Display
from worldpm.records import ScoreFn
from worldpm.store import MANIFEST, input_entry, part_path, read_manifest, write_atomic
from worldpm.work import Run, add_up, run_tasks

__all__ = ["Benchmarks", "Run", "build_pairs"]

CONTAMINATION = "contamination.jsonl"


def build_pairs(
    thread_folders: Sequence[Path],
    folder: Path,
    settings: PairSettings | None = None,
    *,
    against: Benchmarks | None = None,
    filter_with: tuple[str, ScoreFn] | None = None,
    force: bool = False,
    quiet: bool = False,
    run: Run | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> dict[str, Any]:
    """Turn folders of threads into `folder` of comparisons; returns its manifest.

    `against` are benchmarks whose texts may not be in the comparisons. `filter_with` is a model's
    name, for the manifest, and its scores: edges whose margin by it is not within `settings.filter`
    are left out; one process does that.

    Raises DataError for a folder that is no artefact, for a file that is missing or damaged, and
    for a held-out source that none of them has; OutputExistsError without `force` and for an
    unfinished artefact that was begun otherwise; InterruptedRunError where a worker was killed or
    other shares are to be done first: the same call goes on. With more than one worker a script
    that calls this needs the usual `if __name__ == "__main__":`.
    """
    settings = settings or PairSettings()
    run = run or Run(quiet=quiet)
    groups = group_files(thread_folders)
    folders = sorted(
        thread_folders, key=lambda each: (each.name, fingerprint(each)["edges_sha256"])
    )
    recorded: dict[str, Any] = settings.model_dump(mode="json")
    if filter_with is not None:
        recorded["filter_with"] = filter_with[0]
    benchmarks = [] if against is None else [against.folder]
    with (
        making(
            folder,
            kind="comparisons",
            settings=recorded,
            inputs=[*folders, *benchmarks],
            force=force,
            share=run.share,
        ) as made,
        Display(quiet=run.quiet) as display,
    ):
        stages = _Stages(made, run, display, groups, settings)
        found = stages.first(against)
        stages.alike(sum(each["comparisons"] for each in found), memory_bytes)
        written = stages.write(None if filter_with is None else filter_with[1])
        _finish(made, [*(each / MANIFEST for each in folders), *benchmarks], stages, found, written)
    return read_manifest(folder)


class _Stages:
    """The stages of one run: what is the same for all of them, and what they noted."""

    def __init__(
        self,
        made: Making,
        run: Run,
        display: Display,
        groups: Sequence[Group],
        settings: PairSettings,
    ) -> None:
        self.made, self._display, self._groups = made, display, groups
        self._run, self._settings = run, settings
        self.notes: dict[str, Any] = {}
        if "filter_with" in made.settings:
            self.notes["filter_with"] = made.settings["filter_with"]

    def do(
        self, stage: str, function: Any, tasks: Sequence[Any], workers: int | None = None
    ) -> Any:
        """Run tasks, each of which goes through its group's rows, and show it."""
        rows = {each.number: each.num_rows for each in self._groups}
        total = max(1, sum(rows.values()))
        sizes = {each.name: rows.get(getattr(each, "number", -1), total) for each in tasks}
        self._display.stage(stage, sizes)
        return run_tasks(
            function,
            tasks,
            self.made.work,
            workers=workers or self._run.workers,
            engine="processes" if workers else self._run.engine,
            share=self._run.share,
            listen=self._display.hear,
        )

    def first(self, against: Benchmarks | None) -> list[dict[str, Any]]:
        """All that can be done group by group, before the groups are held beside one another."""
        names = ", ".join(dict.fromkeys(each.folder for each in self._groups))
        keys = KeysTask("keys", tuple(each.files for each in self._groups))
        [listed] = self.do(f"keys of {names}", list_keys, [keys])
        sources = listed["sources"]
        if missing := set(self._settings.split.held_out_sources) - sources.keys():
            raise DataError(
                f"split.held_out_sources: no threads of {', '.join(sorted(missing))}; "
                f"there are {', '.join(sorted(sources))}"
            )
        self.notes["sources"] = {name: {} for name in sorted(sources)}
        if needs_survey(self._settings):
            survey = Survey()
            for counts in self.do(f"survey of {names}", survey_group, self._tasks("survey", False)):
                survey.merge(Survey.from_dict(counts))
            findings = survey.findings(self._settings).as_dict()
            self.notes["findings"] = findings
            write_atomic(self.made.work / FINDINGS, orjson.dumps(findings))
        if against is not None:
            index = IndexTask("benchmarks", against, self._settings.decontaminate)
            [indexed] = self.do(f"index of {against.folder.name}", index_benchmarks, [index])
            self.notes["contamination"] = {"rows": dict(sorted(indexed["rows"].items()))}
        tasks = self._tasks("compare", against is not None)
        found: list[dict[str, Any]] = self.do(f"pairs of {names}", compare_group, tasks)
        return found

    def _tasks(self, what: str, against: bool) -> list[GroupTask]:
        return [
            GroupTask(
                f"{what}-{group_name(each.number)}",
                each.number,
                each.files,
                self._settings,
                against,
            )
            for each in self._groups
        ]

    def alike(self, num_comparisons: int, memory_bytes: int) -> None:
        """What is alike among all groups, and what becomes of it."""
        threshold = self._settings.dedup.threshold
        near: list[tuple[Text, NearTask]] = []
        if self._settings.dedup.near:
            files = tuple(group_name(each.number) for each in self._groups)
            count = num_ranges(num_comparisons, memory_bytes)
            least = least_agreement(threshold)
            near = [
                (text, NearTask(f"near-{text}-{n}-of-{count}", text, files, least, n, count))
                for text in TEXTS
                for n in range(count)
            ]
            self.do("near duplicates", join_near, [each for _, each in near])
        names = tuple((text, each.name) for text, each in near)
        # Named for what it reads, which changes with the memory that a run goes on with.
        name = f"decide-{len(names)}"
        task = DecideTask(name, len(self._groups), names, self._settings)
        [decided] = self.do("clusters", decide, [task])
        self.notes["duplicates"] = decided

    def write(self, score: ScoreFn | None) -> list[dict[str, Any]]:
        """The files of all groups."""
        count = len(self._groups)
        tasks = [
            WriteTask(f"write-{group_name(n)}", n, count, self._settings) for n in range(count)
        ]
        if score is None:
            written: list[dict[str, Any]] = self.do("writing", write_group, tasks)
            return written
        filtered: list[dict[str, Any]] = self.do(
            "filtering", partial(write_group, score=score), tasks, workers=1
        )
        return filtered


def _finish(
    made: Making,
    inputs: Sequence[Path],
    stages: _Stages,
    found: Sequence[dict[str, Any]],
    written: Sequence[dict[str, Any]],
) -> None:
    """Add up what the groups counted, and write the manifest."""
    counts = add_up(each["counts"] for each in written)
    for split in SPLITS:
        if not counts[split]:  # a part that is nowhere is no part
            for number in range(len(written)):
                part_path(made.out, split, number, len(written)).unlink(missing_ok=True)
    notes = stages.notes
    numbers = add_up(each["numbers"] for each in written)
    numbers["threads"] = sum(each["threads"] for each in found)
    for each in written:
        for name, parts in each["sources"].items():
            notes["sources"][name] = dict(sorted(add_up([notes["sources"][name], parts]).items()))
    if "contamination" in notes:
        hits = add_up(each["hits"] for each in found)
        notes["contamination"]["comparisons"] = sum(each["contaminated"] for each in found)
        notes["contamination"]["hits"] = dict(sorted(hits.items()))
        paths = (compared_path(made.work, n).with_suffix(".hits") for n in range(len(found)))
        report = b"".join(chain(path.read_bytes() for path in paths))
        write_atomic(made.out / LEDGER / CONTAMINATION, report)
    made.finish(
        inputs=[input_entry(path) for path in inputs],
        counts={split: counts[split] for split in SPLITS if counts[split]},
        dropped=add_up(each["dropped"] for each in written),
        notes={"numbers": dict(sorted(numbers.items())), **notes},
    )
