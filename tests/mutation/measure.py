"""How many changes to the core's code the tests notice, module by module.

    python tests/mutation/measure.py                      every module of the table
    python tests/mutation/measure.py pairs/split.py -v    one of them, and what survived

mutmut makes the mutants (a `<` for a `<=`, a dropped argument, another constant) and runs the tests
that reach each. A module's verdicts stay in build/mutants until the module, its tests or their
helpers change, so what a bound on time cut short is gone on with. A mutant that hangs counts as
killed; one that no test reaches as survived. Exit code 1 if a module is below `--least` or
unfinished.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "mutants"
PACKAGE = Path("src/worldpm")
MODULES = {
    "pairs/sample.py": ["tests/pairs/test_sample.py", "tests/pairs/test_edges.py"],
    "pairs/edges.py": ["tests/pairs/test_edges.py", "tests/pairs/test_sample.py"],
    "pairs/votes.py": ["tests/pairs/test_votes.py"],
    "pairs/split.py": ["tests/pairs/test_split.py"],
    "pairs/dedup.py": ["tests/pairs/test_dedup.py"],
    "train/loss.py": ["tests/train/test_loss.py"],
    "tokens/template.py": ["tests/tokens/test_template.py"],
    "tokens/encode.py": ["tests/tokens/test_encode.py", "tests/tokens/test_template.py"],
    "tokens/tree.py": ["tests/tokens/test_tree.py"],
    "tokens/pack.py": ["tests/tokens/test_tree.py"],
    "model/batch.py": ["tests/model/test_batch.py"],
    "serve/batching.py": ["tests/serve/test_batching.py", "tests/serve/test_admission.py"],
}
"""Module -> the fast tests that are to notice. The scored token is found in encode.py (the last
token), tree.py (a segment's last) and batch.py (`leaves`, its place among all tokens)."""

SETTINGS = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["{module}"]
pytest_add_cli_args = ["-m", "not slow", "-p", "no:xdist", "--hypothesis-profile", "mutants"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false

[tool.pytest.ini_options]
addopts = "-q --strict-markers --import-mode=importlib"
timeout = 300
markers = ["slow: left out"]
pythonpath = ["tests"]
"""
KILLED = {1, 3, -24, 24, 36, 152, 255, -9, -11}  # noticed, or hung, or crashed
INTERRUPTED = {None, 2}


def fingerprint(module, tests):
    """A hash of all that a verdict depends on but the rest of the package."""
    files = [PACKAGE / module, *map(Path, tests), *helpers(tests)]
    text = [f"{version('mutmut')} {SETTINGS}", *((ROOT / f).read_text("utf-8") for f in files)]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()


def helpers(tests):
    """What the tests may import: the modules beside tests/conftest.py, and their folders' own."""
    found = [path for path in (ROOT / "tests").glob("*.py") if not path.name.startswith("test_")]
    near = {ROOT / Path(test).parent / "conftest.py" for test in tests}
    return sorted(path.relative_to(ROOT) for path in {*found, *filter(Path.exists, near)})


def prepare(module, tests):
    """The module's folder of work, made anew where its verdicts would be stale."""
    folder = WORK / module.removesuffix(".py").replace("/", "-")
    mark = folder / "fingerprint"
    wanted = fingerprint(module, tests)
    if mark.exists() and mark.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignore)
    for path in [*map(Path, tests), *helpers(tests)]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    settings = SETTINGS.format(module=PACKAGE / module, tests=json.dumps(tests))
    (folder / "pyproject.toml").write_text(settings)
    mark.write_text(wanted)
    return folder


def run(folder, minutes):
    """Let mutmut test what has no verdict yet, for so long; its output, "" where time was up."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            return process.communicate(timeout=minutes * 60)[0].decode(errors="replace")
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGKILL)
            return ""


def verdicts(folder, module):
    """{mutant: exit code of its tests, None if it was not tried}."""
    meta = folder / "mutants" / PACKAGE / f"{module}.meta"
    if not meta.exists():
        return {}
    return json.loads(meta.read_text())["exit_code_by_key"]


def difference(folder, mutant):
    """What a mutant changes."""
    command = [str(Path(sys.executable).with_name("mutmut")), "show", mutant]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


def main():
    """Measure the modules asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--minutes", type=float, default=10, help="at most, for each module")
    parser.add_argument("--least", type=float, default=0.7, help="share that must be killed")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what survived")
    chosen = parser.parse_args()
    if unknown := set(chosen.modules) - set(MODULES):
        parser.error(f"no such module in the table: {', '.join(sorted(unknown))}")
    failed = False
    print(f"{'module':<20} {'mutants':>7} {'killed':>7} {'survived':>8} {'untried':>7}  share")
    for module in chosen.modules or MODULES:
        folder = prepare(module, MODULES[module])
        said = run(folder, chosen.minutes)
        found = verdicts(folder, module)
        killed = sum(code in KILLED for code in found.values())
        untried = sum(code in INTERRUPTED for code in found.values())
        tried = len(found) - untried
        share = killed / tried if tried else 0.0
        failed |= untried > 0 or share < chosen.least
        counts = f"{len(found):>7} {killed:>7} {tried - killed:>8} {untried:>7}"
        print(f"{module:<20} {counts}  {share:.1%}", flush=True)
        if not tried:
            print(said[-2000:], file=sys.stderr)
        if chosen.verbose:
            for mutant, code in found.items():
                if code not in KILLED | INTERRUPTED:
                    print(difference(folder, mutant))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
