"""Cross-entropy where neighbours are examples: vectors run across the examples.

For a class axis that is not the last in memory, and for short rows with gaps. A tile of examples
becomes exponentials in scratch memory, one line for each class, and from there the derivatives
are written. Working where the arrays lie would lose the cache: with a power of two from class to
class, as images have it, all lines compete for the same few sets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import read_chunk
from fastloss.cpu.ir import allocate, larger, least, release
from fastloss.cpu.lane_tiles import (
    ACROSS_EXAMPLES,
    SUM_RUN,
    examples_per_tile,
    make_finish,
    make_prediction_at,
    make_read_class,
)
from fastloss.cpu.loop import with_loop
from fastloss.cpu.memory import (
    STORAGE,
    load_float64,
    peek_float64,
    poke_float64,
)
from fastloss.cpu.softmax_examples import LINES, lines_at, make_steps
from fastloss.cpu.softmax_parts import (
    has_one_factor,
    has_raw,
    kept,
    make_derivatives,
    make_is_sound,
    make_link,
    make_mass,
)
from fastloss.cpu.transfers import BITS, deliver, fetch, place
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, jitable
from fastloss.labels import label_of
from fastloss.losses.softmax import class_dot
from fastloss.variant import ClassVariant

__all__ = ["ACROSS_EXAMPLES", "compute_kernel", "examples_per_tile"]


@functools.cache
def compute_kernel(variant: ClassVariant) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""
    return Kernel(functools.partial(_make, variant), label_of(variant))


def _make(variant: ClassVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, *_ = STORAGE[variant.predictions]
    real = real_dtype(variant.predictions).type
    size, load_real, _, peek, poke = STORAGE[real.__name__]
    x_bits = BITS[x_size]
    linked, mass_on = make_link(variant), make_mass(variant)
    is_sound = make_is_sound(variant)
    derivatives = make_derivatives(variant)
    read_class, finish_tile = make_read_class(variant), make_finish(variant)
    MASS = variant.mass
    _, GRAD, HESS, _ = variant.outputs
    KEEP, RAW, ONE_FACTOR = kept(variant), has_raw(variant), has_one_factor(variant)

    read_examples, finish_examples = make_steps(variant, make_prediction_at(variant))

    @with_loop
    def exponentiate(call, start, first, last, m, e, row, part, lines, buffer):
        """Take the exponentials of some classes, of the distance to `shift`; add them up."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        for lane in range(m):
            poke(part, lane, real(0))
        for c in range(first, last):
            x = fetch(call.x + c * call.x_step, call.x_layout, start, m, buffer, x_bits)
            line = e + c * row
            for lane in range(m):
                z = linked(load_x(x, lane), scale, cap) - load_real(lines.shift, lane)
                value = exp_normal(z)
                poke(line, lane, value)
                poke(part, lane, peek(part, lane) + value)
        for lane in range(m):
            before = peek_float64(lines.s, lane) if first > 0 else 0.0
            poke_float64(lines.s, lane, before + np.float64(peek(part, lane)))

    @jitable
    def exponentiate_all(call, start, m, e, row, part, lines, buffer):
        """The same for all classes; return how many examples may not be measured from there."""
        for run in range(0, call.classes, SUM_RUN):
            end = least(call.classes, run + SUM_RUN)
            exponentiate(call, start, run, end, m, e, row, part, lines, buffer)
        unsound = 0
        for lane in range(m):
            unsound += 0 if is_sound(peek_float64(lines.s, lane)) else 1
        return unsound

    @jitable
    def find_shifts(call, start, m, part, lines, buffer):
        """Find the maximum of each example that may not be measured from 0."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        for lane in range(m):
            poke(part, lane, real(-np.inf))
        for c in range(call.classes):
            x = fetch(call.x + c * call.x_step, call.x_layout, start, m, buffer, x_bits)
            for lane in range(m):
                # A nan is left to the sum. Without the addition, LLVM writes only where the
                # maximum changes: masked stores, ten times as slow.
                z = linked(load_x(x, lane), scale, cap)
                poke(part, lane, larger(z, peek(part, lane)) + real(0))
        for lane in range(m):
            top = peek(part, lane)
            # A row of masks only has no maximum to measure from. (+ 0: as above.)
            from_0 = is_sound(peek_float64(lines.s, lane)) | (top == real(-np.inf))
            poke(lines.shift, lane, (real(0) if from_0 else top) + real(0))

    @jitable
    def weigh(call, start, m, lines, x_buffer, t_buffer):
        """Sum the probability mass of each example, and its product with the logits."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        keep, spread = real(call.keep), real(call.spread)
        for lane in range(m):
            poke_float64(lines.mass, lane, 0.0)
            poke_float64(lines.dot, lane, 0.0)
        for c in range(call.classes):
            t, weight = read_class(call, c, start, m, t_buffer)
            x = fetch(call.x + c * call.x_step, call.x_layout, start, m, x_buffer, x_bits)
            for lane in range(m):
                p = np.float64(mass_on(t, lane, weight, keep, spread))
                z = linked(load_x(x, lane), scale, cap) - load_real(lines.shift, lane)
                poke_float64(lines.mass, lane, peek_float64(lines.mass, lane) + p)
                product = class_dot(p, np.float64(z))
                poke_float64(lines.dot, lane, peek_float64(lines.dot, lane) + product)

    @jitable
    def write_tile(call, start, m, e, row, lines, buffers):
        """Write the derivatives of a tile, but for the entries of the class indices."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        keep, spread = real(call.keep), real(call.spread)
        bend = real(2.0 * call.z_loss)
        width = call.per_tile * 8
        x_buffer, g_buffer, h_buffer = buffers + width, buffers + 2 * width, buffers + 3 * width
        for c in range(call.classes):
            x, g, h = call.x + c * call.x_step, call.g + c * call.g_step, call.h + c * call.h_step
            x_line = fetch(x, call.x_layout, start, m, x_buffer, x_bits) if RAW else x
            g_line = place(g, call.g_layout, start, m, g_buffer, x_bits) if GRAD else g
            h_line = place(h, call.h_layout, start, m, h_buffer, x_bits) if HESS else h
            line = e + c * row
            if ONE_FACTOR:
                for lane in range(m):
                    store_x(g_line, lane, load_real(line, lane) * load_real(lines.inverse, lane))
            else:
                t, weight = read_class(call, c, start, m, buffers)
                for lane in range(m):
                    p = load_real(line, lane) * load_real(lines.inverse, lane)
                    mass = mass_on(t, lane, weight, keep, spread) if MASS else real(0)
                    raw = load_x(x_line, lane) if RAW else real(0)
                    slope = real(load_float64(lines.slope, lane))
                    f = real(load_float64(lines.factor, lane))
                    by_x, by_xx = derivatives(p, mass, raw, slope, bend, f, scale, cap)
                    if GRAD:
                        store_x(g_line, lane, by_x)
                    if HESS:
                        store_x(h_line, lane, by_xx)
            if GRAD:
                deliver(g_line, g, call.g_layout, start, m, g_buffer, x_bits)
            if HESS:
                deliver(h_line, h, call.h_layout, start, m, h_buffer, x_bits)

    def softmax_lanes(record, chunk, slot):
        """Compute a chunk of examples, tile by tile; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        classes, per_tile = call.classes, call.per_tile
        # A power of 2 from line to line would make them compete for the same cache sets.
        line, row = per_tile * 8, per_tile * size + 64
        e = allocate(classes * row + (LINES + 5) * line)
        lines = lines_at(e + classes * row, line)
        part = e + classes * row + LINES * line
        buffers = part + line
        total = 0.0
        for start in range(first, last, per_tile):
            m = least(per_tile, last - start)
            for lane in range(m):
                poke(lines.shift, lane, real(0))
            if exponentiate_all(call, start, m, e, row, part, lines, buffers) > 0:
                find_shifts(call, start, m, part, lines, buffers)
                exponentiate_all(call, start, m, e, row, part, lines, buffers)
            if MASS:
                weigh(call, start, m, lines, buffers + line, buffers)
            weightless = read_examples(call, outer, start, m, e, row, size, lines)
            total += finish_examples(call, start, m, lines)
            if KEEP:
                write_tile(call, start, m, e, row, lines, buffers)
                finish_tile(call, start, m, lines, weightless)
        release(e)
        return total

    return softmax_lanes
