"""The kernel of a loss over classes that takes one example after the other.

The line of an example's classes is gathered where they do not lie one after the other.
What is done with an example are `Steps`: those of `separable` or of `row_losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastloss.cpu.examples import entry_of, make_write_zeros, read_chunk, target_of
from fastloss.cpu.ir import allocate, release
from fastloss.cpu.memory import STORAGE
from fastloss.cpu.transfers import BITS, apart, deliver, fetch, offset_of, place
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline
from fastloss.variant import ClassVariant, RowVariant

#: Whether neighbours in a kernel's loops are examples; else they are classes.
ACROSS_EXAMPLES = False


class Steps(NamedTuple):
    """What is done with one example.

    Addresses x, t, g, h are those of lines of its classes, one element after the other.
    """

    #: (call, x, t, y) -> what `value` and `write` need to know.
    look: Callable[..., Any]
    #: (call, x, t, y, onehot, state) -> the loss as a float64.
    value: Callable[..., Any]
    #: (call, x, t, y, onehot, state, factor, g, h): write the derivatives.
    write: Callable[..., Any]


class Transfers(NamedTuple):
    """How the classes of an example come from and go to where they lie, if that is not in a row."""

    #: (address, layout, classes, buffer, bits) -> where they lie in a row.
    fetch: Callable[..., Any]
    #: (address, layout, classes, buffer) -> where derivatives are written to.
    place: Callable[..., Any]
    #: (call, g_row, g, g_buffer, h_row, h, h_buffer): bring them from there to where they belong.
    deliver: Callable[..., Any]


def make_transfers(variant: ClassVariant | RowVariant) -> Transfers:
    """Make what brings the lines of one example."""
    x_bits = BITS[STORAGE[variant.predictions].itemsize]
    GATHERED = variant.gathered
    _, GRAD, HESS, _ = variant.outputs

    @inline
    def fetch_row(address, layout, classes, buffer, bits):
        return fetch(address, layout, 0, classes, buffer, bits) if GATHERED else address

    @inline
    def place_row(address, layout, classes, buffer):
        return place(address, layout, 0, classes, buffer, x_bits) if GATHERED else address

    @inline
    def deliver_rows(call, g_row, g, g_buffer, h_row, h, h_buffer):
        if GATHERED:
            if GRAD:
                deliver(g_row, g, call.g_row, 0, call.classes, g_buffer, x_bits)
            if HESS:
                deliver(h_row, h, call.h_row, 0, call.classes, h_buffer, x_bits)

    return Transfers(fetch_row, place_row, deliver_rows)


def make_rows(steps: Steps, variant: ClassVariant | RowVariant) -> Callable[..., Any]:
    """Return the kernel's function."""
    look, value_of, write = steps
    x_size = STORAGE[variant.predictions].itemsize
    t_size = STORAGE[variant.targets].itemsize
    real = real_dtype(variant.predictions).type
    _, _, store_real, *_ = STORAGE[real.__name__]
    x_bits, t_bits = BITS[x_size], BITS[t_size]
    SOFT = variant.soft
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    fetch_row, place_row, deliver_rows = make_transfers(variant)
    write_zeros = make_write_zeros(variant)

    def rows(record, chunk, slot):
        """Compute a chunk of examples; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        classes = call.classes
        # A buffer for the classes of one example of each array.
        line = 8 * classes
        x_buffer = allocate(4 * line)
        t_buffer, g_buffer, h_buffer = x_buffer + line, x_buffer + 2 * line, x_buffer + 3 * line
        total = 0.0
        for i in range(first, last):
            y, onehot, weight = target_of(call, i, SOFT)
            g = call.g + offset_of(call.g_layout, i, classes * x_size) if GRAD else call.g
            h = call.h + offset_of(call.h_layout, i, classes * x_size) if HESS else call.h
            g_row = place_row(g, call.g_row, classes, g_buffer) if GRAD else g
            h_row = place_row(h, call.h_row, classes, h_buffer) if HESS else h
            value = 0.0
            if weight == 0.0:
                write_zeros(classes, g_row, h_row)
            else:
                x = call.x + offset_of(call.x_layout, i, classes * x_size)
                x_row = fetch_row(x, call.x_row, classes, x_buffer, x_bits)
                if (GRAD and g_row == x_row) or (HESS and h_row == x_row):
                    x_row = apart(x_row, classes, x_buffer, x_bits)
                t = call.t + offset_of(call.t_layout, i, classes * t_size) if SOFT else call.t
                t_row = fetch_row(t, call.t_row, classes, t_buffer, t_bits) if SOFT else t
                state = look(call, x_row, t_row, y)
                if LOSS:
                    value = weight * value_of(call, x_row, t_row, y, onehot, state)
                if GRAD or HESS:
                    factor = outer * weight * entry_of(call.u, i)
                    write(call, x_row, t_row, y, onehot, state, factor, g_row, h_row)
            total += value
            if PER_EXAMPLE:
                store_real(call.loss, i, real(value))
            deliver_rows(call, g_row, g, g_buffer, h_row, h, h_buffer)
        release(x_buffer)
        return total

    return rows
