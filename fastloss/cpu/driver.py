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

from fastloss.cpu.ir import allocate, call_kernel, release
from fastloss.cpu.memory import (
    peek_float64,
    peek_int64,
    poke_float64,
    store_float32,
    store_float64,
)

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
        stands for the sum of the weights. `loss` is the address of a cell that holds the
        address where the total goes (0: nowhere).
        """
        # One block of scratch memory: a slot and a sum for every chunk.
        most = prepare_chunks if prepare_chunks > chunks else chunks
        slots = allocate(8 * (2 * most + 1))
        sums = slots + 8 * most
        if prepare != 0:
            if prepare_chunks == 1:  # to wake the threads would take longer
                poke_float64(sums, 0, call_kernel(prepare, record, 0, slots))
            else:
                for c in prange(prepare_chunks):
                    poke_float64(sums, c, call_kernel(prepare, record, c, slots + 8 * c))
            total = 0.0
            for c in range(prepare_chunks):
                refused = peek_int64(slots, c)
                if refused != ALL_GOOD:
                    release(slots)
                    return refused
                total += peek_float64(sums, c)
            divisor = total if divisor != divisor else divisor

        poke_float64(slots, 0, upstream / divisor if divisor != 0.0 else 0.0)
        for c in prange(chunks):
            poke_float64(sums, c, call_kernel(compute, record, c, slots))
        loss = peek_int64(loss, 0)
        if loss != 0:
            total = 0.0
            for c in range(chunks):
                total += peek_float64(sums, c)
            if loss_size == 8:
                store_float64(loss, 0, total / divisor)
            else:
                store_float32(loss, 0, np.float32(total / divisor))
        release(slots)
        return ALL_GOOD

    return drive
