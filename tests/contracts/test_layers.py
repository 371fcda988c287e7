"""Who may import whom, read from the import statements of every module."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "worldpm"
MODULES = sorted(SRC.rglob("*.py"))

BASE = {
    "errors", "hub", "jsonfiles", "records", "schema", "store", "config", "rows", "work", "making",
    "progress", "ledger", "surface", "events", "rendered", "calls", "outputs",
}  # fmt: skip
# The table of docs: a layer and what it may stand on, beside itself.
MAY_IMPORT = {
    **{module: BASE for module in BASE},
    "forum": BASE,
    "pairs": BASE,
    "evals": BASE,
    "scaling": BASE,
    "report": BASE,
    "rl": BASE,
    "serve": BASE | {"report"},
    "tokens": BASE,
    "model": BASE | {"tokens"},
    "train": BASE | {"tokens", "model"},
    "results": BASE | {"report"},
    "score": BASE | {"tokens", "model", "results"},
}
TOP = {"cli", "__main__"}  # may import anything; nobody imports them
LIGHT = BASE | {"forum", "pairs", "evals", "scaling", "report", "serve", "tokens"}
HEAVY = {"torch", "transformers", "safetensors", "peft", "accelerate", "gguf", "jaxtyping"}


def layer_of(path):
    """The first part of a module's name below the package; "" for the package itself."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imported(source, package="worldpm"):
    """All the modules that a source text imports, at any level of nesting."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module)
            if node.module == package:
                found |= {f"{package}.{alias.name}" for alias in node.names}
    return found


def own_layers(source):
    """The layers of this package that a source text imports."""
    names = [name.split(".") for name in imported(source)]
    return {parts[1] for parts in names if parts[0] == "worldpm" and len(parts) > 1}


def breaks(layer, source):
    """What a source text of `layer` imports against the table."""
    wrong = own_layers(source) & (TOP - {layer}) if layer not in TOP else set()
    if layer in MAY_IMPORT:
        wrong |= own_layers(source) - MAY_IMPORT[layer] - {layer}
    if layer in LIGHT:
        wrong |= {name.split(".")[0] for name in imported(source)} & HEAVY
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_layers(path):
    """Every module stands on what the table allows, and on nothing else, at any level."""
    layer = layer_of(path)
    assert layer in {*MAY_IMPORT, *TOP, ""}, f"{layer} has no row in the table"
    assert breaks(layer, path.read_text(encoding="utf-8")) == set()


def test_package_itself_is_light():
    """`import worldpm` brings the records; the scorer comes on first use."""
    assert own_layers((SRC / "__init__.py").read_text(encoding="utf-8")) == {"records", "score"}


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("pairs", "import torch"),
        ("pairs", "def f():\n    from transformers import AutoModel"),
        ("evals", "from worldpm.score import Scorer"),
        ("evals", "if TYPE_CHECKING:\n    from worldpm import score"),
        ("forum", "import worldpm.pairs.build"),
        ("records", "from worldpm.model.config import ModelConfig"),
        ("tokens", "from worldpm.model.batch import collate"),
        ("model", "from worldpm.train.lora import LoRALinear"),
        ("train", "from worldpm.score import Scorer"),
        ("train", "from worldpm.cli.app import main"),
        ("score", "from worldpm.cli import app"),
        ("serve", "from worldpm.model.decoder import Decoder"),
        ("store", "import safetensors.torch"),
    ],
)
def test_breaks_would_show(layer, source):
    """Each kind of forbidden import is seen."""
    assert breaks(layer, source)


def test_no_cycles():
    """The layers can be put in an order in which each imports only earlier ones."""
    graph = {}
    for path in MODULES:
        layer = layer_of(path)
        if layer:  # the package itself hands the scorer on, on first use
            found = own_layers(path.read_text(encoding="utf-8")) - {layer}
            graph.setdefault(layer, set()).update(found)
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("errors") < order.index("tokens") < order.index("model")
    with pytest.raises(CycleError):
        list(TopologicalSorter(graph | {"errors": {"train"}}).static_order())


def test_light_layers_load_without_torch():
    """Importing every module of the light layers brings neither torch nor transformers."""
    light = [
        ".".join(("worldpm", *path.relative_to(SRC).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for path in MODULES
        if layer_of(path) in LIGHT | {""}
    ]
    code = f"import sys, {', '.join(light)}\nprint(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
