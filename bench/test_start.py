"""What a fresh process waits for: the import, and the first loss with a cold and a warm cache."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.results import Results

#: Prints the seconds of `import numba`, of `import fastloss` after it, and of the first loss.
PROGRAM = """
import time
start = time.perf_counter()
import numba
numba_there = time.perf_counter()
import fastloss
fastloss_there = time.perf_counter()
import numpy as np
logits, targets = np.zeros((32, 10), np.float32), np.zeros(32, np.int64)
made = time.perf_counter()
fastloss.{loss}
done = time.perf_counter()
print(numba_there - start, fastloss_there - numba_there, done - made)
"""

FIRST_LOSSES = {
    "mse.value_and_grad": "mse.value_and_grad(logits, logits)",
    "cross_entropy": "cross_entropy(logits, targets)",
    "cross_entropy.value_and_grad": "cross_entropy.value_and_grad(logits, targets)",
}

IMPORT, COLD, WARM = "import, beyond numba's", "first call, cold cache", "first call, warm cache"

#: Seconds.
GOALS = {IMPORT: 0.1, COLD: 3.0, WARM: 0.5}

WARM_STARTS = 5


def start(loss: str, cache: Path) -> list[float]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    program = PROGRAM.format(loss=loss)
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return [float(part) for part in output.stdout.split()]


@pytest.mark.parametrize("loss", FIRST_LOSSES)
def test_first_loss(
    results: Results, show: Callable[[str], None], tmp_path: Path, loss: str
) -> None:
    cold = start(FIRST_LOSSES[loss], tmp_path)
    warm = [start(FIRST_LOSSES[loss], tmp_path) for _ in range(WARM_STARTS)]
    _, added, first = (statistics.median(column) for column in zip(*warm, strict=True))
    assert first < cold[2], "the cache was not used"
    found = {IMPORT: round(added, 3), COLD: round(cold[2], 2), WARM: round(first, 3)}
    results.section("start")[loss] = {"s": found, "goals s": GOALS}
    show(", ".join(f"{what} {value} s" for what, value in found.items()))
