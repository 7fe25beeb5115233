"""Cross-entropy where neighbours are examples: vectors run across the examples.

For few classes, where a row is too short for a vector, and for a class axis that is not the
last in memory. Everything happens on lines: one class of a tile of examples. A line lies
where the array has it, if it has it in a row, or else in scratch memory. There is one
exponential per logit; it lies in the gradient, where that has lines, until it becomes it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel, label_of
from fastloss.cpu.examples import entry_of, read_chunk, target_of
from fastloss.cpu.memory import (
    STORAGE,
    address_of,
    keep_alive,
    load_float64,
    make_transfers,
    peek_float64,
    peek_int64,
    poke_float64,
    poke_int64,
)
from fastloss.cpu.variant import ClassVariant
from fastloss.cpu.vector import running_sum
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_nonpositive, log
from fastloss.losses.softmax import (
    IDENTITY,
    SOFTCAPPED,
    class_dot,
    class_target,
    example_loss,
    example_slope,
)

#: Logits of one tile: 32 KB of float32.
TILE = 8192
MIN_LANES, MAX_LANES = 16, 1024

#: Classes whose exponentials are added in the predictions' precision, before float64.
SUM_RUN = 32

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
    x_size, load_x, store_x, peek_x, _ = STORAGE[variant.predictions]
    t_size, load_t, *_ = STORAGE[variant.targets]
    real = real_dtype(variant.predictions).type
    size, load_real, store_real, peek, poke = STORAGE[real.__name__]
    fetch, place, deliver, line_at = make_transfers(x_size)
    fetch_t = make_transfers(t_size).fetch
    link, link_slope, link_curvature = variant.link
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    KEEP = GRAD or HESS
    # The softcap's slope depends on the logit, which must then outlive its exponential.
    RAW = variant.link is SOFTCAPPED
    # Lines of the predictions can be read, and lines of the gradient written, as they lie.
    AS_GIVEN = variant.link is IDENTITY and x_size == size
    IN_GRADIENT = GRAD and not HESS and not RAW and x_size == size
    ONE_FACTOR = GRAD and not HESS and not RAW and not MASS

    @register_jitable
    def read_tile(call, start, m, tile, row, buffer):
        """Bring the linked logits of a tile into scratch memory."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        for c in range(call.classes):
            line = fetch(call.x + c * call.x_step, call.x_layout, start, m, buffer)
            for lane in range(m):
                poke(tile + c * row, lane, link(load_x(line, lane), scale, cap))

    @register_jitable
    def find_largest(classes, m, z, z_row, largest):
        """Find the maximum of each example; a nan is left to the sum."""
        for lane in range(m):
            poke(largest, lane, real(-np.inf))
        for c in range(classes):
            line = z + c * z_row
            for lane in range(m):
                value, top = peek(line, lane), peek(largest, lane)
                poke(largest, lane, value if value > top else top)
        for lane in range(m):
            # A row of masks only has no maximum to measure from.
            top = peek(largest, lane)
            poke(largest, lane, real(0) if top == real(-np.inf) else top)

    @register_jitable
    def exponentiate(classes, m, z, z_row, e, e_row, largest, part, s):
        """Sum the exponentials of each example; keep them where a derivative is wanted."""
        for lane in range(m):
            poke_float64(s, lane, 0.0)
        for first in range(0, classes, SUM_RUN):
            for lane in range(m):
                poke(part, lane, real(0))
            for c in range(first, min(classes, first + SUM_RUN)):
                line, kept = z + c * z_row, e + c * e_row
                for lane in range(m):
                    value = exp_nonpositive(load_real(line, lane) - load_real(largest, lane))
                    poke(part, lane, peek(part, lane) + value)
                    if KEEP:
                        store_real(kept, lane, value)
            for lane in range(m):
                poke_float64(s, lane, peek_float64(s, lane) + np.float64(peek(part, lane)))

    @register_jitable
    def read_class(call, c, start, m, buffer):
        """(where the soft targets of class c lie, the weight of the class)."""
        weight = load_real(call.class_weight_real, c) if CLASS_WEIGHT else real(1)
        t = call.t + c * call.t_step
        return fetch_t(t, call.t_layout, start, m, buffer) if SOFT else t, weight

    @register_jitable(forceinline=True)
    def mass_on(t_line, lane, weight, keep, spread):
        """Probability mass on the class of this line."""
        y = real(load_t(t_line, lane)) if SOFT else real(0)
        return class_target(y, weight, keep, spread)

    @register_jitable
    def weigh(call, start, m, z, z_row, largest, mass, dot, buffer):
        """Sum the probability mass of each example, and its product with the logits."""
        keep, spread = real(call.keep), real(call.spread)
        for lane in range(m):
            poke_float64(mass, lane, 0.0)
            poke_float64(dot, lane, 0.0)
        for c in range(call.classes):
            t_line, weight = read_class(call, c, start, m, buffer)
            line = z + c * z_row
            for lane in range(m):
                p = mass_on(t_line, lane, weight, keep, spread)
                shifted = load_real(line, lane) - load_real(largest, lane)
                product = class_dot(np.float64(p), np.float64(shifted))
                poke_float64(mass, lane, peek_float64(mass, lane) + np.float64(p))
                poke_float64(dot, lane, peek_float64(dot, lane) + product)

    @register_jitable
    def read_labels(call, start, m, z, z_row, y, hot, weight, z_y):
        """Find each example's class, its weights and its logit; return how many weigh 0."""
        dead = 0
        for lane in range(m):
            index, onehot, w = target_of(call, start + lane, SOFT)
            poke_int64(y, lane, index)
            poke_float64(hot, lane, onehot)
            poke_float64(weight, lane, w)
            if not SOFT:
                poke_float64(z_y, lane, np.float64(peek(z + max(index, 0) * z_row, lane)))
            dead += 1 if w == 0.0 else 0
        return dead

    @register_jitable
    def write_losses(call, start, m, largest, s, mass, dot, hot, weight, z_y, value):
        """Compute the losses of a tile; return their sum."""
        for lane in range(m):
            at_label = load_float64(z_y, lane) if not SOFT else 0.0
            all_mass = load_float64(mass, lane) if MASS else 0.0
            all_dot = load_float64(dot, lane) if MASS else 0.0
            log_s, top = log(load_float64(s, lane)), np.float64(load_real(largest, lane))
            label, w = load_float64(hot, lane), load_float64(weight, lane)
            v = example_loss(log_s, top, at_label, label, all_mass, all_dot, call.z_loss)
            poke_float64(value, lane, v * w if w != 0.0 else 0.0)
        total = 0.0
        for lane in range(m):
            total = running_sum(total, peek_float64(value, lane))
        if PER_EXAMPLE:
            for lane in range(m):
                store_real(call.loss, start + lane, real(peek_float64(value, lane)))
        return total

    @register_jitable(forceinline=True)
    def derivatives(p, mass, raw, slope, bend, factor, scale, cap):
        """(gradient, hessian) of a class of probability p that has the target `mass`."""
        by_z = slope * p - mass
        chain = link_slope(raw, scale, cap)
        second = slope * p * (type(p)(1) - p) + bend * p * p if HESS else by_z
        bent = second * chain * chain + by_z * link_curvature(raw, scale, cap)
        return by_z * (factor * chain), bent * factor

    @register_jitable
    def write_coefficients(
        call, outer, start, m, largest, s, mass, hot, weight, inverse, slope, factor
    ):
        """Compute what the derivatives of each example are made with."""
        chain = np.float64(link_slope(real(0), real(call.logit_scale), real(call.logit_softcap)))
        for lane in range(m):
            label = load_float64(hot, lane)
            all_mass = load_float64(mass, lane) if MASS else 0.0
            total, w = load_float64(s, lane), load_float64(weight, lane)
            by_lse = label + all_mass
            if call.z_loss != 0.0:
                top = np.float64(load_real(largest, lane))
                by_lse = example_slope(log(total), top, label, all_mass, call.z_loss)
            outside = outer * w * entry_of(call.u, start + lane)
            coefficient = by_lse / total * (outside * chain) if ONE_FACTOR else 1.0 / total
            poke(inverse, lane, real(coefficient))
            poke_float64(slope, lane, by_lse)
            poke_float64(factor, lane, outside)

    @register_jitable
    def scale_tile(classes, m, e, e_row, coefficient):
        """Turn exponentials into the gradient, where that is a multiple of them."""
        for c in range(classes):
            line = e + c * e_row
            for lane in range(m):
                poke(line, lane, peek(line, lane) * load_real(coefficient, lane))

    @register_jitable
    def derive_tile(call, start, m, e, e_row, h, h_row, inverse, slope, factor, buffers):
        """Turn exponentials into the gradient, and write the hessian beside it."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        keep, spread = real(call.keep), real(call.spread)
        bend = real(2.0 * call.z_loss)
        x_buffer = buffers + call.lanes * 8
        for c in range(call.classes):
            t_line, weight = read_class(call, c, start, m, buffers)
            x = call.x + c * call.x_step
            x_line = fetch(x, call.x_layout, start, m, x_buffer) if RAW else x
            line, h_line = e + c * e_row, h + c * h_row
            for lane in range(m):
                p = peek(line, lane) * load_real(inverse, lane)
                mass = mass_on(t_line, lane, weight, keep, spread) if MASS else real(0)
                raw = load_x(x_line, lane) if RAW else real(0)
                by_lse, f = real(load_float64(slope, lane)), real(load_float64(factor, lane))
                by_x, by_xx = derivatives(p, mass, raw, by_lse, bend, f, scale, cap)
                poke(line, lane, by_x)
                if HESS:
                    poke(h_line, lane, by_xx)

    @register_jitable
    def keep_labels(m, e, e_row, y, p_y):
        """Keep the exponential of each example's class."""
        for lane in range(m):
            poke_float64(p_y, lane, np.float64(peek(e + max(peek_int64(y, lane), 0) * e_row, lane)))

    @register_jitable
    def derive_labels(call, start, m, e, e_row, h, h_row, y, hot, p_y, s, slope, factor, buffer):
        """Write the entry of each example's class, in float64: p - 1 cancels."""
        scale, cap = np.float64(call.logit_scale), np.float64(call.logit_softcap)
        keep, spread = real(call.keep), real(call.spread)
        bend = 2.0 * call.z_loss
        for lane in range(m):
            c = peek_int64(y, lane)
            if c >= 0:
                p = peek_float64(p_y, lane) / peek_float64(s, lane)
                mass = peek_float64(hot, lane)
                if MASS:
                    weight = load_real(call.class_weight_real, c) if CLASS_WEIGHT else real(1)
                    mass += mass_on(buffer, lane, weight, keep, spread)
                raw = 0.0
                if RAW:
                    x = call.x + c * call.x_step
                    raw = np.float64(load_x(fetch(x, call.x_layout, start + lane, 1, buffer), 0))
                by_lse, f = peek_float64(slope, lane), peek_float64(factor, lane)
                by_x, by_xx = derivatives(p, mass, raw, by_lse, bend, f, scale, cap)
                poke(e + c * e_row, lane, real(by_x))
                if HESS:
                    poke(h + c * h_row, lane, real(by_xx))

    @register_jitable
    def bury(classes, m, e, e_row, h, h_row, weight):
        """Write the derivatives of examples that weigh 0, whose logits may hold nan."""
        for lane in range(m):
            if peek_float64(weight, lane) == 0.0:
                for c in range(classes):
                    poke(e + c * e_row, lane, real(0))
                    if HESS:
                        poke(h + c * h_row, lane, real(0))

    @register_jitable
    def write_tile(classes, m, tile, row, to, step, layout, start, buffer):
        """Bring a tile of derivatives to where it belongs."""
        for c in range(classes):
            line = place(to + c * step, layout, start, m, buffer)
            for lane in range(m):
                store_x(line, lane, peek(tile + c * row, lane))
            deliver(line, to + c * step, layout, start, m, buffer)

    def softmax_lanes(record, chunk, slot):
        """Compute a chunk of examples, tile by tile; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        classes, lanes = call.classes, call.lanes
        line, row = lanes * 8, lanes * size
        scratch = np.empty((2 if HESS else 1) * classes * row + 16 * line, np.uint8)
        tile = address_of(scratch)
        h = tile + classes * row if HESS else tile
        lines = h + classes * row
        s, mass, dot, hot = lines, lines + line, lines + 2 * line, lines + 3 * line
        weight, z_y, value, p_y = (
            lines + 4 * line,
            lines + 5 * line,
            lines + 6 * line,
            lines + 7 * line,
        )
        y, largest, part, inverse = (
            lines + 8 * line,
            lines + 9 * line,
            lines + 10 * line,
            lines + 11 * line,
        )
        slope, factor = lines + 12 * line, lines + 13 * line
        buffers = lines + 14 * line
        total = 0.0
        for start in range(first, last, lanes):
            m = min(lanes, last - start)
            z, z_row = np.int64(0), call.x_step
            if AS_GIVEN:
                z = line_at(call.x, call.x_layout, start, m)
            if z == 0:
                read_tile(call, start, m, tile, row, buffers)
                z, z_row = tile, row
            e, e_row = np.int64(0), call.g_step
            if IN_GRADIENT:
                e = line_at(call.g, call.g_layout, start, m)
            in_place = e != 0
            if not in_place:
                e, e_row = tile, row
            find_largest(classes, m, z, z_row, largest)
            dead = read_labels(call, start, m, z, z_row, y, hot, weight, z_y)
            if MASS:
                weigh(call, start, m, z, z_row, largest, mass, dot, buffers)
            exponentiate(classes, m, z, z_row, e, e_row, largest, part, s)
            if LOSS:
                total += write_losses(
                    call, start, m, largest, s, mass, dot, hot, weight, z_y, value
                )
            if KEEP:
                write_coefficients(
                    call, outer, start, m, largest, s, mass, hot, weight, inverse, slope, factor
                )
                if not SOFT:
                    keep_labels(m, e, e_row, y, p_y)
                if ONE_FACTOR:
                    scale_tile(classes, m, e, e_row, inverse)
                else:
                    derive_tile(call, start, m, e, e_row, h, row, inverse, slope, factor, buffers)
                if not SOFT:
                    derive_labels(
                        call, start, m, e, e_row, h, row, y, hot, p_y, s, slope, factor, buffers
                    )
                if dead > 0:
                    bury(classes, m, e, e_row, h, row, weight)
                if GRAD and not in_place:
                    write_tile(
                        classes, m, e, e_row, call.g, call.g_step, call.g_layout, start, buffers
                    )
                if HESS:
                    write_tile(
                        classes, m, h, row, call.h, call.h_step, call.h_layout, start, buffers
                    )
        keep_alive(scratch)
        return total

    return softmax_lanes
