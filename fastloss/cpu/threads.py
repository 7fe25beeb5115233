"""Run the driver on Numba's threads where that is safe, and on the caller's own elsewhere.

Numba's `workqueue` layer aborts the process when two threads use it at once, and GNU OpenMP
ends a forked child whose parent has used it. Both forms of the driver give the same bits,
so falling back to the serial one costs time and nothing else.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import parallel

from fastloss.cpu.compile import compile_driver
from fastloss.cpu.driver import make_drive


def _openmp() -> Any:
    """Return the OpenMP library that Numba's layer calls; None if there is none to be asked."""
    try:
        from numba.np.ufunc import omppool  # type: ignore[attr-defined]
    except ImportError:
        return None
    # One that the whole process sees, as PyTorch's, comes before the layer's own.
    names = () if sys.platform == "win32" else (None, omppool.__file__)
    libraries = (ctypes.CDLL(name) for name in names)
    return next((found for found in libraries if hasattr(found, "omp_get_max_threads")), None)


def start_threads() -> int:
    """Start Numba's threads, unless they run; return how many the caller may use.

    OpenMP keeps its number of threads: Numba sets it as it starts, and PyTorch's is the same.
    """
    openmp = _openmp()
    with global_compiler_lock:  # no child is forked meanwhile
        before = openmp.omp_get_max_threads() if openmp else 0
        count = int(numba.get_num_threads())
        if openmp:
            openmp.omp_set_num_threads(before)
        return count


class _Process:
    """What this process may do with threads."""

    def __init__(self, forked: bool, interrupted: bool = False) -> None:
        self.forked = forked
        #: Whether the fork came while another thread was inside a parallel driver.
        self.interrupted = interrupted
        self.workqueue = threading.Lock()
        #: The threads that are inside a parallel driver.
        self.inside: set[int] = set()
        self._layer: str | None = None

    @property
    def layer(self) -> str:
        """Numba's threading layer, chosen by Numba at the latest now.

        Only asked where a kernel is about to use it. A forked child goes without where it
        would have to start a layer, has inherited OpenMP's, or one in the midst of work.
        """
        if self._layer is None:
            if self.forked:
                try:
                    inherited = numba.threading_layer()
                except ValueError:
                    inherited = "none"
                usable = inherited in ("tbb", "workqueue") and not self.interrupted
                self._layer = inherited if usable else "none"
            else:
                start_threads()
                self._layer = numba.threading_layer()
        return self._layer


_process = _Process(forked=False)


def _after_fork() -> None:
    global _process
    _process = _Process(forked=True, interrupted=bool(_process.inside) or _process.interrupted)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
    # A child must not inherit the lock of a compilation that goes on in another thread of
    # its parent: nobody would ever release it.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


@functools.cache
def _driver(parallel: bool) -> Callable[..., int]:
    return compile_driver(make_drive(), parallel)


def _count_threads() -> int:
    """Return how many threads the caller may use, once Numba has started them.

    `numba.get_num_threads` takes a lock that is one for the parent and its children: a child that
    is forked while another thread has it never gives it back.
    """
    count: int = getattr(parallel, "_get_num_threads", numba.get_num_threads)()
    return count


def launcher(chunks: int) -> Callable[[int, int, float, float], int]:
    """Return what calls the driver, where so many parts can run side by side."""
    return _launch_where_safe if chunks > 1 else _driver(False)


def _launch_where_safe(plan: int, arrays: int, divisor: float, upstream: float) -> int:
    layer = _process.layer
    if layer in ("tbb", "omp"):
        if _count_threads() > 1:
            return _launch_parallel(plan, arrays, divisor, upstream)
    elif layer == "workqueue" and _process.workqueue.acquire(blocking=False):
        lock = _process.workqueue
        try:
            return _launch_parallel(plan, arrays, divisor, upstream)
        finally:
            lock.release()
    return _driver(False)(plan, arrays, divisor, upstream)


def _launch_parallel(*args: Any) -> int:
    # A child that is forked meanwhile falls back to the serial form: have it ready.
    _driver(False)
    thread = threading.get_ident()
    inside = _process.inside
    inside.add(thread)
    try:
        return _driver(True)(*args)
    finally:
        inside.discard(thread)
