"""What the verbs share: flags, the result on stdout, remarks on stderr, outputs that appear whole.

with new_file(Path("scores.jsonl")) as file: file.write(line)
print_json({"rows": 12})        one object, one line
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from worldpm.errors import DataError, OutputExistsError

if TYPE_CHECKING:
    from rich.console import Console

Dtype = Literal["auto", "float32", "bfloat16"]

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ForceFlag = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be read and written; write nothing.")
]
QuietFlag = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A checkpoint folder or Hugging Face id (org/name[@revision]); without it, the "
        "embedded default.",
    ),
]
DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", help="Precision of the products; auto is float32.")
]
EngineOption = Annotated[
    Literal["auto", "native", "torch"],
    typer.Option("--engine", help="What computes; auto is native where it is installed."),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Threads that compute; all processors if not given.")
]
VerboseFlag = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say on stderr which engine computes, and how.")
]
OutFolder = Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as often as you like."),
]

BEGUN_OTHERWISE = (
    "{path}: was begun with another model, input, engine or form of output; go on with the same, "
    "or start anew with --force"
)
# Files that only worldpm writes into a folder of its own: --force may replace such a folder.
OWN_MARKS = ("manifest.json", "run.json", "worldpm.json", "fresh.json")


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout; numbers with all their digits."""
    import orjson

    from worldpm.jsonfiles import json_bytes

    print(json_bytes(value, orjson.OPT_SERIALIZE_NUMPY).decode(), flush=True)


def stdout() -> "Console":
    """A rich console on stdout that leaves a closed pipe to `app` (rich itself exits with 1)."""
    from rich.console import Console

    class _Stdout(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return _Stdout(highlight=False)


def say(text: str, *, quiet: bool = False) -> None:
    """A remark on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def check_inputs(paths: Sequence[Path]) -> None:
    """DataError for the first path that is not there."""
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")


def check_utf8(*paths: Path) -> None:
    """DataError for the first name that is no UTF-8: Parquet and safetensors take no other."""
    from worldpm.jsonfiles import valid_text

    for path in paths:
        if valid_text(str(path)) != str(path):
            raise DataError(f"{path}: its name is no UTF-8, as names here must be; rename it")


def check_output(output: Path, inputs: Sequence[Path] = (), *, force: bool) -> None:
    """OutputExistsError if `output` exists without `force`, and where `force` would do harm.

    A folder is replaced as a whole, so with `force` it must be empty or one that worldpm made, and
    must not hold an input.
    """
    if output.name in {"", ".."}:
        raise OutputExistsError(f"{output}: give the output a name of its own")
    if not output.exists():
        return
    if not force:
        raise OutputExistsError(f"{output}: exists already; give another -o, or --force")
    target = output.resolve()
    if any(path.resolve() == target for path in inputs):
        raise OutputExistsError(f"{output}: is the input itself; give another -o")
    if output.is_dir():
        for path in inputs:
            if target in path.resolve().parents:
                raise OutputExistsError(f"{output}: holds the input {path}; give another -o")
        names = [each.name for each in output.iterdir()]
        if names and not any(mark in names for mark in OWN_MARKS):
            raise OutputExistsError(
                f"{output}: is not a folder that worldpm made; remove it yourself, or choose"
                " another -o"
            )


def announce(
    inputs: Sequence[Path | str],
    output: Path,
    settings: Mapping[str, Any],
    *,
    plan: Mapping[str, Any] | None = None,
    as_json: bool,
) -> None:
    """What a dry run says: inputs with their sizes, the output, the resolved settings, the plan."""
    if as_json:
        read = [str(path) for path in inputs]
        found = {"dry_run": True, "reads": read, "writes": str(output), "settings": settings}
        print_json(found if plan is None else {**found, "plan": plan})
        return
    for path in inputs:
        size = f" ({show_size(path)})" if isinstance(path, Path) else ""
        print(f"would read   {path}{size}")
    print(f"would write  {output}")
    for name, value in settings.items():
        print(f"with         {name} = {value}")


def announce_work(
    inputs: Sequence[Path],
    output: Path,
    settings: Mapping[str, Any],
    plan: Mapping[str, Any],
    work: str,
    *,
    as_json: bool,
) -> None:
    """A dry run's text with what the tasks would take; `work` says in words how much there is.

    `plan` has at least workers, seconds, disk_bytes and memory_bytes.
    """
    announce(inputs, output, settings, plan=plan, as_json=as_json)
    if as_json:
        return
    seconds = plan["seconds"]
    time = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    disk, memory = show_bytes(plan["disk_bytes"]), show_bytes(plan["memory_bytes"])
    print(f"expect       {time} with {plan['workers']} workers: {work}")
    print(f"             {disk} of disk, {memory} of memory")


def show_size(path: Path) -> str:
    """The size of a file, or of all files in a folder, for people."""
    from worldpm.store import size_bytes

    return show_bytes(size_bytes(path))


def show_bytes(num_bytes: float) -> str:
    """Bytes for people, in powers of 1000: 93.4 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000 or unit == "GB":
            return f"{num_bytes:.0f} bytes" if unit == "bytes" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    raise AssertionError


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under `path`, whole, if the block succeeds; `check_output` goes first."""
    from worldpm.store import whole_file

    with whole_file(path) as partial, partial.open("wb") as file:
        yield file


@contextmanager
def resumable_file(
    path: Path, identity: Mapping[str, Any], *, resume: bool, force: bool
) -> Iterator[tuple[IO[bytes], list[bytes]]]:
    """A file of lines that appears under `path` if the block succeeds, and the lines it has.

    If the block fails, its lines stay in a file beside it, and `resume` goes on with them. Raises
    OutputExistsError where such a file is there and neither `resume` nor `force` is given, and
    DataError if it was begun with another `identity`.
    """
    import orjson

    from worldpm.jsonfiles import json_bytes
    from worldpm.store import write_atomic

    partial = path.with_name(f".{path.name}.unfinished")
    identity_file = partial.with_name(f"{partial.name}.json")
    kept: list[bytes] = []
    if partial.exists() and resume:
        begun = identity_file.read_bytes() if identity_file.is_file() else b"null"
        if orjson.loads(begun) != orjson.loads(json_bytes(identity)):
            raise DataError(BEGUN_OTHERWISE.format(path=path))
        # A line cut by a kill is scored again.
        kept = [line for line in partial.read_bytes().splitlines(True) if line.endswith(b"\n")]
    elif partial.exists() and partial.stat().st_size and not force:
        raise OutputExistsError(
            f"{path}: an unfinished one is there; go on with --resume, or start anew with --force"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(identity_file, json_bytes(identity))
    try:
        with partial.open("r+b" if kept else "wb") as file:
            file.truncate(sum(map(len, kept)))
            file.seek(0, os.SEEK_END)
            yield file, kept
        partial.replace(path)
        identity_file.unlink()
    except BaseException:
        if partial.exists() and not partial.stat().st_size:
            partial.unlink()
            identity_file.unlink(missing_ok=True)
        elif partial.exists():
            say(f"{path}: what was done is kept; go on with --resume")
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that takes the name `path` if the block succeeds; `check_output` first.

    Raises OutputExistsError for a link, whose place no finished folder can take.
    """
    if path.is_symlink():
        raise OutputExistsError(f"{path}: is a link; give the folder that it leads to")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
