"""Environments of their own far from the repository, for the tests of what is released."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = os.environ.get("TORCH", "torch==2.13.0").split()
"""What pip is told to install before `worldpm[model]`, as the Makefile's variable."""
# pip's settings pass, what could lead Python or worldpm back to the repository does not.
ENVIRONMENT = {
    key: value
    for key, value in os.environ.items()
    if not key.startswith(("PYTHON", "VIRTUAL_ENV", "WORLDPM", "PYTEST", "COV_"))
}


def ran(*command, cwd, code=0):
    """The result of a command that ends with `code`, else all that it said."""
    command = [str(part) for part in command]
    done = subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


class Installed:
    """A virtual environment outside the repository, and `worldpm` in it."""

    def __init__(self, folder):
        self.folder = folder
        ran(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
        self.python = folder / "venv" / "bin" / "python"

    def install(self, *what):
        flags = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        ran(self.python, *flags, *what, cwd=self.folder)

    def worldpm(self, *args, code=0):
        return ran(self.python.with_name("worldpm"), *args, cwd=self.folder, code=code)

    def run(self, source):
        """stdout of a Python text; -P: the folder it runs in is no place to import from."""
        return ran(self.python, "-P", "-c", source, cwd=self.folder).stdout.strip()
