"""The most memory that a call holds beyond what it was given, as the kernel counts it."""

from __future__ import annotations

import gc
from pathlib import Path

from fastloss.benchmark.measure import Contestant
from fastloss.config import config

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def can_measure() -> bool:
    """Return whether this system counts: Linux does."""
    return _STATUS.exists() and _RESET.exists()


def peak_beyond_inputs(call: Contestant, forget: Contestant = lambda: None) -> int:
    """Return the bytes by which the resident memory grows at most during a call.

    For a process that does nothing else. `forget` drops what a call leaves behind; what fastloss
    keeps for later results is dropped in any case, and counts.
    """
    for _ in range(3):
        call()
    forget()
    kept, config.kept_memory = config.kept_memory, 0
    config.kept_memory = kept
    gc.collect()
    _RESET.write_text("5")  # the high-water mark starts again from what is resident now
    before = _kilobytes("VmRSS")
    result = call()
    peak = _kilobytes("VmHWM")
    del result
    return max(0, peak - before) * 1024


def _kilobytes(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise OSError(f"{_STATUS} does not tell {name}")
