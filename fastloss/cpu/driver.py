"""The driver of all kernels: prepare the chunks, compute them, sum their losses.

Written once and compiled twice: with `prange` on Numba's threads, and serially for small
inputs and wherever threads are not safe. Chunks do not depend on the number of threads and
their sums are added in order, so both forms give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from fastloss.cpu.ir import allocate, call_kernel, make_read_record, release
from fastloss.cpu.memory import (
    peek_float64,
    peek_int64,
    poke_float64,
    poke_int64,
    store_float32,
    store_float64,
)
from fastloss.elementary import jitable

#: In the place of an element's number: none is to be refused, or `out` may share memory.
ALL_GOOD = -1
MAYBE_SHARED = -2

#: From p_low to in_place in `Launch`; the second lets the gradient lie anywhere.
Guards = tuple[int, int, int, int, int]
NO_GUARDS: Guards = 0, 0, 0, 0, 0


class Launch(NamedTuple):
    """What the driver knows of a plan; the numbers of the kernels' own record come after it.

    `prepare` and `compute` are addresses of kernels (0: nothing to prepare); `checks`: the second
    one looks for what is to be refused. They take so many `arrays`, of which the first are loss,
    gradient, hessian, predictions and targets. Where the gradient is more than `_low` and less
    than `_high` bytes from the predictions or targets, it may share their memory; `in_place`: it
    may lie where the predictions lie. `items`, `none` and `data` say how CPython keeps arrays:
    where the items of a tuple begin, which object is None, and where in an array object the
    address of its first element stands. `scratch`: so many bytes, whose address follows the
    record's own entries, are for what `prepare` leaves to `compute`.
    """

    prepare: int
    prepare_chunks: int
    compute: int
    chunks: int
    checks: int
    loss_size: int  # bytes of a reduced loss; 0 where there is none to write
    p_low: int
    p_high: int
    t_low: int
    t_high: int
    in_place: int
    arrays: int
    items: int
    none: int
    data: int
    scratch: int


#: Where these are among the arrays.
_LOSS, _GRAD, _PREDICTIONS, _TARGETS = 0, 1, 3, 4

_LAUNCH_SIZE = 8 * len(Launch._fields)

read_launch = make_read_record("read_launch", __name__, Launch)


@jitable
def first_refused(slots, count):
    """The first number in the slots that is one, or ALL_GOOD."""
    for c in range(count):
        refused = peek_int64(slots, c)
        if refused != ALL_GOOD:
            return refused
    return ALL_GOOD


def make_drive() -> Callable[..., Any]:
    """Return a new copy of the driver's function, to be compiled in one form."""

    def drive(plan, arrays, divisor, upstream):
        """Return ALL_GOOD, or why nothing was written.

        That is the number of the first element or example that is refused, or MAYBE_SHARED.
        `plan` is the address of a `Launch`, `arrays` that of a tuple of arrays and None.
        `prepare` returns the sum of a chunk's weights, and leaves the number of what it
        refuses in its slot; `compute` finds the factor of the derivatives in the first slot,
        and returns the sum of a chunk's losses. One that `checks` leaves the number of what it
        refuses in the slot after the chunk's own: by then arrays are written that nobody else has
        seen. A `divisor` of nan stands for the sum of the weights.
        """
        call = read_launch(plan)
        prepare, prepare_chunks, compute, chunks = (
            call.prepare, call.prepare_chunks, call.compute, call.chunks
        )  # fmt: skip
        # One block of memory: a slot and a sum for every chunk, the kernels' record, their scratch.
        most = prepare_chunks if prepare_chunks > chunks else chunks
        slots = allocate(8 * (2 * most + 4 + call.arrays) + call.scratch)
        sums = slots + 8 * (most + 1)
        record = sums + 8 * (most + 1)
        for k in range(call.arrays):
            array = peek_int64(arrays + call.items, k)
            there = array != call.none
            poke_int64(record, k, peek_int64(array + call.data, 0) if there else 0)
        poke_int64(record, call.arrays, plan + _LAUNCH_SIZE)
        poke_int64(record, call.arrays + 1, record + 8 * (call.arrays + 2))

        from_p = peek_int64(record, _GRAD) - peek_int64(record, _PREDICTIONS)
        from_t = peek_int64(record, _GRAD) - peek_int64(record, _TARGETS)
        in_place = from_p == 0 and call.in_place != 0
        if (call.p_low < from_p < call.p_high and not in_place) or (
            call.t_low < from_t < call.t_high
        ):
            release(slots)
            return MAYBE_SHARED

        if prepare != 0:
            if prepare_chunks == 1:  # to wake the threads would take longer
                poke_float64(sums, 0, call_kernel(prepare, record, 0, slots))
            else:
                for c in prange(prepare_chunks):
                    poke_float64(sums, c, call_kernel(prepare, record, c, slots + 8 * c))
            refused = first_refused(slots, prepare_chunks)
            if refused != ALL_GOOD:
                release(slots)
                return refused
            total = 0.0
            for c in range(prepare_chunks):
                total += peek_float64(sums, c)
            divisor = total if divisor != divisor else divisor

        poke_float64(slots, 0, upstream / divisor if divisor != 0.0 else 0.0)
        for c in prange(chunks):
            poke_float64(sums, c, call_kernel(compute, record, c, slots))
        if call.checks != 0:
            refused = first_refused(slots + 8, chunks)
            if refused != ALL_GOOD:
                release(slots)
                return refused
        if call.loss_size != 0:
            loss = peek_int64(record, _LOSS)
            total = 0.0
            for c in range(chunks):
                total += peek_float64(sums, c)
            if call.loss_size == 8:
                store_float64(loss, 0, total / divisor)
            else:
                store_float32(loss, 0, np.float32(total / divisor))
        release(slots)
        return ALL_GOOD

    return drive
