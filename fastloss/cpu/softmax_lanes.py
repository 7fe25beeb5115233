"""Cross-entropy where neighbours are examples: vectors run across the examples.

For few classes, where a row is too short for a vector, and for a class axis that is not the
last in memory. A tile of examples is read once into scratch memory, one line for each class;
there the logits become exponentials, one each, and from there the derivatives are written.
Working where the arrays lie would save a copy and lose the cache: with a power of two from
class to class, as images have it, all lines compete for the same few sets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import entry_of, read_chunk
from fastloss.cpu.ir import allocate, larger, least, release, running_sum
from fastloss.cpu.memory import (
    STORAGE,
    load_float64,
    load_int64,
    offset_of,
    peek_float64,
    peek_int64,
    poke_float64,
    poke_int64,
    transfers_of_a_kernel,
)
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_nonpositive, inline, log
from fastloss.labels import label_of
from fastloss.losses.softmax import (
    IDENTITY,
    SOFTCAPPED,
    class_dot,
    class_target,
    example_loss,
    example_slope,
)
from fastloss.variant import ClassVariant

#: Logits of one tile: 8 KB of float32, a quarter of a first-level cache.
TILE = 8192
MIN_LANES, MAX_LANES = 32, 512

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
    x_size, load_x, store_x, *_ = STORAGE[variant.predictions]
    t_size, load_t, *_ = STORAGE[variant.targets]
    real = real_dtype(variant.predictions).type
    size, load_real, store_real, peek, poke = STORAGE[real.__name__]
    transfers = transfers_of_a_kernel()
    fetch, place, deliver, *_ = transfers(x_size)
    fetch_t = transfers(t_size).fetch
    link, link_slope, link_curvature = variant.link
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    KEEP = GRAD or HESS
    # The softcap's slope depends on the logit itself.
    RAW = variant.link is SOFTCAPPED
    LINKED = variant.link is not IDENTITY
    ONE_FACTOR = not HESS and not RAW and not MASS
    ROWS, WEIGHTED = variant.rows, variant.weighted

    @register_jitable
    def read_tile(call, start, m, tile, row, buffer):
        """Bring the linked logits of a tile into scratch memory."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        if ROWS:
            for lane in range(m):
                first = (start + lane) * call.classes
                for c in range(call.classes):
                    raw = load_x(call.x, first + c)
                    poke(tile + c * row, lane, link(raw, scale, cap) if LINKED else real(raw))
        else:
            for c in range(call.classes):
                line = fetch(call.x + c * call.x_step, call.x_layout, start, m, buffer)
                for lane in range(m):
                    raw = load_x(line, lane)
                    poke(tile + c * row, lane, link(raw, scale, cap) if LINKED else real(raw))

    @register_jitable
    def find_largest(classes, m, tile, row, largest):
        """Find the maximum of each example; a nan is left to the sum."""
        for lane in range(m):
            poke(largest, lane, real(-np.inf))
        for c in range(classes):
            line = tile + c * row
            for lane in range(m):
                # Without the addition, LLVM writes only where the maximum changes: masked
                # stores, ten times as slow.
                poke(largest, lane, larger(peek(line, lane), peek(largest, lane)) + real(0))

    @register_jitable
    def raw_logit(call, c, i):
        """The logit of class c of example i, as it was given."""
        if ROWS:
            return load_x(call.x, i * call.classes + c)
        return load_x(call.x + c * call.x_step + offset_of(call.x_layout, i, x_size), 0)

    @register_jitable
    def read_examples(
        call, outer, start, m, tile, row, largest, y, hot, weight, factor, z_y, raw_y, beside
    ):
        """Find each example's class, its logit and its weights, and the derivatives' factor."""
        for lane in range(m):
            w = 1.0
            if not SOFT:
                index = load_int64(call.t, start + lane)
                if index == call.ignore_index:
                    index, w = 0, 0.0  # what is looked up for it has weight 0
                poke_int64(y, lane, index)
                poke(z_y, lane, peek(tile + index * row, lane))
                by_class = entry_of(call.class_weight, index)
                poke_float64(hot, lane, call.keep * by_class)
                if RAW:
                    poke(raw_y, lane, raw_logit(call, index, start + lane))
                if MASS:
                    near = real(by_class) if CLASS_WEIGHT else real(1)
                    spread = class_target(real(0), near, real(call.keep), real(call.spread))
                    poke_float64(beside, lane, np.float64(spread))
            f = outer * w
            if WEIGHTED:
                w = load_float64(call.w, start + lane) if w != 0.0 else 0.0
                f = outer * w * load_float64(call.u, start + lane)
            poke_float64(weight, lane, w)
            poke_float64(factor, lane, f)
            # A row of masks only has no maximum to measure from. (+ 0: as above.)
            top = peek(largest, lane)
            poke(largest, lane, (real(0) if top == real(-np.inf) else top) + real(0))

    @register_jitable
    def exponentiate(first, last, m, tile, row, largest, part, s):
        """Turn the logits of some classes into exponentials, and add these up."""
        for lane in range(m):
            poke(part, lane, real(0))
        for c in range(first, last):
            line = tile + c * row
            for lane in range(m):
                value = exp_nonpositive(peek(line, lane) - load_real(largest, lane))
                poke(line, lane, value)
                poke(part, lane, peek(part, lane) + value)
        for lane in range(m):
            before = peek_float64(s, lane) if first > 0 else 0.0
            poke_float64(s, lane, before + np.float64(peek(part, lane)))

    @register_jitable
    def read_class(call, c, start, m, buffer):
        """(where the soft targets of class c lie, from entry to entry, the class weight)."""
        weight = load_real(call.class_weight_real, c) if CLASS_WEIGHT else real(1)
        if not SOFT:
            return call.t, 0, weight
        if ROWS:
            return call.t + (start * call.classes + c) * t_size, call.classes, weight
        line = fetch_t(call.t + c * call.t_step, call.t_layout, start, m, buffer)
        return line, 1, weight

    @inline
    def mass_on(t_line, entry, weight, keep, spread):
        """Probability mass on a class."""
        y = real(load_t(t_line, entry)) if SOFT else real(0)
        return class_target(y, weight, keep, spread)

    @register_jitable
    def weigh(call, start, m, tile, row, largest, mass, dot, buffer):
        """Sum the probability mass of each example, and its product with the logits."""
        keep, spread = real(call.keep), real(call.spread)
        for lane in range(m):
            poke_float64(mass, lane, 0.0)
            poke_float64(dot, lane, 0.0)
        for c in range(call.classes):
            t_line, t_step, weight = read_class(call, c, start, m, buffer)
            line = tile + c * row
            for lane in range(m):
                p = mass_on(t_line, lane * t_step, weight, keep, spread)
                shifted = load_real(line, lane) - load_real(largest, lane)
                product = class_dot(np.float64(p), np.float64(shifted))
                poke_float64(mass, lane, peek_float64(mass, lane) + np.float64(p))
                poke_float64(dot, lane, peek_float64(dot, lane) + product)

    @inline
    def derivatives(p, mass, raw, slope, bend, factor, scale, cap):
        """(gradient, hessian) of a class of probability p that has the target `mass`."""
        by_z = slope * p - mass
        chain = link_slope(raw, scale, cap) if RAW else scale
        if not HESS:
            return by_z * (factor * chain), by_z
        second = slope * p * (type(p)(1) - p) + bend * p * p
        bent = second * chain * chain
        if RAW:
            bent += by_z * link_curvature(raw, scale, cap)
        return by_z * (factor * chain), bent * factor

    @register_jitable
    def finish_examples(
        call, start, m, largest, s, mass, dot, hot, weight, factor, z_y, raw_y, beside,
        inverse, slope, entry, h_entry,
    ):  # fmt: skip
        """Compute the losses of a tile, and what derivatives are made with; return the sum."""
        scale, cap = np.float64(call.logit_scale), np.float64(call.logit_softcap)
        bend = 2.0 * call.z_loss
        losses = 0.0
        for lane in range(m):
            label, w = load_float64(hot, lane) if not SOFT else 0.0, load_float64(weight, lane)
            all_mass = load_float64(mass, lane) if MASS else 0.0
            all_dot = load_float64(dot, lane) if MASS else 0.0
            total, top = load_float64(s, lane), load_real(largest, lane)
            at_label = load_real(z_y, lane) if not SOFT else real(0)
            log_s = log(total)
            if LOSS:
                v = example_loss(
                    log_s, np.float64(top), np.float64(at_label), label,
                    all_mass, all_dot, call.z_loss,
                )  # fmt: skip
                v = v * w if w != 0.0 else 0.0
                losses = running_sum(losses, v)
                if PER_EXAMPLE:
                    store_real(call.loss, start + lane, real(v))
            if KEEP:
                by_lse = example_slope(log_s, np.float64(top), label, all_mass, call.z_loss)
                f, each = load_float64(factor, lane), 1.0 / total
                if not SOFT:
                    # In float64: p - 1 cancels.
                    p = np.float64(exp_nonpositive(at_label - top)) * each
                    raw = np.float64(load_real(raw_y, lane)) if RAW else 0.0
                    here = label + (load_float64(beside, lane) if MASS else 0.0)
                    by_x, by_xx = derivatives(p, here, raw, by_lse, bend, f, scale, cap)
                    poke(entry, lane, real(by_x))
                    if HESS:
                        poke(h_entry, lane, real(by_xx))
                if ONE_FACTOR:
                    each *= by_lse * (f * scale)
                poke(inverse, lane, real(each))
                poke_float64(slope, lane, by_lse)
        return losses

    @register_jitable
    def write_tile(call, start, m, tile, row, inverse, slope, factor, buffers):
        """Write the derivatives of a tile, but for the entries of the class indices."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        keep, spread = real(call.keep), real(call.spread)
        bend = real(2.0 * call.z_loss)
        width = call.lanes * 8
        x_buffer, g_buffer, h_buffer = buffers + width, buffers + 2 * width, buffers + 3 * width
        if ROWS and ONE_FACTOR:
            for lane in range(m):
                first = (start + lane) * call.classes
                coefficient = load_real(inverse, lane)
                for c in range(call.classes):
                    store_x(call.g, first + c, peek(tile + c * row, lane) * coefficient)
            return
        for c in range(call.classes):
            x, g, h = call.x, call.g, call.h
            if ROWS:
                first = (start * call.classes + c) * x_size
                x_line, g_line, h_line, step = x + first, g + first, h + first, call.classes
            else:
                x, g, h = x + c * call.x_step, g + c * call.g_step, h + c * call.h_step
                x_line = fetch(x, call.x_layout, start, m, x_buffer) if RAW else x
                g_line = place(g, call.g_layout, start, m, g_buffer) if GRAD else g
                h_line = place(h, call.h_layout, start, m, h_buffer) if HESS else h
                step = 1
            line = tile + c * row
            if ONE_FACTOR:
                for lane in range(m):
                    store_x(g_line, lane, load_real(line, lane) * load_real(inverse, lane))
            else:
                t_line, t_step, weight = read_class(call, c, start, m, buffers)
                for lane in range(m):
                    p = load_real(line, lane) * load_real(inverse, lane)
                    mass = mass_on(t_line, lane * t_step, weight, keep, spread) if MASS else real(0)
                    raw = load_x(x_line, lane * step) if RAW else real(0)
                    by_lse, f = real(load_float64(slope, lane)), real(load_float64(factor, lane))
                    by_x, by_xx = derivatives(p, mass, raw, by_lse, bend, f, scale, cap)
                    if GRAD:
                        store_x(g_line, lane * step, by_x)
                    if HESS:
                        store_x(h_line, lane * step, by_xx)
            if not ROWS:
                if GRAD:
                    deliver(g_line, g, call.g_layout, start, m, g_buffer)
                if HESS:
                    deliver(h_line, h, call.h_layout, start, m, h_buffer)

    @register_jitable
    def write_labels(call, start, m, y, entry, h_entry, weight):
        """Write the entry of each example's own class, and 0 for those that weigh 0.

        The latter may hold a nan.
        """
        for lane in range(m):
            i, dead = start + lane, peek_float64(weight, lane) == 0.0
            c, last = (0, 0) if SOFT else (peek_int64(y, lane), peek_int64(y, lane) + 1)
            if dead:
                c, last = 0, call.classes
            while c < last:
                if ROWS:
                    entry_at = (i * call.classes + c) * x_size
                    g, h = call.g + entry_at, call.h + entry_at
                else:
                    g, h = call.g + c * call.g_step, call.h + c * call.h_step
                    g += offset_of(call.g_layout, i, x_size) if GRAD else 0
                    h += offset_of(call.h_layout, i, x_size) if HESS else 0
                if GRAD:
                    store_x(g, 0, real(0) if dead or SOFT else peek(entry, lane))
                if HESS:
                    store_x(h, 0, real(0) if dead or SOFT else peek(h_entry, lane))
                c += 1

    def softmax_lanes(record, chunk, slot):
        """Compute a chunk of examples, tile by tile; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        classes, lanes = call.classes, call.lanes
        # A power of 2 from line to line would make them compete for the same cache sets.
        line, row = lanes * 8, lanes * size + 64
        tile = allocate(classes * row + 20 * line)
        s = tile + classes * row
        mass, dot, hot, weight = s + line, s + 2 * line, s + 3 * line, s + 4 * line
        z_y, raw_y, y = s + 5 * line, s + 6 * line, s + 7 * line
        largest, part, inverse = s + 8 * line, s + 9 * line, s + 10 * line
        slope, factor, beside = s + 11 * line, s + 12 * line, s + 13 * line
        entry, h_entry, buffers = s + 14 * line, s + 15 * line, s + 16 * line
        total = 0.0
        for start in range(first, last, lanes):
            m = least(lanes, last - start)
            read_tile(call, start, m, tile, row, buffers)
            find_largest(classes, m, tile, row, largest)
            read_examples(
                call, outer, start, m, tile, row, largest, y, hot, weight, factor, z_y, raw_y,
                beside,
            )  # fmt: skip
            if MASS:
                weigh(call, start, m, tile, row, largest, mass, dot, buffers)
            for run in range(0, classes, SUM_RUN):
                end = least(classes, run + SUM_RUN)
                exponentiate(run, end, m, tile, row, largest, part, s)
            total += finish_examples(
                call, start, m, largest, s, mass, dot, hot, weight, factor, z_y, raw_y, beside,
                inverse, slope, entry, h_entry,
            )  # fmt: skip
            if KEEP:
                write_tile(call, start, m, tile, row, inverse, slope, factor, buffers)
                write_labels(call, start, m, y, entry, h_entry, weight)
        release(tile)
        return total

    return softmax_lanes
