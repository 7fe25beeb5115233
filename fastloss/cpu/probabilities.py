"""Categorical cross-entropy: predictions are probabilities over the classes of an axis.

Example by example; the line of its classes is gathered where the class axis is not the last
in memory. A class index without smoothing looks at one probability and writes one gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import entry_of, read_chunk, target_of
from fastloss.cpu.ir import allocate, release, running_sum
from fastloss.cpu.memory import STORAGE, offset_of, poke_int64, transfers_of_a_kernel
from fastloss.dtypes import real_dtype
from fastloss.labels import label_of
from fastloss.losses.probabilities import surprise, surprise_curvature, surprise_slope
from fastloss.losses.softmax import class_target
from fastloss.variant import ClassVariant

#: Probabilities that make one chunk worth a thread's while.
CHUNK = 32768

#: Whether neighbours in a kernel's loops are examples; else they are classes.
ACROSS_EXAMPLES = False


def examples_per_chunk(classes: int) -> int:
    """Return how many examples one chunk holds; independent of the number of threads."""
    return max(1, CHUNK // classes)


@functools.cache
def compute_kernel(variant: ClassVariant) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""
    return Kernel(functools.partial(_make, variant), label_of(variant))


def _make(variant: ClassVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, peek_x, _ = STORAGE[variant.predictions]
    t_size, load_t, *_ = STORAGE[variant.targets]
    real = real_dtype(variant.predictions).type
    _, load_real, store_real, *_ = STORAGE[real.__name__]
    transfers = transfers_of_a_kernel()
    fetch, place, deliver, _ = transfers(x_size)
    fetch_t = transfers(t_size).fetch
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    # Without mass beside it, the loss of a class index needs its own probability only.
    WHOLE_ROW = MASS or GRAD or HESS

    @register_jitable
    def write_line(line, classes, step):
        """Write the layout record of a line of classes."""
        poke_int64(line, 0, 1)
        poke_int64(line, 1, classes)
        poke_int64(line, 2, step)

    @register_jitable(forceinline=True)
    def mass_on(t, class_weight, keep, spread, c):
        """Probability mass on class c of the row whose soft targets are at `t`."""
        y = real(load_t(t, c)) if SOFT else real(0)
        weight = load_real(class_weight, c) if CLASS_WEIGHT else real(1)
        return class_target(y, weight, keep, spread)

    @register_jitable
    def row_loss(x, t, classes, class_weight, keep, spread):
        """Loss of the mass beside the class index."""
        total = real(0)
        for c in range(classes):
            mass = mass_on(t, class_weight, keep, spread, c)
            total = running_sum(total, mass * surprise(real(load_x(x, c))))
        return np.float64(total)

    @register_jitable
    def write_derivatives(x, t, classes, class_weight, keep, spread, y, onehot, factor, g, h):
        """Write the gradient, and the hessian, of a row."""
        f = real(factor)
        at_y = peek_x(x, max(y, 0))
        for c in range(classes):
            p = load_x(x, c)
            mass = mass_on(t, class_weight, keep, spread, c) if MASS else real(0)
            if GRAD:
                store_x(g, c, f * mass * surprise_slope(p) if MASS else real(0))
            if HESS:
                store_x(h, c, f * mass * surprise_curvature(p) if MASS else real(0))
        if y >= 0:
            mass = real(onehot)
            if MASS:
                mass += mass_on(t, class_weight, keep, spread, y)
            if GRAD:
                store_x(g, y, f * mass * surprise_slope(at_y))
            if HESS:
                store_x(h, y, f * mass * surprise_curvature(at_y))

    @register_jitable
    def write_zeros(classes, g, h):
        for c in range(classes):
            if GRAD:
                store_x(g, c, real(0))
            if HESS:
                store_x(h, c, real(0))

    def probabilities(record, chunk, slot):
        """Compute a chunk of examples; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        keep, spread = real(call.keep), real(call.spread)
        classes = call.classes
        # The layout record of the classes of one example for each array, and a buffer for each.
        record_size, line = 8 * 3, 8 * classes
        x_line = allocate(4 * (record_size + line))
        t_line, g_line, h_line = (
            x_line + record_size, x_line + 2 * record_size, x_line + 3 * record_size,
        )  # fmt: skip
        write_line(x_line, classes, call.x_step)
        write_line(t_line, classes, call.t_step)
        write_line(g_line, classes, call.g_step)
        write_line(h_line, classes, call.h_step)
        x_buffer = x_line + 4 * record_size
        t_buffer, g_buffer, h_buffer = x_buffer + line, x_buffer + 2 * line, x_buffer + 3 * line
        total = 0.0
        for i in range(first, last):
            y, onehot, weight = target_of(call, i, SOFT)
            g = call.g + offset_of(call.g_layout, i, classes * x_size) if GRAD else call.g
            h = call.h + offset_of(call.h_layout, i, classes * x_size) if HESS else call.h
            g_row = place(g, g_line, 0, classes, g_buffer) if GRAD else g
            h_row = place(h, h_line, 0, classes, h_buffer) if HESS else h
            value = 0.0
            if weight == 0.0:
                write_zeros(classes, g_row, h_row)
            else:
                x = call.x + offset_of(call.x_layout, i, classes * x_size)
                x_row = fetch(x, x_line, 0, classes, x_buffer) if WHOLE_ROW else x
                t = call.t + offset_of(call.t_layout, i, classes * t_size) if SOFT else call.t
                t_row = fetch_t(t, t_line, 0, classes, t_buffer) if SOFT else t
                if LOSS:
                    if MASS:
                        value = row_loss(
                            x_row, t_row, classes, call.class_weight_real, keep, spread
                        )
                    if onehot != 0.0:
                        value += onehot * np.float64(surprise(real(peek_x(x + y * call.x_step, 0))))
                    value *= weight
                if GRAD or HESS:
                    write_derivatives(
                        x_row, t_row, classes, call.class_weight_real, keep, spread,
                        y, onehot, outer * weight * entry_of(call.u, i), g_row, h_row,
                    )  # fmt: skip
            total += value
            if PER_EXAMPLE:
                store_real(call.loss, i, real(value))
            if GRAD:
                deliver(g_row, g, g_line, 0, classes, g_buffer)
            if HESS:
                deliver(h_row, h, h_line, 0, classes, h_buffer)
        release(x_line)
        return total

    return probabilities
