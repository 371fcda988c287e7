"""Write docs/reference/ from the code: `python docs/build_reference.py`.

`tests/contracts/test_docs.py` fails when what is there differs from what this makes.
"""

import inspect
import re
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

import worldpm.serve.dialects
from worldpm.cli.app import FLOW, app
from worldpm.evals.protocol_worldpm import CLASS_OF, ROWS
from worldpm.evals.protocols import protocol
from worldpm.evals.published import find, names
from worldpm.evals.suite_files import FILES
from worldpm.evals.suites import SUITES
from worldpm.forum.forums import FORUMS
from worldpm.pairs.imports import ImportSettings
from worldpm.pairs.settings import PairSettings
from worldpm.serve.dialects import DIALECTS
from worldpm.serve.settings import ServeSettings
from worldpm.train.recipe import Recipe

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


PAGES = {
    "command-line.md": command_line,
    "data.md": data_settings,
    "dialects.md": dialects,
    "recipe.md": recipe,
    "serve.md": server,
    "suites.md": suites,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
