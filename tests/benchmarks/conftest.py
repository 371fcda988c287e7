"""The benchmarks are scripts: their folder stands first on the path while these tests run."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield
    for path in FOLDER.glob("*.py"):  # `score` is no name to leave to others
        sys.modules.pop(path.stem, None)
