"""What machine this is and what is installed on it, for reports."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import llvmlite.binding

NOT_INSTALLED = "not installed"


def cpu_model() -> str:
    """Return the CPU's model as it names itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def widest_vectors() -> str:
    """Return what LLVM calls the CPU's widest vector instructions."""
    features = llvmlite.binding.get_host_cpu_features()
    names = "avx512f", "avx2", "avx", "sse2", "sve", "neon"
    return next((name for name in names if features.get(name)), "scalar")


def version(name: str) -> str:
    """Return the installed version of a distribution, without importing it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED
