"""Calls that are banned from the source, and what every public name and file must be."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "worldpm"
MODULES = sorted(SRC.rglob("*.py"))
MAX_LINES = 400

BANNED_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
BANNED_NAMES = {"eval", "exec", "compile", "__import__"}
BANNED_CALLS = {
    "torch.load",
    "torch.jit.load",
    "torch.hub.load",
    "torch.package.PackageImporter",
    "yaml.load",
    "yaml.unsafe_load",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "tempfile.mktemp",
}
BANNED_KEYWORDS = {"shell", "trust_remote_code", "allow_pickle"}


def dotted(node):
    """`a.b.c` of an attribute chain, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def banned(source):
    """The banned imports and calls of a source text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in BANNED_IMPORTS]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name in BANNED_CALLS]
            if module.split(".")[0] in BANNED_IMPORTS or module == "__future__":
                found.append(module)
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in BANNED_NAMES or name in BANNED_CALLS:
                found.append(name)
            for keyword in node.keywords:
                value = keyword.value
                off = isinstance(value, ast.Constant) and value.value is False
                if keyword.arg in BANNED_KEYWORDS and not off:
                    found.append(f"{keyword.arg}=")
            if isinstance(node.func, ast.Attribute) and node.func.attr == "extractall":
                found.append("extractall")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_no_banned_calls(path):
    """Nothing that runs what a file says: no pickle, no torch.load, no eval, no shell."""
    assert banned(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x', weights_only=True)",
        "from torch import load",
        "def f():\n    return eval('1')",
        "exec(open('x').read())",
        "yaml.load(text, Loader=L)",
        "subprocess.run('ls', shell=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=flag)",
        "np.load(path, allow_pickle=True)",
        "archive.extractall(path)",
        "from __future__ import annotations",
    ],
)
def test_banned_calls_would_show(source):
    """Each kind of banned call is seen."""
    assert banned(source)


def test_allowed_calls_do_not_show():
    """`model.eval()` and switches that are off are no calls to ban."""
    assert banned("model.eval()\nrun(x, shell=False)\nyaml.safe_load(t)\nre.compile('x')") == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_no_file_is_long(path):
    """A module is under 400 lines and begins with what comes in and what goes out."""
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < MAX_LINES
    assert ast.get_docstring(ast.parse(source))


def public_definitions(tree):
    """(name, node) of public functions, classes and their public methods."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for name, inner in public_definitions(node):
                    yield f"{node.name}.{name}", inner


def faults(source):
    """What public functions and classes of a source text lack."""
    found = []
    for name, node in public_definitions(ast.parse(source)):
        if not ast.get_docstring(node):
            found.append(f"{name}: docstring")
        if isinstance(node, ast.ClassDef):
            continue
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        if "." in name and not any(dotted(d) == "staticmethod" for d in node.decorator_list):
            positional = positional[1:]  # self or cls
        every = [*positional, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        found += [f"{name}: {a.arg}" for a in every if a is not None and a.annotation is None]
        if node.returns is None:
            found.append(f"{name}: return")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_public_names_are_documented_and_typed(path):
    """Every public function has a docstring and annotations, every public class a docstring."""
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def f(x: int) -> int:\n    "Doc."', []),
        ("def f(x: int) -> int: ...", ["f: docstring"]),
        ('def f(x) -> int:\n    "Doc."', ["f: x"]),
        ('def f(*a, **k) -> int:\n    "Doc."', ["f: a", "f: k"]),
        ('def f():\n    "Doc."', ["f: return"]),
        ("class C: ...", ["C: docstring"]),
        ('class C:\n    "Doc."\n    def f(self, x): "Doc."', ["C.f: x", "C.f: return"]),
        ("def _f(x): ...", []),
    ],
)
def test_faults_would_show(source, expected):
    """Each kind of fault is seen."""
    assert faults(source) == expected
