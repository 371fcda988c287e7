"""Other people's commands, as far as they can be checked without a network, a GPU or an hour.

`python tests/tools.py NAME ARGS` ends with 0 if what was typed could work; `place_tools` puts each
NAME into a folder for PATH.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pip(*args):
    """No index: every extra of ours that is named exists, and the light install has its name."""
    from packaging.requirements import Requirement

    action, *wanted = args
    assert action == "install", action
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in wanted:
        if not word.startswith("-"):
            named = Requirement(re.sub(r"^\.(?=\[|$)", project["name"], word))
            ours = named.name == project["name"]
            unknown = named.extras - project["optional-dependencies"].keys() if ours else ()
            assert not unknown, f"pyproject.toml has no extra {sorted(unknown)}"


def make(*targets):
    """An install, a download, or the suite itself: the target exists, and make knows its steps."""
    others = os.environ["PATH"].partition(":")[2]  # its own folder stands first
    command = [shutil.which("make", path=others), "-n", "-C", ROOT, *targets]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def torchrun(*args):
    """Eight processes: torchrun itself reads its options, and one process runs the command."""
    from torch.distributed.run import parse_args

    found = parse_args(list(args))
    assert found.module, "our documentation starts worldpm as a module"
    subprocess.run([found.training_script, *found.training_script_args], check=True)


def vllm(*args):
    """Not installed: the model that it is to serve is a checkpoint."""
    action, model, *_ = args
    assert action == "serve", action
    assert (Path(model) / "config.json").is_file(), f"{model} is no checkpoint"


TOOLS = {tool.__name__: tool for tool in (pip, make, torchrun, vllm)}


def place_tools(folder: Path) -> None:
    """An executable for each."""
    for name in TOOLS:
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec worldpm-python "{__file__}" {name} "$@"\n')
        path.chmod(0o755)


if __name__ == "__main__":
    os.environ.pop("MAKEFLAGS", None)  # of the `make test` that this may run in
    TOOLS[sys.argv[1]](*sys.argv[2:])
