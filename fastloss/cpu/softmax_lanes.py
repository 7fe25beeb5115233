"""Cross-entropy where neighbours are examples: vectors run across the examples.

For few classes, where a row is too short for a vector, and for a class axis that is not the
last in memory. A tile of examples is read into scratch memory class by class; everything
then happens there, on lines of one class each, with one exponential per logit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel, kernel, vector_math
from fastloss.cpu.examples import class_kernel, target_of, upstream_of
from fastloss.cpu.memory import STORAGE, deliver, fetch, place
from fastloss.cpu.variant import ClassVariant
from fastloss.cpu.vector import running_max
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_nonpositive, log
from fastloss.losses.softmax import (
    SOFTCAPPED,
    class_dot,
    class_target,
    example_loss,
    example_slope,
)

#: Logits of one tile: 64 KB of float32 with their exponentials.
TILE = 8192
MIN_LANES, MAX_LANES = 16, 256

#: Logits that make one chunk worth a thread's while.
CHUNK = 32768

#: Classes whose exponentials are summed before they join the float64 sum.
SUM_BLOCK = 64

#: Whether neighbours in a kernel's loops are examples; else they are classes.
ACROSS_EXAMPLES = True


def lanes_per_tile(classes: int) -> int:
    """Return how many examples one tile holds: a power of two, smaller for more classes."""
    wanted = max(MIN_LANES, min(MAX_LANES, TILE // classes))
    return int(1 << (wanted.bit_length() - 1))


def examples_per_chunk(classes: int) -> int:
    """Return how many examples one chunk holds: whole tiles, whatever the number of threads."""
    lanes = lanes_per_tile(classes)
    return lanes * max(1, CHUNK // (classes * lanes))


@functools.cache
def class_kernel_for(variant: ClassVariant) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""
    vector_math()
    return kernel(functools.partial(_make, variant))


def _make(variant: ClassVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, _ = STORAGE[variant.predictions]
    t_size, load_t, _, _ = STORAGE[variant.targets]
    real = real_dtype(variant.predictions).type
    _, load_real, store_real, _ = STORAGE[real.__name__]
    link, link_slope, link_curvature = variant.link
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    # Only the softcap's slope depends on the logit itself, which the scratch does not keep.
    RAW = variant.link is SOFTCAPPED

    @register_jitable
    def read_logits(call, start, m, z, largest, buffer):
        """Read a tile of linked logits, and find the maximum of each example."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        largest[:] = -np.inf
        for c in range(call.classes):
            line = fetch(call.x + c * call.x_step, call.x_layout, start, m, x_size, buffer)
            row = z[c]
            for lane in range(m):
                value = link(load_x(line, lane), scale, cap)
                row[lane] = value
                largest[lane] = running_max(largest[lane], value)
        for lane in range(m):
            # A row of masks only has no maximum to measure from.
            largest[lane] = real(0) if largest[lane] == real(-np.inf) else largest[lane]

    @register_jitable
    def exponentiate(z, e, m, largest, part, s):
        """Sum the exponentials of each example; keep them where a derivative is wanted."""
        s[:] = 0.0
        for first in range(0, z.shape[0], SUM_BLOCK):
            part[:] = 0.0
            for c in range(first, min(z.shape[0], first + SUM_BLOCK)):
                row, kept = z[c], e[c if GRAD or HESS else 0]
                for lane in range(m):
                    value = exp_nonpositive(row[lane] - largest[lane])
                    part[lane] += value
                    if GRAD or HESS:
                        kept[lane] = value
            for lane in range(m):
                s[lane] += part[lane]

    @register_jitable
    def read_class(call, c, start, m, buffer):
        """(where the soft targets of class c lie, the weight of the class)."""
        weight = load_real(call.class_weight_real, c) if CLASS_WEIGHT else real(1)
        t = call.t + c * call.t_step
        return fetch(t, call.t_layout, start, m, t_size, buffer) if SOFT else t, weight

    @register_jitable(forceinline=True)
    def mass_on(t_line, lane, weight, keep, spread):
        """Probability mass on the class of this line."""
        y = real(load_t(t_line, lane)) if SOFT else real(0)
        return class_target(y, weight, keep, spread)

    @register_jitable
    def weigh(call, start, m, z, largest, mass, dot, buffer):
        """Sum the probability mass of each example, and its product with the logits."""
        keep, spread = real(call.keep), real(call.spread)
        for c in range(call.classes):
            t_line, weight = read_class(call, c, start, m, buffer)
            row = z[c]
            for lane in range(m):
                p = mass_on(t_line, lane, weight, keep, spread)
                mass[lane] += p
                dot[lane] += class_dot(p, row[lane] - largest[lane])

    @register_jitable
    def write_derivatives(
        call, start, m, e, y, live, onehot, inverse, slope, factor, x_buffer, t_buffer, g_buffer, h_buffer
    ):
        """Write the gradient, and the hessian, of a tile, class by class."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        keep, spread = real(call.keep), real(call.spread)
        bend = real(2.0 * call.z_loss)
        zero, one = real(0), real(1)
        for c in range(call.classes):
            x, g, h = call.x + c * call.x_step, call.g + c * call.g_step, call.h + c * call.h_step
            t_line, weight = read_class(call, c, start, m, t_buffer)
            x_line = fetch(x, call.x_layout, start, m, x_size, x_buffer) if RAW else x
            g_line = place(g, call.g_layout, start, m, x_size, g_buffer) if GRAD else g
            h_line = place(h, call.h_layout, start, m, x_size, h_buffer) if HESS else h
            kept = e[c]
            for lane in range(m):
                p = kept[lane] * inverse[lane]
                by_z = slope[lane] * p
                if MASS:
                    by_z -= mass_on(t_line, lane, weight, keep, spread)
                if not SOFT:
                    by_z -= onehot[lane] if y[lane] == c else zero
                raw = load_x(x_line, lane) if RAW else zero
                chain = link_slope(raw, scale, cap)
                if GRAD:
                    d = by_z * (factor[lane] * chain)
                    store_x(g_line, lane, d if live[lane] != zero else zero)
                if HESS:
                    second = slope[lane] * p * (one - p) + bend * p * p
                    bent = second * chain * chain + by_z * link_curvature(raw, scale, cap)
                    d = factor[lane] * bent
                    store_x(h_line, lane, d if live[lane] != zero else zero)
            if GRAD:
                deliver(g_line, g, call.g_layout, start, m, x_size, g_buffer)
            if HESS:
                deliver(h_line, h, call.h_layout, start, m, x_size, h_buffer)

    @register_jitable
    def chunk(call, first, last):
        """Compute the examples first .. last, tile by tile; return the sum of their losses."""
        lanes = call.lanes
        z = np.empty((call.classes, lanes), real)
        e = np.empty((call.classes if GRAD or HESS else 1, lanes), real)
        reals = np.empty((7, lanes), real)
        largest, part, inverse, slope = reals[0], reals[1], reals[2], reals[3]
        factor, onehot, live = reals[4], reals[5], reals[6]
        doubles = np.zeros((6, lanes), np.float64)
        s, mass, dot, z_y = doubles[0], doubles[1], doubles[2], doubles[3]
        hot, weight = doubles[4], doubles[5]
        y = np.empty(lanes, np.int32)
        buffers = np.empty((4, lanes * 8), np.uint8)
        x_buffer, t_buffer = buffers[0].ctypes.data, buffers[1].ctypes.data
        g_buffer, h_buffer = buffers[2].ctypes.data, buffers[3].ctypes.data
        total = 0.0
        for start in range(first, last, lanes):
            m = min(lanes, last - start)
            read_logits(call, start, m, z, largest, x_buffer)
            for lane in range(m):
                y[lane], hot[lane], weight[lane] = target_of(call, start + lane)
                z_y[lane] = z[max(y[lane], 0), lane]
            exponentiate(z, e, m, largest, part, s)
            if MASS:
                mass[:] = 0.0
                dot[:] = 0.0
                weigh(call, start, m, z, largest, mass, dot, t_buffer)
            for lane in range(m):
                log_s, top = log(s[lane]), np.float64(largest[lane])
                if LOSS:
                    value = example_loss(
                        log_s, top, z_y[lane], hot[lane], mass[lane], dot[lane], call.z_loss
                    )
                    z_y[lane] = value * weight[lane] if weight[lane] != 0.0 else 0.0
                if GRAD or HESS:
                    slope[lane] = example_slope(
                        log_s, top, hot[lane], mass[lane], call.z_loss
                    )
                    inverse[lane] = 1.0 / s[lane]
                    onehot[lane] = hot[lane]
                    live[lane] = 0.0 if weight[lane] == 0.0 else 1.0
            if LOSS:
                for lane in range(m):
                    total += z_y[lane]
                    if PER_EXAMPLE:
                        store_real(call.loss, start + lane, real(z_y[lane]))
            if GRAD or HESS:
                for lane in range(m):
                    factor[lane] = weight[lane] * upstream_of(call, start + lane)
                write_derivatives(
                    call, start, m, e, y, live, onehot, inverse, slope, factor,
                    x_buffer, t_buffer, g_buffer, h_buffer,
                )  # fmt: skip
        return total

    return class_kernel(chunk, variant)
