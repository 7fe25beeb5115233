"""The driver of all kernels: prepare the chunks, compute them, sum their losses.

Written once and compiled twice: with `prange` on Numba's threads, and serially for small
inputs and wherever threads are not safe. Chunks do not depend on the number of threads and
their sums are added in order, so both forms give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from fastloss.cpu.ir import call_kernel
from fastloss.cpu.memory import address_of, keep_alive, store_float32, store_float64

#: In the place of an element's number: none is to be refused.
ALL_GOOD = -1


def make_drive() -> Callable[..., Any]:
    """Return a new copy of the driver's function, to be compiled in one form."""

    def drive(
        prepare, prepare_chunks, compute, chunks, record, divisor, upstream, loss, loss_size
    ):  # fmt: skip
        """Return ALL_GOOD, or the number of the first element or example that is refused.

        `prepare` and `compute` are addresses of kernels (0: nothing to prepare), `record` is
        that of their arguments. `prepare` returns the sum of a chunk's weights, and leaves
        the number of what it refuses in its slot; `compute` finds the factor of the
        derivatives in its slot, and returns the sum of a chunk's losses. A `divisor` of nan
        stands for the sum of the weights. `loss` is where the total goes (0: nowhere).
        """
        if prepare != 0:
            refused = np.empty(prepare_chunks, np.int64)
            weights = np.empty(prepare_chunks, np.float64)
            slots = address_of(refused)
            for c in prange(prepare_chunks):
                weights[c] = call_kernel(prepare, record, c, slots + 8 * c)
            total = 0.0
            for c in range(prepare_chunks):
                if refused[c] != ALL_GOOD:
                    return refused[c]
                total += weights[c]
            keep_alive(refused)
            divisor = total if divisor != divisor else divisor

        outer = np.empty(1, np.float64)
        outer[0] = upstream / divisor if divisor != 0.0 else 0.0
        slot = address_of(outer)
        sums = np.empty(chunks, np.float64)
        for c in prange(chunks):
            sums[c] = call_kernel(compute, record, c, slot)
        keep_alive(outer)
        if loss != 0:
            total = 0.0
            for c in range(chunks):
                total += sums[c]
            if loss_size == 8:
                store_float64(loss, 0, total / divisor)
            else:
                store_float32(loss, 0, np.float32(total / divisor))
        return ALL_GOOD

    return drive
