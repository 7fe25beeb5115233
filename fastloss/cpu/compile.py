"""How kernels are compiled, cached and told apart.

A kernel computes one chunk of its input: it is a native function (record, chunk, slot), and
the driver calls it for all chunks. Numba's cache looks at the file that holds a kernel and
at nothing that this file uses; the digest of all sources in the kernel's name makes it sound.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import cfunc, njit
from numba.core import types

PACKAGE = Path(__file__).resolve().parent.parent

#: `contract` allows fused multiply-add. Anything more would drop nan or inf, or reorder.
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}

_SIGNATURE = types.float64(types.int64, types.int64, types.int64)

# (prepare, prepare_chunks, compute, chunks, record, divisor, upstream, loss, loss_size)
_DRIVER_SIGNATURE = types.int64(
    *[types.int64] * 5, types.float64, types.float64, types.int64, types.int64
)

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

    @functools.cached_property
    def compiled(self) -> Any:
        """The compiled function, an object of Numba's."""
        vector_math()
        function = named(self.make(), self.label + (self.user_digest or ""))
        decorate = functools.partial(cfunc, _SIGNATURE, **OPTIONS)
        return cached(decorate, function) if self.user_digest is not None else decorate()(function)

    @functools.cached_property
    def address(self) -> int:
        """Where the compiled function lies."""
        return int(self.compiled.address)


def label_of(*parts: Any) -> str:
    """Return a label for what a kernel is compiled for; the same in every process."""
    return hashlib.sha256(_spell(parts).encode()).hexdigest()[:12]


def _spell(part: Any) -> str:
    if isinstance(part, tuple):
        return "(" + ",".join(_spell(item) for item in part) + ")"
    return part.__qualname__ if callable(part) else str(part)


def named(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    """Put the sources' digest into the name, which is part of the cache's file name and key.

    The functions inside get the label as well: the symbol of one is made of its name, its
    argument types and a number counted per process, and of two cached kernels that define
    the same symbol, the one loaded later runs the other's code.
    """
    _label_inner(function, label)
    function.__qualname__ = f"{function.__name__}_{source_digest()}{label}"
    return function


def _label_inner(function: Callable[..., Any], label: str) -> None:
    for cell in getattr(function, "__closure__", None) or ():
        inner = cell.cell_contents
        if not isinstance(inner, FunctionType) or not inner.__module__.startswith("fastloss."):
            continue  # a formula of the user's is inlined and keeps its name
        if "<locals>" in inner.__qualname__ and not inner.__qualname__.endswith(label):
            inner.__qualname__ += f"_{label}"
            _label_inner(inner, label)


def cached(decorate: Callable[..., Any], function: Callable[..., Any]) -> Any:
    """Compile with Numba's cache on disk, or without it where there is nowhere to write."""
    try:
        return decorate(cache=True)(function)
    except RuntimeError as error:
        if "no locator" not in str(error):
            raise
        return decorate()(function)


def compile_driver(function: Callable[..., Any], parallel: bool) -> Any:
    """Compile the driver at once, serial or on Numba's threads."""
    form = named(function, "_parallel" if parallel else "_serial")
    return cached(
        functools.partial(
            njit, _DRIVER_SIGNATURE, parallel=parallel, nogil=True, no_cfunc_wrapper=True, **OPTIONS
        ),
        form,
    )


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
