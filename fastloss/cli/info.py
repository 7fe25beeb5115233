"""``python -m fastloss info``: what a bug report needs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding
import numba

import fastloss
from fastloss.cpu.compile import cache_directory
from fastloss.cpu.threads import start_threads
from fastloss.system import NOT_INSTALLED, cpu_model, version

LIBRARIES = ("numba", "llvmlite", "numpy")
OPTIONAL = ("ml_dtypes", "torch", "jax", "jaxlib", "numba-cuda", "tbb", "scikit-learn")
#: Those that decide which instructions the kernels can use.
FEATURES = (
    *("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bf16", "avx512fp16"),
    *("neon", "fullfp16", "sve"),
)


def print_info() -> None:
    """Print versions, machine, threads, devices and cache."""
    for name, value in _facts():
        print(f"{name:<18} {value}")


def _facts() -> Iterator[tuple[str, str]]:
    yield "fastloss", fastloss.__version__
    yield "python", f"{platform.python_version()} ({platform.python_implementation()})"
    for name in LIBRARIES:
        yield name, version(name)
    for name in OPTIONAL:
        yield name, version(name)
    yield "system", platform.platform()
    yield "cpu", cpu_model()
    yield "cpu for llvm", llvmlite.binding.get_host_cpu_name()
    yield "cpu features", _cpu_features()
    yield "cores", str(os.cpu_count())
    yield "numba threads", f"{start_threads()} of {numba.config.NUMBA_NUM_THREADS}"
    yield "threading layer", _threading_layer()
    yield "settings", _settings()
    yield "cuda", _cuda_devices()
    yield "cache", _cache(cache_directory())


def _cpu_features() -> str:
    features = llvmlite.binding.get_host_cpu_features()
    present = [name for name in FEATURES if features.get(name)]
    return ", ".join(present) or "none of " + ", ".join(FEATURES)


def _threading_layer() -> str:
    """Return the layer that Numba chooses."""
    try:
        start_threads()  # as the first kernel would
        return str(numba.threading_layer())
    except ValueError as error:
        return f"none: {error}"


def _settings() -> str:
    names = sorted(name for name in os.environ if name.startswith("NUMBA_"))
    return ", ".join(f"{name}={os.environ[name]}" for name in names) or "no NUMBA_* variable is set"


def _cuda_devices() -> str:
    if version("numba-cuda") == NOT_INSTALLED:
        return "not looked for: numba-cuda is not installed"
    try:
        from numba import cuda

        names = [device.name for device in cuda.list_devices()]
    except Exception as error:  # whatever the driver says belongs into the report
        return f"none: {error}"
    return ", ".join(name.decode() if isinstance(name, bytes) else name for name in names)


def _cache(folder: Path | None) -> str:
    if folder is None:
        return "none: no folder can be written"
    files = list(folder.glob("*.nb[ic]"))  # empty where there is no such folder
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    return f"{folder} ({len(files)} files, {megabytes:.1f} MB)"
