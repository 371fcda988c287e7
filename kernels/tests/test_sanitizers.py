"""The C++ code under address and undefined-behaviour sanitizers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute of a processor, most of it the compiler's; more on a busy one
@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_the_driver_is_clean(tmp_path):
    """Random shapes and trees on every instruction set: no error, and equal results."""
    options = ["-DWORLDPM_DRIVER=ON", "-DWORLDPM_SANITIZE=ON"]
    subprocess.run(["cmake", "-S", KERNELS, "-B", tmp_path, *options], check=True)
    subprocess.run(["cmake", "--build", tmp_path, "--parallel", "2"], check=True)
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    run = subprocess.run(
        [tmp_path / "driver"], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "all agree" in run.stdout
