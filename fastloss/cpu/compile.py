"""How kernels are compiled, cached and told apart.

A kernel is one Python function compiled twice: with `prange` in parallel, and as a serial
twin for small inputs and for places where threads are not safe. Numba's cache looks at the
file that holds a kernel and at nothing that this file uses; the digest of all sources in the
kernel's name makes it sound.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

PACKAGE = Path(__file__).resolve().parent.parent

#: `contract` allows fused multiply-add. Anything more would drop nan or inf, or reorder.
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}

#: Every kernel made so far, for tests that walk them.
KERNELS: list[Kernel] = []


@functools.cache
def source_digest() -> str:
    """Digest of every source file of the package."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Kernel:
    """The two compiled forms of one function; each is compiled when it is first called."""

    def __init__(self, make: Callable[[], Callable[..., Any]], label: str, cache: bool) -> None:
        self.make = make
        self.label = label
        self.cache = cache
        KERNELS.append(self)

    def _compile(self, form: str, parallel: bool) -> Any:
        function = self.make()
        # The name is part of the cache's file name and of its key.
        function.__qualname__ = f"{function.__name__}_{form}_{self.label}"
        if self.cache:
            try:
                return njit(parallel=parallel, cache=True, **OPTIONS)(function)
            except RuntimeError:  # nowhere to write: Numba's "no locator available"
                pass
        return njit(parallel=parallel, **OPTIONS)(function)

    @functools.cached_property
    def serial(self) -> Any:
        """The form without threads."""
        return self._compile("serial", parallel=False)

    @functools.cached_property
    def parallel(self) -> Any:
        """The form that runs its chunks on Numba's threads."""
        return self._compile("parallel", parallel=True)


def kernel(make: Callable[[], Callable[..., Any]], user_digest: str | None = "") -> Kernel:
    """Return the kernel whose function `make()` returns.

    `user_digest` tells apart formulas from outside the package; None if they could not be
    digested, in which case nothing is cached on disk.
    """
    return Kernel(make, f"{source_digest()}{user_digest or ''}", cache=user_digest is not None)


@functools.cache
def vector_math() -> None:
    """Give the elementary functions their CPU implementations (Numba's registry of overloads)."""
    importlib.import_module("fastloss.cpu.math")


def cache_directory() -> Path:
    """Return the folder in which Numba keeps the kernels of this package."""
    from numba.core.caching import FunctionCache

    def probe() -> None:
        """Stand for any kernel of this file's folder."""

    return Path(FunctionCache(probe).cache_path)
