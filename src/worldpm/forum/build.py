"""Whole artefacts: forum dumps -> a folder of threads with a manifest.

    build_threads([Path("ai.stackexchange.com.7z")], Path("threads"))  ->  the manifest
    build_threads([Path("RS.zst"), Path("RC.zst")], Path("threads"), forum="reddit",
                  settings=RedditSettings(depth=2), run=Run(workers=2))

One part a dump, named for its site; where dumps are read together, one part for all. First each
dump is read once and its rows are put with those of their question in shards on disk; then each
shard is joined, converted and written by itself. A small dump is all this in one step, in memory.
All are tasks (`work`), so any number of processes or machines may do them, and a killed run is gone
on with. Bytes depend on the dumps and the settings alone.

The manifest's `dropped` counts the dumps' rows that became no post, by reason, and `sources` what
each source gave: rows read = posts + dropped. What else was noted, as `bodies_as_plain_text`, is
counted when a post's text is made, so also for a post whose thread is then left out.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldpm.forum.forums import Group, forum_of, group_dumps
from worldpm.forum.reading import ForumSettings
from worldpm.forum.tasks import Join, Scatter, join_shard, scatter_dump
from worldpm.making import Making, making
from worldpm.progress import Display
from worldpm.store import read_manifest
from worldpm.work import Run, add_up, run_tasks

__all__ = ["Run", "build_threads"]


def build_threads(
    paths: Sequence[Path],
    folder: Path,
    *,
    forum: str = "stackexchange",
    settings: ForumSettings | None = None,
    force: bool = False,
    quiet: bool = False,
    run: Run | None = None,
) -> dict[str, Any]:
    """Read `paths` into `folder`; returns the manifest.

    Raises DataError for what cannot be read, OutputExistsError without `force` and for an
    unfinished artefact that was begun otherwise, InterruptedRunError where a worker was killed or
    other shares are to be done first: the same call goes on. With more than one worker a script
    that calls this needs the usual `if __name__ == "__main__":`.
    """
    kind = forum_of(forum)
    settings = settings or kind.settings()
    assert isinstance(settings, kind.settings)
    run = run or Run(quiet=quiet)
    groups = group_dumps(forum, paths, settings)
    recorded = {"forum": forum, **settings.model_dump(mode="json")}
    with (
        making(
            folder,
            kind="threads",
            settings=recorded,
            inputs=[file for group in groups for path in group.paths for file in kind.files(path)],
            force=force,
            share=run.share,
        ) as made,
        Display(quiet=run.quiet) as display,
    ):
        readings = {group.part: _scatters(forum, settings, group) for group in groups}
        tasks = [task for group in groups for task in readings[group.part]]
        sizes = {task.name: kind.read_bytes(task.path) for task in tasks}
        display.stage("reading dumps", sizes)
        scattered = dict(
            zip(sizes, _run(run, scatter_dump, tasks, made.work, display), strict=True)
        )
        for group in groups:
            noted = add_up(scattered[task.name]["noted"] for task in readings[group.part])
            kind.check(group.paths, noted)
        large = [group for group in groups if not group.held]
        joins = {
            group.part: _joins(forum, settings, group, readings[group.part]) for group in large
        }
        flat = [task for group in large for task in joins[group.part]]
        display.stage("making threads", _shares(large, scattered, readings))
        joined = dict(
            zip(
                (task.name for task in flat),
                _run(run, join_shard, flat, made.work, display),
                strict=True,
            )
        )
        _finish(
            made,
            {
                group.part: (
                    read := [scattered[task.name] for task in readings[group.part]],
                    [each["joined"] for each in read]
                    if group.held
                    else [joined[task.name] for task in joins[group.part]],
                )
                for group in groups
            },
        )
    return read_manifest(folder)


def _run(run: Run, function: Any, tasks: Sequence[Any], work: Path, display: Display) -> Any:
    return run_tasks(
        function,
        tasks,
        work,
        workers=run.workers,
        engine=run.engine,
        share=run.share,
        listen=display.hear,
    )


def _scatters(forum: str, settings: ForumSettings, group: Group) -> list[Scatter]:
    return [
        Scatter(
            f"rows.{group.part}.{number}",
            forum,
            settings,
            path.resolve(),
            group.part,
            group.num_shards,
            group.held,
        )
        for number, path in enumerate(group.paths)
    ]


def _joins(
    forum: str, settings: ForumSettings, group: Group, dumps: Sequence[Scatter]
) -> list[Join]:
    names = tuple(task.name for task in dumps)
    return [
        Join(
            f"threads.{group.part}.{number}",
            forum,
            settings,
            group.part,
            names,
            number,
            group.num_shards,
        )
        for number in range(group.num_shards)
    ]


def _shares(
    groups: Sequence[Group], scattered: dict[str, Any], readings: dict[str, list[Scatter]]
) -> dict[str, int]:
    """About how many rows each join has: keys are spread evenly."""
    rows = {
        group.part: sum(scattered[task.name]["rows"] for task in readings[group.part])
        for group in groups
    }
    return {
        f"threads.{group.part}.{number}": rows[group.part] // group.num_shards
        for group in groups
        for number in range(group.num_shards)
    }


def _finish(made: Making, parts: dict[str, tuple[list[Any], list[Any]]]) -> None:
    """Add up what the tasks of each part counted, and write the manifest."""
    counts: dict[str, int] = {}
    by_source: dict[str, Counter[str]] = {}
    dropped: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    inputs = []
    for part, (scattered, joined) in parts.items():
        lost = add_up(each["dropped"] for each in (*scattered, *joined))
        dropped.update(lost)
        numbers.update(add_up(each["noted"] for each in (*scattered, *joined)))
        inputs += [entry for each in scattered for entry in each["inputs"]]
        counts[part] = sum(each["threads"] for each in joined)
        named = add_up(each["lost"] for each in joined)
        sources = sorted({name for each in joined for name in each["sources"]} | set(named))
        for name in sources:
            found = add_up(each["sources"].get(name, {}) for each in joined)
            by_source.setdefault(name, Counter()).update(found)
            if name in named:
                by_source[name]["dropped"] += named[name]
        # A row that became no post of a community is the forum's.
        owner = sources[0] if len(sources) == 1 else part
        by_source.setdefault(owner, Counter())["dropped"] += lost.total() - named.total()
    for found in by_source.values():
        numbers.update(found)
    made.finish(
        inputs=inputs,
        counts=counts,
        dropped=dropped,
        notes={
            "numbers": dict(sorted(numbers.items())),
            "sources": {name: dict(sorted(found.items())) for name, found in by_source.items()},
        },
    )
