"""Settings of the whole suite."""

import ctypes
import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The first call of a kernel compiles it, so no deadline; in CI the examples are always the same
# ones.
_COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("local", max_examples=60, **_COMMON)
settings.register_profile("ci", max_examples=60, derandomize=True, **_COMMON)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# Compiling allocates objects by the million: to look for cycles among them each few hundred, as
# Python does by default, takes a tenth of the time.
gc.set_threshold(50_000, 20, 100)


@pytest.fixture
def rng():
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20260)


def _resident():
    """How many GB of memory this process has."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE") / 1e9


_kept = 2.0
"""GB in use after memory was given back the last time."""


@pytest.fixture(scope="module", autouse=True)
def _give_back_memory():
    """Drop what Numba keeps of each kernel for others to be linked with; it is made anew if asked.

    A worker of the whole suite compiles a thousand kernels, of which a third of the memory is that.
    To find it all takes seconds: only after every other GB.
    """
    global _kept
    yield
    if sys.platform == "linux" and _resident() > _kept + 1:
        from numba.core.codegen import CPUCodeLibrary

        # Not isinstance: it would wake proxies whose object is gone.
        for library in [o for o in gc.get_objects() if issubclass(type(o), CPUCodeLibrary)]:
            if next(iter(library._final_module.functions), None) is not None:
                library._shared_module = None  # else it came from the disk, and is all there is
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        _kept = _resident()
