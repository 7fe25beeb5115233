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

from fastloss.cpu.compile import Kernel, label_of
from fastloss.cpu.examples import drop_ignored, read_chunk, read_indices, read_weights
from fastloss.cpu.memory import (
    STORAGE,
    address_of,
    deliver,
    fetch,
    keep_alive,
    load_float64,
    peek_float64,
    peek_int64,
    place,
    poke_float64,
)
from fastloss.cpu.variant import ClassVariant
from fastloss.cpu.vector import running_max, running_sum
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
def compute_kernel(variant: ClassVariant) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""
    return Kernel(functools.partial(_make, variant), label_of(variant))


def _make(variant: ClassVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, _, _ = STORAGE[variant.predictions]
    t_size, load_t, *_ = STORAGE[variant.targets]
    real = real_dtype(variant.predictions).type
    size, load_real, store_real, peek, poke = STORAGE[real.__name__]
    link, link_slope, link_curvature = variant.link
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    KEEP = GRAD or HESS
    # Only the softcap's slope depends on the logit itself, which the scratch does not keep.
    RAW = variant.link is SOFTCAPPED

    @register_jitable
    def read_logits(call, start, m, z, largest, buffer):
        """Read a tile of linked logits, and find the maximum of each example."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        for lane in range(m):
            poke(largest, lane, real(-np.inf))
        for c in range(call.classes):
            line = fetch(call.x + c * call.x_step, call.x_layout, start, m, x_size, buffer)
            row = z + c * call.lanes * size
            for lane in range(m):
                value = link(load_x(line, lane), scale, cap)
                poke(row, lane, value)
                poke(largest, lane, running_max(peek(largest, lane), value))

    @register_jitable
    def exponentiate(call, z, e, m, largest, s):
        """Sum the exponentials of each example; keep them where a derivative is wanted."""
        for lane in range(m):
            # A row of masks only has no maximum to measure from.
            top = peek(largest, lane)
            poke(largest, lane, real(0) if top == real(-np.inf) else top)
            poke_float64(s, lane, 0.0)
        for c in range(call.classes):
            row, kept = z + c * call.lanes * size, e + c * call.lanes * size
            for lane in range(m):
                value = exp_nonpositive(peek(row, lane) - peek(largest, lane))
                poke_float64(s, lane, peek_float64(s, lane) + np.float64(value))
                if KEEP:
                    poke(kept, lane, value)

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
        for lane in range(m):
            poke_float64(mass, lane, 0.0)
            poke_float64(dot, lane, 0.0)
        for c in range(call.classes):
            t_line, weight = read_class(call, c, start, m, buffer)
            row = z + c * call.lanes * size
            for lane in range(m):
                p = mass_on(t_line, lane, weight, keep, spread)
                shifted = peek(row, lane) - peek(largest, lane)
                product = class_dot(np.float64(p), np.float64(shifted))
                poke_float64(mass, lane, peek_float64(mass, lane) + np.float64(p))
                poke_float64(dot, lane, peek_float64(dot, lane) + product)

    @register_jitable
    def read_labels(call, m, y, z, hot, z_y):
        """Find the weight of each class index, and its logit."""
        for lane in range(m):
            poke_float64(hot, lane, 0.0 if SOFT else call.keep)
        if not SOFT:
            for lane in range(m):
                # An ignored index may lie anywhere; what is read in its stead has weight 0.
                index = peek_int64(y, lane)
                index = 0 if index == call.ignore_index else index
                poke_float64(z_y, lane, np.float64(peek(z, index * call.lanes + lane)))
                if call.class_weight != 0:
                    poke_float64(hot, lane, call.keep * load_float64(call.class_weight, index))

    @register_jitable
    def write_losses(call, start, m, largest, s, mass, dot, hot, weight, z_y, value):
        """Compute the losses of a tile; return their sum."""
        for lane in range(m):
            at_label = peek_float64(z_y, lane) if not SOFT else 0.0
            all_mass = peek_float64(mass, lane) if MASS else 0.0
            all_dot = peek_float64(dot, lane) if MASS else 0.0
            log_s, top = log(peek_float64(s, lane)), np.float64(peek(largest, lane))
            label = peek_float64(hot, lane)
            v = example_loss(log_s, top, at_label, label, all_mass, all_dot, call.z_loss)
            w = peek_float64(weight, lane)
            poke_float64(value, lane, v * w if w != 0.0 else 0.0)
        total = 0.0
        for lane in range(m):
            total = running_sum(total, peek_float64(value, lane))
        if PER_EXAMPLE:
            for lane in range(m):
                store_real(call.loss, start + lane, real(peek_float64(value, lane)))
        return total

    @register_jitable
    def write_coefficients(
        call, outer, m, largest, s, mass, hot, weight, upstream,
        onehot, inverse, slope, factor, live,
    ):  # fmt: skip
        """Compute what the derivatives of each example are made with."""
        for lane in range(m):
            label = peek_float64(hot, lane)
            all_mass = peek_float64(mass, lane) if MASS else 0.0
            total, w = peek_float64(s, lane), peek_float64(weight, lane)
            lse_slope = label + all_mass
            if call.z_loss != 0.0:
                top = np.float64(peek(largest, lane))
                lse_slope = example_slope(log(total), top, label, all_mass, call.z_loss)
            poke(slope, lane, real(lse_slope))
            poke(inverse, lane, real(1.0 / total))
            poke(onehot, lane, real(label))
            poke(factor, lane, real(outer * w * peek_float64(upstream, lane)))
            poke(live, lane, real(0) if w == 0.0 else real(1))

    @register_jitable
    def write_derivatives(call, start, m, e, y, onehot, inverse, slope, factor, live, buffers):
        """Write the gradient, and the hessian, of a tile, class by class."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        keep, spread = real(call.keep), real(call.spread)
        bend = real(2.0 * call.z_loss)
        zero, one = real(0), real(1)
        line_size = call.lanes * 8
        for c in range(call.classes):
            x, g, h = (
                call.x + c * call.x_step,
                call.g + c * call.g_step,
                call.h + c * call.h_step,
            )
            t_line, weight = read_class(call, c, start, m, buffers)
            x_buffer, g_buffer = buffers + line_size, buffers + 2 * line_size
            h_buffer = buffers + 3 * line_size
            x_line = fetch(x, call.x_layout, start, m, x_size, x_buffer) if RAW else x
            g_line = place(g, call.g_layout, start, m, x_size, g_buffer) if GRAD else g
            h_line = place(h, call.h_layout, start, m, x_size, h_buffer) if HESS else h
            kept = e + c * call.lanes * size
            for lane in range(m):
                p = peek(kept, lane) * peek(inverse, lane)
                by_z = peek(slope, lane) * p
                if MASS:
                    by_z -= mass_on(t_line, lane, weight, keep, spread)
                if not SOFT:
                    by_z -= peek(onehot, lane) if peek_int64(y, lane) == c else zero
                raw = load_x(x_line, lane) if RAW else zero
                chain = link_slope(raw, scale, cap)
                f = peek(factor, lane)
                dead = peek(live, lane) == zero
                if GRAD:
                    store_x(g_line, lane, zero if dead else by_z * (f * chain))
                if HESS:
                    second = peek(slope, lane) * p * (one - p) + bend * p * p
                    bent = second * chain * chain + by_z * link_curvature(raw, scale, cap)
                    store_x(h_line, lane, zero if dead else f * bent)
            if GRAD:
                deliver(g_line, g, call.g_layout, start, m, x_size, g_buffer)
            if HESS:
                deliver(h_line, h, call.h_layout, start, m, x_size, h_buffer)

    def softmax_lanes(record, chunk, slot):
        """Compute a chunk of examples, tile by tile; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        lanes = call.lanes
        tile = call.classes * lanes * size
        line = lanes * 8
        scratch = np.empty((2 if KEEP else 1) * tile + 19 * line, np.uint8)
        z = address_of(scratch)
        e = z + tile if KEEP else z
        lines = e + tile
        s, mass, dot = lines, lines + line, lines + 2 * line
        hot, weight, z_y, value = (
            lines + 3 * line, lines + 4 * line, lines + 5 * line, lines + 6 * line,
        )  # fmt: skip
        y, largest = lines + 7 * line, lines + 8 * line
        onehot, inverse, slope = lines + 9 * line, lines + 10 * line, lines + 11 * line
        factor, live, upstream = lines + 12 * line, lines + 13 * line, lines + 14 * line
        buffers = lines + 15 * line
        total = 0.0
        for start in range(first, last, lanes):
            m = min(lanes, last - start)
            read_logits(call, start, m, z, largest, buffers)
            read_indices(call, start, m, y, buffers)
            read_weights(call.w, call.w_layout, start, m, weight, buffers)
            drop_ignored(call, m, y, weight)
            read_labels(call, m, y, z, hot, z_y)
            exponentiate(call, z, e, m, largest, s)
            if MASS:
                weigh(call, start, m, z, largest, mass, dot, buffers)
            if LOSS:
                total += write_losses(
                    call, start, m, largest, s, mass, dot, hot, weight, z_y, value
                )
            if KEEP:
                read_weights(call.u, call.u_layout, start, m, upstream, buffers)
                write_coefficients(
                    call, outer, m, largest, s, mass, hot, weight, upstream,
                    onehot, inverse, slope, factor, live,
                )  # fmt: skip
                write_derivatives(
                    call, start, m, e, y, onehot, inverse, slope, factor, live, buffers
                )
        keep_alive(scratch)
        return total

    return softmax_lanes
