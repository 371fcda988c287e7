"""The shell around the verbs: help, laziness, errors and exit codes, pipes."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from worldpm import __version__, errors, store
from worldpm.cli.app import FLOW

COMMAND = [sys.executable, "-m", "worldpm"]
HEAVY = "torch transformers tokenizers safetensors matplotlib"
# Runs each command of a list in one process and says which heavy modules it left behind.
SCRIPT = """
import json, sys
from worldpm.cli.app import main
commands, forbidden = json.loads(sys.argv[1]), sys.argv[2].split()
for command in commands:
    sys.argv = ["worldpm", *command]
    try:
        main()
    except SystemExit as end:
        print(end.code, command[0], [m for m in forbidden if m in sys.modules], file=sys.stderr)
"""


def imported(commands, forbidden):
    """(exit code, verb, heavy modules) after each command, as printed."""
    script = [sys.executable, "-c", SCRIPT, orjson.dumps(commands).decode(), forbidden]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    return [line for line in done.stderr.splitlines() if line.endswith("]")]


def test_help_lists_the_flow(worldpm):
    """Every verb is there, in the order of the flow."""
    result = worldpm("--help")
    places = [result.out.index(f"│ {verb} ") for verb in FLOW]
    assert result.code == 0
    assert places == sorted(places)


def test_version(worldpm):
    """The version goes to stdout, alone."""
    assert worldpm("--version").out == f"worldpm {__version__}\n"


def test_help_is_light():
    """Help imports no stage, no numerics and no pydantic, and takes under 0.5 s of processor."""
    forbidden = f"{HEAVY} pyarrow pydantic numpy lxml"
    assert imported([["--help"]], forbidden) == ["0 --help []"]

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*COMMAND, "--help"], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_data_verbs_do_not_import_torch(dump, pair_rows, tmp_path):
    """The whole data side runs without the model side, and so do a recipe's errors."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[optim]\nlearning_rate = 1\n")
    at = {name: str(tmp_path / name) for name in ("threads", "data", "own", "trl")}
    commands = [
        ["forum", "stackexchange", str(dump), "-o", at["threads"], "-q"],
        ["pairs", at["threads"], "-o", at["data"], "-q"],
        ["import", "pairs", str(pair_rows), "-o", at["own"], "-q"],
        ["export", at["own"], "--format", "trl", "-o", at["trl"]],
        ["show", at["own"]],
        ["show", at["threads"]],
        ["train", str(recipe), "--data", at["own"], "-o", str(tmp_path / "run")],
        ["score", str(tmp_path / "none.jsonl")],
    ]
    codes = [0, 0, 0, 0, 0, 0, 1, 1]
    found = imported(commands, HEAVY)
    wanted = [f"{code} {command[0]} []" for code, command in zip(codes, commands, strict=True)]
    assert found == wanted


def test_light_install_names_the_extra(pair_rows):
    """Without torch, a verb that needs it says what to install."""
    script = "import sys; sys.modules['torch'] = None; from worldpm.cli.app import main; main()"
    command = [sys.executable, "-c", script, "score", str(pair_rows), "--model", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wanted = 'error: torch is not installed; install it with pip install "worldpm[model]"\n'
    assert (done.returncode, done.stdout, done.stderr) == (1, "", wanted)


@pytest.mark.parametrize(
    "args", [["fly"], ["pairs"], ["score", "--dtype", "int4"], ["pairs", "x", "--max-replies", "1"]]
)
def test_usage_errors(worldpm, args):
    """What is not a command of ours ends with 2, and nothing on stdout."""
    result = worldpm(*args)
    assert (result.code, result.out) == (2, "")
    assert "Usage: worldpm" in result.err


@pytest.mark.parametrize(
    "args",
    [
        ["import", "helpsteer2", ""],
        ["show", ""],
        ["score", "x", "-o", ""],
        ["pairs", "x", "--out="],
    ],
)
def test_an_empty_argument_is_no_folder(worldpm, tmp_path, monkeypatch, args):
    """As a path it would be the current directory, whose files are not meant."""
    monkeypatch.chdir(tmp_path)
    result = worldpm(*args)
    assert (result.code, result.out) == (2, "")
    assert "is empty" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DataError("a:3: wrong"), 1),
        (errors.GateError("below"), 3),
        (errors.InterruptedRunError("saved"), 75),
    ],
)
def test_errors_are_one_message(worldpm, monkeypatch, data, error, code):
    """A WorldPMError is its message and exit code, without a traceback."""
    monkeypatch.setattr(store, "read_manifest", _raiser(error))
    result = worldpm("show", data)
    assert (result.code, result.out, result.err) == (code, "", f"error: {error}\n")


def _raiser(error):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_a_bug_is_a_traceback(worldpm, monkeypatch, data):
    """What is our fault is not dressed up as the user's."""
    monkeypatch.setattr(store, "read_manifest", _raiser(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError, match="ours"):
        worldpm("show", data)


def test_interrupt(worldpm, monkeypatch, data):
    """Ctrl-C ends with 130 and no traceback."""
    monkeypatch.setattr(store, "read_manifest", _raiser(KeyboardInterrupt))
    result = worldpm("show", data)
    assert (result.code, result.out, result.err) == (130, "", "")


def test_paths_that_cannot_be_written(worldpm, threads, tmp_path):
    """The system's refusal is one message with the path, not a traceback."""
    (tmp_path / "file").write_text("")
    result = worldpm("pairs", threads, "-o", tmp_path / "file" / "data", "-q")
    assert result.code == 1
    assert result.err.startswith("error: ")
    assert "file" in result.err
    assert "Not a directory" in result.err
    exported = worldpm("export", threads, "-o", tmp_path / "file")
    assert (exported.code, exported.out) == (1, "")
    assert exported.err.startswith("error: ")


def test_quoted_data_cannot_write_to_the_terminal(worldpm):
    """Control and reordering characters of what a message quotes are shown, not obeyed."""
    result = worldpm("show", "a\x1b[31mb\u202ec")
    assert result.err == "error: a\\x1b[31mb\\u202ec: no such file or folder\n"


@pytest.mark.parametrize("flags", [["--json"], []])
def test_closed_pipe_is_quiet(tmp_path, flags):
    """A reader that goes away (`| head`) is no error to talk about; 141 is what a shell reports."""
    path = tmp_path / "many.jsonl"
    row = {"prompt": "?", "replies": ["reply " * 50] * 4}
    path.write_bytes(b"\n".join([orjson.dumps(row)] * 2000))
    command = [*COMMAND, "show", str(path), "--samples", "2000", *flags]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        process.stdout.close()
        message = process.stderr.read()
        assert (process.wait(), message) == (141, b"")


def test_closed_pipe_of_a_table(tmp_path, evaluation_json):
    """The same for what rich prints, which has its own way with closed pipes."""
    path = tmp_path / "llmbar.json"
    path.write_bytes(orjson.dumps(evaluation_json))
    with subprocess.Popen(
        [*COMMAND, "show", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        message = process.stderr.read()
        assert (process.wait(), message) == (141, b"")


def test_make_needs_a_python(tmp_path):
    """Without a fitting Python, `make demo` says what is missing before it does anything."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["make", "demo", "PYTHON=", f"VENV={tmp_path / 'venv'}"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error: no Python 3.11 to 3.14 with venv was found" in done.stderr
    assert not (tmp_path / "venv").exists()
