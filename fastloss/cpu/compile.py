"""How kernels are compiled and cached.

A kernel computes one chunk of its input: it is a native function (record, chunk, slot), and
the driver calls it for all chunks.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import cfunc, njit
from numba.core import config, types
from numba.core.compiler_lock import global_compiler_lock

from fastloss.labels import named
from fastloss.lazy import lazy

#: `contract` allows fused multiply-add. Anything more would drop nan or inf, or reorder.
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}

_SIGNATURE = types.float64(types.int64, types.int64, types.int64)

# (plan, arrays, divisor, upstream)
_DRIVER_SIGNATURE = types.int64(types.int64, types.int64, types.float64, types.float64)

#: Every kernel made so far, and every driver compiled, for tests that walk them.
KERNELS: list[Kernel] = []
DRIVERS: list[Any] = []


class Kernel:
    """A kernel, compiled when its address is first asked for.

    Parameters
    ----------
    make : callable
        Returns the function (record, chunk, slot) -> float to compile.
    label : str
        Tells apart the kernels that one `make` can return. Each has a cache index of its
        own: two processes that add to one index at a time can swap their entries.
    user_digest : str or None
        Tells apart formulas from outside the package; None if they could not be digested, in
        which case nothing is cached on disk.
    """

    def __init__(
        self, make: Callable[[], Callable[..., Any]], label: str, user_digest: str | None = ""
    ) -> None:
        self.make = make
        self.label = label
        self.user_digest = user_digest
        KERNELS.append(self)

    @lazy
    def compiled(self) -> Any:
        """The compiled function, an object of Numba's."""
        need_compiler()
        with global_compiler_lock:  # where several threads ask at once, one compiles
            if "compiled" in vars(self):
                return self.compiled
            vector_math()
            function = named(self.make(), self.label + (self.user_digest or ""))
            decorate = functools.partial(cfunc, _SIGNATURE, **OPTIONS)
            to_disk = self.user_digest is not None
            return cached(decorate, function) if to_disk else decorate()(function)

    @lazy
    def address(self) -> int:
        """Where the compiled function lies."""
        return int(self.compiled.address)


def need_compiler() -> None:
    """Refuse to run where Numba compiles nothing."""
    if config.DISABLE_JIT:
        raise RuntimeError(
            "fastloss computes by what Numba compiles, and NUMBA_DISABLE_JIT is set; unset it"
        )


def cached(decorate: Callable[..., Any], function: Callable[..., Any]) -> Any:
    """Compile with Numba's cache on disk, or without it where there is nowhere to write."""
    try:
        return decorate(cache=True)(function)
    except RuntimeError as error:
        if "no locator" not in str(error):
            raise
        return decorate()(function)


def compile_driver(function: Callable[..., Any], parallel: bool) -> Callable[..., int]:
    """Compile the driver at once, serial or on Numba's threads."""
    need_compiler()
    form = named(function, "_parallel" if parallel else "_serial")
    dispatcher = cached(
        functools.partial(
            njit, _DRIVER_SIGNATURE, parallel=parallel, nogil=True, no_cfunc_wrapper=True, **OPTIONS
        ),
        form,
    )
    DRIVERS.append(dispatcher)
    # Its one form, without Numba's look at the types of the arguments in every call.
    (compiled,) = dispatcher.overloads.values()
    entry: Callable[..., int] = compiled.entry_point
    return entry


@functools.cache
def vector_math() -> None:
    """Give the elementary functions their CPU implementations (Numba's registry of overloads)."""
    importlib.import_module("fastloss.cpu.math")


def cache_directory() -> Path | None:
    """Return the folder in which Numba keeps the kernels of this package; None: nowhere."""
    from numba.core.caching import FunctionCache

    def probe() -> None:
        """Stand for any kernel of this file's folder."""

    try:
        return Path(FunctionCache(probe).cache_path)
    except RuntimeError:  # Numba finds no folder that can be written
        return None
