"""Run the driver on Numba's threads where that is safe, and on the caller's own elsewhere.

Numba's `workqueue` layer aborts the process when two threads use it at once, and GNU OpenMP
ends a forked child whose parent has used it. Both forms of the driver give the same bits,
so falling back to the serial one costs time and nothing else.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

import numba

from fastloss.cpu.compile import compile_driver
from fastloss.cpu.driver import make_drive


class _Process:
    """What this process may do with threads."""

    def __init__(self, forked: bool) -> None:
        self.forked = forked
        self.workqueue = threading.Lock()
        self._layer: str | None = None

    @property
    def layer(self) -> str:
        """Numba's threading layer, chosen by Numba at the latest now.

        Only asked where a kernel is about to use it. A forked child that would have to
        start a layer, or has inherited OpenMP's, goes without.
        """
        if self._layer is None:
            if self.forked:
                try:
                    inherited = numba.threading_layer()
                except ValueError:
                    inherited = "none"
                self._layer = inherited if inherited in ("tbb", "workqueue") else "none"
            else:
                numba.get_num_threads()
                self._layer = numba.threading_layer()
        return self._layer


_process = _Process(forked=False)


def _after_fork() -> None:
    global _process
    _process = _Process(forked=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def _driver(parallel: bool) -> Any:
    return compile_driver(make_drive(), parallel)


def launch(chunks: int, *args: Any) -> int:
    """Call the driver with `args`; `chunks` is the number of parts that can run side by side."""
    if chunks > 1:
        layer = _process.layer
        if layer in ("tbb", "omp"):
            if numba.get_num_threads() > 1:
                return int(_driver(True)(*args))
        elif layer == "workqueue" and _process.workqueue.acquire(blocking=False):
            try:
                return int(_driver(True)(*args))
            finally:
                _process.workqueue.release()
    return int(_driver(False)(*args))
