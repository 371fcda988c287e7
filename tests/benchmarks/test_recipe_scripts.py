"""The scripts in recipes/ run every step once, in order, and stop with the exit code of a step."""

import os
import subprocess
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
STUB = """#!/usr/bin/env bash
# Stands for `worldpm` and `python`: notes its arguments, makes what -o names, and at the word in
# $STOP_AT leaves an unfinished run and exits as an interrupted one does.
echo "$(basename "$0") $*" >> "$LOG"
out=
for word in "$@"; do [ "$previous" != "-o" ] || out=$word; previous=$word; done
[ -z "$out" ] || mkdir -p "$out"
if [ "$1" = train ]; then
    touch "$out/run.json"
    [ "$(basename "$out")" != "${STOP_AT:-}" ] || exit 75
    mkdir -p "$out/model" "$out/adapter" && touch "$out/model/config.json"
fi
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Run a script of recipes/ on folders of the test: its exit code, and the commands it ran."""
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    for name in ("worldpm", "python"):
        (tools / name).write_text(STUB)
        (tools / name).chmod(0o755)
    site = tmp_path / "files" / "forum" / "stackexchange"
    site.mkdir(parents=True)
    (site / "a.example.7z").touch()

    def run(name, *more, stop_at=""):
        log.write_text("")
        env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "LOG": str(log),
               "STOP_AT": stop_at, "previous": ""}  # fmt: skip
        command = ["bash", RECIPES / name, tmp_path / "files", tmp_path / "made", *more]
        code = subprocess.run(command, env=env, check=False, timeout=60).returncode
        return code, log.read_text().replace(str(tmp_path), "").splitlines()

    return run


def trained(lines):
    """The names of the runs that were trained, in order."""
    return [line.rpartition("/")[2] for line in lines if line.startswith("worldpm train")]


def test_candidates_of_the_next_default(script):
    """The forum first, the second stage from its adapter, others from the base; all compared."""
    code, lines = script("default-2.sh")
    assert code == 0
    assert trained(lines) == ["forum", "two-stage", "mixed", "mixed-low"]
    stage = {name: line for name, line in zip(trained(lines), lines[-5:-1], strict=True)}
    assert "--adapter /made/default-2/forum/adapter" in stage["two-stage"]
    assert "--adapter" not in stage["mixed"]
    assert "optim.lr=1e-4" in stage["mixed-low"]
    assert not any("reddit" in line or "discourse" in line for line in lines), "may not be shipped"
    assert lines[-1].startswith("python ")
    assert lines[-1].endswith("candidates.py " + " ".join(
        f"/made/default-2/{name}" for name in ("two-stage", "mixed", "mixed-low")))  # fmt: skip
    code, lines = script("default-2.sh")
    assert (code, trained(lines)) == (0, [])


def test_a_stopped_candidate_is_gone_on_with(script):
    """Exit code 75 comes through; the next call resumes that run and redoes none before it."""
    code, lines = script("default-2.sh", "25", stop_at="mixed")
    assert code == 75
    assert trained(lines) == ["forum", "two-stage", "mixed"]
    code, lines = script("default-2.sh", "25")
    assert code == 0
    assert trained(lines) == ["mixed", "mixed-low"]
    assert "--resume" in lines[0]
    assert "--resume" not in lines[1]


def test_no_time_left_is_no_training(script):
    """A slice of no minutes ends before the first run, with the code of work that is left."""
    code, lines = script("default-2.sh", "0")
    assert code == 75
    assert trained(lines) == []


def test_two_arms_data_is_made_once(script):
    """Three forums and the human pairs, then the comparison with the slice that was asked for."""
    code, lines = script("two-arms.sh", "25")
    assert code == 0
    made = [line.rpartition("/")[2] for line in lines[:-1]]
    assert made == ["threads", "stackexchange", "threads-reddit", "reddit", "threads-discourse",
                    "discourse", "hh-rlhf"]  # fmt: skip
    assert "--minutes 25 -o /made/two-arms" in lines[-1]
    code, lines = script("two-arms.sh")
    assert len(lines) == 1
    assert "--minutes" not in lines[0]


def test_every_table_is_made_once(script, tmp_path):
    """Each table of the results has its benchmark run; what is there is not run again."""
    code, lines = script("bench.sh")
    assert code == 0
    ran = [line.split()[1] for line in lines if line.startswith("python")]
    assert [Path(each).stem for each in ran] == ["forum", "serve", "train", "precision", "score"]
    (tmp_path / "made" / "bench" / "train.json").rmdir()
    code, lines = script("bench.sh")
    assert code == 0
    assert [line.split()[1].rpartition("/")[2] for line in lines if "python" in line] == [
        "train.py"
    ]
