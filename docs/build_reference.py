"""Write docs/reference/ from the code: `python docs/build_reference.py`.

`tests/contracts/test_docs.py` fails when what is there differs from what this makes.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

import worldpm
import worldpm.errors
import worldpm.rl
import worldpm.serve.dialects
from worldpm.cli.app import FLOW, app
from worldpm.evals.gate import compare_precision
from worldpm.evals.protocol_worldpm import CLASS_OF, ROWS
from worldpm.evals.protocols import protocol
from worldpm.evals.published import find, names
from worldpm.evals.run import evaluate
from worldpm.evals.style import style_edges
from worldpm.evals.suite_files import FILES
from worldpm.evals.suites import SUITES, read_counted, read_suite
from worldpm.forum.build import build_threads
from worldpm.forum.forums import FORUMS, read_threads
from worldpm.model.fresh import create_base
from worldpm.pairs.build import build_pairs
from worldpm.pairs.imports import ImportSettings
from worldpm.pairs.settings import PairSettings
from worldpm.results import Ranking, Trace
from worldpm.rows import read_comparisons
from worldpm.scaling.forecast import forecast, score_forecast
from worldpm.scaling.law import fit_law
from worldpm.scaling.mechanisms import cancelling
from worldpm.scaling.points import read_points
from worldpm.scaling.trend import trend_test
from worldpm.score import plan_score
from worldpm.serve.app import create_app
from worldpm.serve.dialects import DIALECTS
from worldpm.serve.settings import ServeSettings
from worldpm.store import read_artifact
from worldpm.train.recipe import Recipe
from worldpm.train.run import train

_ANNOTATED = re.compile(r"(?:typing\.)?Annotated\[(\w+), FieldInfo\(.*?\]\)\]")
FOLDER = Path(__file__).parent / "reference"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _verb(name: str, command: Any) -> list[str]:
    if hasattr(command, "commands"):
        return [line for n, c in command.commands.items() for line in _verb(f"{name} {n}", c)]
    lines = [f"## `{name}`", "", (command.help or "").strip(), ""]
    rows = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        shown = ", ".join(parameter.opts) if parameter.param_type_name == "option" else (
            parameter.metavar or parameter.name
        )  # fmt: skip
        needed = "yes" if parameter.required else ""
        rows.append(f"| `{_cell(shown)}` | {needed} | {_cell(parameter.help or '')} |")
    return [*lines, "| | required | |", "|---|---|---|", *rows, ""]


def command_line() -> str:
    """The verbs with their arguments and options."""
    root = typer.main.get_command(app)
    verbs = [line for n in FLOW for line in _verb(f"worldpm {n}", root.commands[n])]  # type: ignore[attr-defined]
    return "\n".join(["# Command line", "", *verbs])


def _keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    rows = []
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            summary = (field.annotation.__doc__ or "").strip()
            rows += [
                f"| **`[{name}]`** | | {_cell(summary)} |",
                *_keys(field.annotation, f"{name}."),
            ]
        else:
            kind_of = _ANNOTATED.sub(r"\1", str(field.annotation)).replace("typing.", "")
            kind_of = field.annotation.__name__ if isinstance(field.annotation, type) else kind_of
            default = field.get_default(call_default_factory=True)
            words = f"{_cell(kind_of)}. {_cell(field.description or '')}".removesuffix(". ")
            rows.append(f"| `{prefix}{name}` | `{default!r}` | {words} |")
    return rows


def recipe() -> str:
    """Every key of a recipe with its default and type."""
    head = [
        "# Recipe",
        "",
        "Every key of a recipe for `worldpm train`, its default and its type.",
        "",
    ]
    return "\n".join([*head, "| key | default | type |", "|---|---|---|", *_keys(Recipe), ""])


def data_settings() -> str:
    """Every setting of the data verbs, with what the paper found where it tried."""
    lines = ["# Settings of the data verbs", "", "What `--set KEY=VALUE` changes.", ""]
    forums = [(f"forum {name}", forum.settings) for name, forum in FORUMS.items()]
    for verb, kind in (*forums, ("pairs", PairSettings), ("import", ImportSettings)):
        rows = ["| key | default | type, and what it does |", "|---|---|---|", *_keys(kind)]
        lines += [f"## `worldpm {verb}`", "", (kind.__doc__ or "").strip(), "", *rows, ""]
    return "\n".join(lines)


def suites() -> str:
    """Every suite with its files, and what the protocols and published rows make of it."""
    lines = [
        "# Suites, protocols and published figures",
        "",
        "What `worldpm eval` reads, how a protocol puts figures together, and which published "
        "figures can stand beside them.",
        "",
        "## Suites",
        "",
        "Each suite stands in a folder of its name below `--data` (`rm-bench` or `rm_bench`), as "
        "its authors publish it. Where nothing is said under *tried on real files*, the reader was "
        "written to the published form and tried on small files of that form only.",
        "",
        "| suite | files | comparisons | tried on real files | licence |",
        "|---|---|---|---|---|",
    ]
    for name, each in FILES.items():
        files = "<br>".join(f"`{_cell(file)}`" for file in each.files)
        lines.append(
            f"| [`{name}`]({each.url}) | {files} | {each.comparisons:,} | {each.met or ''} | "
            f"{each.license or 'none stated'} |"
        )
    for name, suite in SUITES.items():
        lines += ["", f"### `{name}`", "", inspect.getdoc(suite) or ""]
    lines += ["", "## Protocol `official`", "", "Each benchmark's own figures.", ""]
    lines += [f"- **{name}**: {text}." for name, text in protocol("official").about.items()]
    lines += [
        "",
        "## Protocol `worldpm`",
        "",
        "The paper's 12 scaling sets, measured by loss, and its 18 fine-tuning rows, by "
        "accuracy: plain averages over pairs, equal scores worth one half.",
        "",
        "| | row | class | suite | assumed |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        cls = CLASS_OF[row.group, row.name]
        lines.append(f"| {row.group} | {row.name} | {cls} | `{row.suite}` | {row.note or ''} |")
    lines += ["", "## Published figures", "", "| name | figures | from |", "|---|---|---|"]
    for name in names():
        rows = find(name).rows
        sources = dict.fromkeys(row.source for row in rows)
        lines.append(f"| `{name}` | {len(rows)} | {'; '.join(sources)} |")
    return "\n".join([*lines, ""])


def server() -> str:
    """Every limit of the server."""
    head = ["# Settings of the server", "", "What `worldpm serve --config FILE.toml` and `--set "
            "KEY=VALUE` change; `/info` lists them.", ""]  # fmt: skip
    rows = ["| key | default | type, and what it limits |", "|---|---|---|", *_keys(ServeSettings)]
    return "\n".join([*head, *rows, ""])


def dialects() -> str:
    """Every route of the server with the keys of its body, by whose clients send it."""
    lines = [
        "# Dialects of the server", "",
        "What `worldpm serve` answers, by whose clients send it; each form is tested with a",
        "recorded request (`tests/serve/wire_forms.json`). Keys in brackets may be left out,",
        "others are passed over; a chat template or token ids in a request are refused.",
        "", "```", inspect.getdoc(worldpm.serve.dialects) or "", "```",
    ]  # fmt: skip
    for name, routes in DIALECTS.items():
        modules = dict.fromkeys(inspect.getmodule(route.parse) for route in routes)
        about = [f"```\n{inspect.getdoc(module) or ''}\n```" for module in modules]
        lines += ["", f"## {name}", "", *about, "", "| route | keys | |", "|---|---|---|"]
        for route in routes:
            fields = [
                (key, field.is_required())
                for key, field in route.request.model_fields.items()
                if field.annotation is not type(None)
            ]
            fields.sort(key=lambda field: not field[1])
            keys = ", ".join(f"`{key}`" if needed else f"[`{key}`]" for key, needed in fields)
            lines.append(f"| `{route.method} {route.path}` | {keys} | {_cell(route.about)} |")
    return "\n".join([*lines, ""])


# What other programs may build on, in the order of the flow; the rest may change without notice.
SURFACE: dict[str, tuple[Any, ...]] = {
    "Scores": (worldpm.load, worldpm.Scorer, worldpm.get_score, Ranking, Trace, plan_score),
    "Records": (
        worldpm.Message, worldpm.Comparison, worldpm.Edge, worldpm.Score, worldpm.Thread,
        worldpm.Post,
    ),
    "Rows and artefacts": (read_comparisons, read_artifact),
    "Forums and comparisons": (read_threads, build_threads, build_pairs),
    "Training": (train, create_base),
    "Evaluation": (read_suite, read_counted, evaluate, protocol, style_edges, compare_precision),
    "Rewards": tuple(getattr(worldpm.rl, name) for name in worldpm.rl.__all__),
    "Scaling laws": (read_points, fit_law, trend_test, forecast, score_forecast, cancelling),
    "Server": (create_app,),
}  # fmt: skip


def _prose(thing: Any) -> list[str]:
    """A docstring as Markdown: what is indented or a doctest stands between fences."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.getdoc(thing) or ""):
        code = paragraph.startswith((">>>", "    "))
        lines += ["```text", inspect.cleandoc(paragraph), "```", ""] if code else [paragraph, ""]
    return lines


