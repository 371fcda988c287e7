"""The distributions, and environments in which they are installed.

`make wheel` names the folder of what it built in WORLDPM_DIST; otherwise they are built here.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from installed import ENVIRONMENT, ROOT, TORCH, Installed, ran


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    """Skip where pip reaches no package index."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"]
    at = tmp_path_factory.mktemp("index")
    command += ["--retries", "1", "--timeout", "20", "--dest", str(at), "hatchling"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        pytest.skip(f"no package index within reach: {last}")


@pytest.fixture(scope="session")
def dist(tmp_path_factory, index):
    """The folder with the wheel and the source distribution."""
    if given := os.environ.get("WORLDPM_DIST"):
        return Path(given).resolve()
    at = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "build", "--outdir", at, ROOT, cwd=at)
    return at


@pytest.fixture(scope="session")
def wheel(dist):
    (found,) = dist.glob("worldpm-*.whl")
    return found


@pytest.fixture(scope="session")
def light(tmp_path_factory, wheel):
    """`pip install worldpm`, and nothing else."""
    installed = Installed(tmp_path_factory.mktemp("light"))
    installed.install(wheel)
    return installed


@pytest.fixture(scope="session")
def full(tmp_path_factory, wheel):
    """`pip install 'worldpm[model,serve]'`, with the torch of the Makefile."""
    installed = Installed(tmp_path_factory.mktemp("full"))
    installed.install(*TORCH)
    installed.install(f"{wheel}[model,serve]")
    return installed
