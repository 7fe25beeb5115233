"""Starts the suite in Numba's CUDA simulator, which a process must choose before it begins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda.device import missing

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(missing() == "numba-cuda is not installed", reason=str(missing()))
def test_suite_in_the_simulator():
    # Arithmetic that overflows is silent on a GPU; NumPy, which stands in for it, warns.
    command = [
        sys.executable, "-m", "pytest", "tests/cuda/suite", "-q", "-x", "-p", "no:xdist",
        "-p", "no:cacheprovider", "-W", "ignore::RuntimeWarning", "--durations=5",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    result = subprocess.run(
        command,
        env=environment | {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert " passed" in result.stdout, result.stdout