def _call(name: str, thing: Any) -> list[str]:
    """How to call it, with types as the source writes them, an argument a line where it is long.

    Read from the source, since what `inspect` shows differs between versions of Python.
    """
    node = ast.parse(inspect.cleandoc("\n" + inspect.getsource(thing))).body[0]
    gives = ""
    if isinstance(node, ast.ClassDef):
        made = next((n for n in node.body if getattr(n, "name", "") == "__init__"), None)
        fields = [ast.unparse(n) for n in node.body if isinstance(n, ast.AnnAssign)]
    else:
        made = node
    if isinstance(made, ast.FunctionDef):
        start = [each for each in made.args.args if each.arg != "self"]
        made.args.args = start
        gives = f" -> {ast.unparse(made.returns)}" if made.returns and made is node else ""
        fields = _arguments(made.args)
    short = f"{name}({', '.join(fields)}){gives}"
    if len(short) > 80:
        short = "\n".join([f"{name}(", *(f"    {field}," for field in fields), f"){gives}"])
    return ["```text", short.replace("'", '"'), "```", ""]


def _arguments(args: ast.arguments) -> list[str]:
    """Each argument with its type and default, `*` before those that are given by name."""
    first = len(args.args) - len(args.defaults)
    defaults = [None] * first + list(args.defaults) + list(args.kw_defaults)
    found = [
        ast.unparse(each) + (f" = {ast.unparse(default)}" if default is not None else "")
        for each, default in zip([*args.args, *args.kwonlyargs], defaults, strict=True)
    ]
    return [*found[: len(args.args)], "*", *found[len(args.args) :]] if args.kwonlyargs else found


