"""`worldpm forum`: dumps of a forum -> a folder of threads, a verb for each forum.

worldpm forum reddit RS_2021-06.zst RC_2021-06.zst -o threads --workers 8
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from worldpm.cli.common import (
    DryRunFlag,
    ForceFlag,
    JsonFlag,
    OutFolder,
    QuietFlag,
    SetOption,
    announce_work,
    check_inputs,
    check_output,
    check_utf8,
    show_bytes,
)
from worldpm.cli.show import report_made
from worldpm.model.memory import parse_bytes

forum_app = typer.Typer(help="Forum dumps -> threads.", no_args_is_help=True)

WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that work; all processors if not given. No byte changes.",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do only every N-th task, as one of N machines on a common disk; run it again while "
        "it says that others are missing, at last without --shard.",
    ),
]
WorkEngineOption = Annotated[
    Literal["processes", "ray"],
    typer.Option("--engine", help="Who works: processes of this machine, or Ray (an extra)."),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="SIZE", help="No more workers than fit into this, as 2GB or 800MB."
    ),
]

VERBS = {
    "stackexchange": "Stack Exchange dumps (SITE.7z, or folders with Posts.xml), a part a site.",
    "reddit": "Monthly Reddit dumps (RS_* and RC_*, or folders of them), read together.",
    "quora": "Question and answer rows (JSON lines or CSV, docs/guides/forum.md), read together.",
    "discourse": "Topic JSON of Discourse (a tar archive, a folder or JSON lines), a part a dump.",
    "plain": "Any other forum: a thread a line of JSON (see docs/guides/forum.md), a part a file.",
}


def _verb(name: str) -> Callable[..., None]:
    def verb(
        dumps: Annotated[list[Path], typer.Argument(help="The dumps.")],
        out: OutFolder,
        workers: WorkersOption = None,
        shard: ShardOption = None,
        engine: WorkEngineOption = "processes",
        memory: MemoryOption = None,
        overrides: SetOption = None,
        as_json: JsonFlag = False,
        force: ForceFlag = False,
        dry_run: DryRunFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        from worldpm.config import load_settings
        from worldpm.forum.build import Run, build_threads
        from worldpm.forum.forums import forum_of
        from worldpm.forum.planning import plan_threads
        from worldpm.outputs import check_outside
        from worldpm.work import parse_share, processors

        settings = load_settings(forum_of(name).settings, None, overrides or [])
        share = parse_share(shard) if shard else None
        check_inputs(dumps)
        check_utf8(out)
        check_output(out, dumps, force=force)
        read = forum_of(name).files
        check_outside(out, [file for path in dumps for file in read(path)])
        plan = plan_threads(
            name,
            dumps,
            settings,
            workers=workers or processors(),
            memory_bytes=parse_bytes(memory) if memory else None,
        )
        if dry_run:
            recorded = {"forum": name, **settings.model_dump(mode="json")}
            expected = {
                "text_bytes": plan.text_bytes,
                "shards": plan.num_shards,
                "workers": plan.workers,
                "seconds": round(plan.seconds, 1),
                "disk_bytes": plan.disk_bytes,
                "memory_bytes": plan.memory_bytes,
            }
            work = f"{show_bytes(plan.text_bytes)} of text, {plan.num_shards} shards"
            announce_work(dumps, out, recorded, expected, work, as_json=as_json)
            return
        run = Run(plan.workers, engine, share, quiet)
        made = build_threads(dumps, out, forum=name, settings=settings, force=force, run=run)
        report_made(out, made, as_json=as_json)

    return verb


for _name, _help in VERBS.items():
    forum_app.command(_name, help=_help)(_verb(_name))


@forum_app.callback()
def _forum() -> None:
    pass
