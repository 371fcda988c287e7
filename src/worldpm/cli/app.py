"""`worldpm`: the verbs in the order of the flow, and what becomes of errors.

    worldpm forum stackexchange site.7z -o threads
    worldpm pairs threads -o data

A stage is imported inside its verb, so that `worldpm --help` stays light. Results go to stdout,
remarks to stderr. Exit codes: 0 done, 1 input or settings wrong, 2 usage, 3 a gate failed, 75
interrupted and resumable, 130 interrupted, 141 the reader of stdout went away. A bug of ours is a
traceback.
"""

import errno
import io
import os
import re
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from worldpm.cli import (
    comparing,
    evaluating,
    exporting,
    forums,
    importing,
    models,
    pairing,
    scaling,
    scoring,
    serving,
    show,
    training,
)
from worldpm.errors import WorldPMError

FLOW = (
    "forum", "pairs", "import", "export", "train", "score", "compare", "eval", "scaling", "serve",
    "model", "show",
)  # fmt: skip
# What a light install lacks; asked for by a verb that runs a model.
MODEL_EXTRA = {
    "accelerate", "gguf", "huggingface_hub", "jaxtyping", "jinja2", "safetensors", "tokenizers",
    "torch", "transformers",
}  # fmt: skip
SERVE_EXTRA = {"fastapi", "granian", "prometheus_client", "starlette"}
# What a user's paths and disk can cause.
USER_ERRNOS = {
    errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
}  # fmt: skip


class _Verbs(TyperGroup):
    """The one place where what a user can cause becomes a message and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the flow, the groups among them."""
        return list(FLOW)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an empty argument, which as a path would be the current directory."""
        if args[:1] != ["compare"]:  # whose texts may be empty
            for number, arg in enumerate(args):
                if not arg or re.fullmatch("--[a-z-]+=", arg):
                    before = " ".join(("worldpm", *args[:number], arg)).rstrip(" =")
                    ctx.fail(
                        f"what follows {before!r} is empty; is a variable of the shell not set? "
                        'the current directory is "."'
                    )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except WorldPMError as error:
            raise _ended(str(error), error.exit_code) from None
        except BrokenPipeError:
            _forget_stdout()
            raise typer.Exit(128 + 13) from None  # as a shell reports SIGPIPE
        except OSError as error:
            if error.errno not in USER_ERRNOS:
                raise
            raise _ended(f"{error.filename or 'output'}: {error.strerror}", 1) from None
        except ModuleNotFoundError as error:
            if error.name not in MODEL_EXTRA | SERVE_EXTRA:
                raise
            extra = "serve,model" if error.name in SERVE_EXTRA else "model"
            text = f'{error.name} is not installed; install it with pip install "worldpm[{extra}]"'
            raise _ended(text, 1) from None
        return result


def _ended(message: str, exit_code: int) -> typer.Exit:
    """Print the message, control characters of quoted data made visible."""
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
    print(f"error: {shown}", file=sys.stderr)
    return typer.Exit(exit_code)


def _forget_stdout() -> None:
    """Send what is still buffered nowhere, so that leaving Python does not complain of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=_Verbs,
    name="worldpm",
    help="Preference models from forum votes: dumps, comparisons, training, scores, evaluation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from worldpm import __version__

        print(f"worldpm {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


app.add_typer(forums.forum_app, name="forum")
app.command("pairs")(pairing.pairs)
app.command("import")(importing.import_)
app.command("export")(exporting.export)
app.command("train")(training.train)
app.command("score")(scoring.score)
app.command("compare")(comparing.compare)
app.command("eval")(evaluating.evaluate)
app.add_typer(scaling.scaling_app, name="scaling")
app.command("serve")(serving.serve)
app.add_typer(models.model_app, name="model")
app.command("show")(show.show)


def main() -> None:
    """The console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # JSON is UTF-8 whatever the locale says.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    app(prog_name="worldpm")