def _thing(thing: Any) -> list[str]:
    name = thing.__name__
    lines = [f"### `{name}`", "", f"`from {_home(thing)} import {name}`", ""]
    lines += [*_call(name, thing), *_prose(thing)]
    if not inspect.isclass(thing):
        return lines
    for member, value in vars(thing).items():
        if not member.startswith("_") and inspect.isfunction(value):
            lines += [f"#### `{name}.{member}`", "", *_call(member, value), *_prose(value)]
    properties = {m: v for m, v in vars(thing).items() if isinstance(v, property)}
    lines += [f"- `{m}`: {_cell(inspect.getdoc(v) or '')}" for m, v in properties.items()]
    return [*lines, ""] if properties else lines


def _home(thing: Any) -> str:
    """The shortest place to import it from."""
    for package in (worldpm, worldpm.rl):
        if thing.__name__ in package.__all__:
            return str(package.__name__)
    return str(thing.__module__)


def python() -> str:
    """The functions and classes that other programs may build on."""
    lines = [
        "# Python",
        "",
        "What other programs may build on, in the order of the flow. Everything else may change "
        "from one release to the next. A `Conversation` is a tuple of messages; a `ScoreFn` takes "
        "a sequence of comparisons and gives K scores for each. `import worldpm` does not import "
        "torch; `load`, `get_score`, `Scorer` and `plan_score` do.",
        "",
    ]
    for section, things in SURFACE.items():
        lines += [f"## {section}", "", *(line for each in things for line in _thing(each))]
    lines += [
        "## Errors",
        "",
        "In `worldpm.errors`, each a `WorldPMError`.",
        "",
        "| | |",
        "|---|---|",
    ]
    errors = [each for each in vars(worldpm.errors).values() if inspect.isclass(each)]
    lines += [f"| `{each.__name__}` | {_cell(inspect.getdoc(each) or '')} |" for each in errors]
    return "\n".join([*lines, ""])


PAGES = {
    "command-line.md": command_line,
    "data.md": data_settings,
    "dialects.md": dialects,
    "python.md": python,
    "recipe.md": recipe,
    "serve.md": server,
    "suites.md": suites,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
