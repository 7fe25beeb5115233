"""Cross-entropy of short rows that lie one after the other: vectors run over all logits.

A row too short for a vector shares one with its neighbours. The exponentials of a tile are taken
of its logits as they lie, whatever row they belong to; only sums are made row by row, and
factors spread over them (see `segments`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import read_chunk
from fastloss.cpu.flat_tiles import (
    ACROSS_EXAMPLES,
    examples_per_tile,
    make_finish,
    make_prediction_at,
    make_write_masses,
)
from fastloss.cpu.ir import allocate, larger, least, release
from fastloss.cpu.loop import with_loop_apart
from fastloss.cpu.memory import (
    STORAGE,
    peek_float64,
    poke_float64,
)
from fastloss.cpu.segments import VECTOR_BYTES, scale_rows, spread_rows, sum_rows
from fastloss.cpu.softmax_examples import LINES, lines_at, make_steps
from fastloss.cpu.softmax_parts import (
    has_one_factor,
    has_raw,
    kept,
    make_derivatives,
    make_is_sound,
    make_link,
)
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
    t_size = STORAGE[variant.targets].itemsize
    real = real_dtype(variant.predictions).type
    size, load_real, _, peek, poke = STORAGE[real.__name__]
    linked, write_masses = make_link(variant), make_write_masses(variant)
    is_sound = make_is_sound(variant)
    derivatives, finish_tile = make_derivatives(variant), make_finish(variant)
    MASS = variant.mass
    _, GRAD, HESS, _ = variant.outputs
    AS_IT_IS = variant.predictions == real.__name__
    KEEP, RAW, ONE_FACTOR = kept(variant), has_raw(variant), has_one_factor(variant)

    read_examples, finish_examples = make_steps(variant, make_prediction_at(variant))

    @jitable
    def zeros(n, line):
        for k in range(n):
            poke(line, k, real(0))

    @with_loop_apart
    def exponentiate(x, n, shifts, e, scale, cap):
        """Take the exponentials of n logits' distance to `shifts`."""
        for k in range(n):
            z = linked(load_x(x, k), scale, cap) - load_real(shifts, k)
            poke(e, k, exp_normal(z))

    @jitable
    def add_up(e, m, classes, part, lines):
        """Sum the exponentials of each row; return how many rows may not be measured from 0."""
        sum_rows(e, m, classes, size, part, real(0))
        unsound = 0
        for r in range(m):
            s = np.float64(peek(part, r))
            poke_float64(lines.s, r, s)
            unsound += 0 if is_sound(s) else 1
        return unsound

    @jitable
    def find_shifts(x, m, classes, lines, scale, cap):
        """Find the maximum of each row that may not be measured from 0."""
        for r in range(m):
            top = real(-np.inf)
            for c in range(r * classes, (r + 1) * classes):
                top = larger(linked(load_x(x, c), scale, cap), top)  # a nan is left to the sum
            # A row of masks only has no maximum to measure from.
            from_0 = is_sound(peek_float64(lines.s, r)) | (top == real(-np.inf))
            poke(lines.shift, r, real(0) if from_0 else top)

    @jitable
    def weigh(call, x, t, m, shifts, masses, wide, lines):
        """Write the probability mass on each class; sum it, and its product with the logits."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        write_masses(call, t, m, masses)
        n = m * call.classes
        for k in range(n):
            poke_float64(wide, k, np.float64(peek(masses, k)))
        sum_rows(wide, m, call.classes, 8, lines.mass, 0.0)
        for k in range(n):
            z = linked(load_x(x, k), scale, cap) - load_real(shifts, k)
            poke_float64(wide, k, class_dot(np.float64(peek(masses, k)), np.float64(z)))
        sum_rows(wide, m, call.classes, 8, lines.dot, 0.0)

    @jitable
    def write_multiples(g, m, classes, e, factors, spare):
        """Write the gradient where that is a multiple of the exponentials."""
        if AS_IT_IS:
            scale_rows(e, factors, m, classes, size, g, peek, poke)
        else:
            spread_rows(factors, m, classes, size, spare, peek)
            for k in range(m * classes):
                store_x(g, k, load_real(e, k) * load_real(spare, k))

    @jitable
    def write_derivatives(call, x, n, e, masses, inverse, slope, factor, g, h):
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        bend = real(2.0 * call.z_loss)
        for k in range(n):
            raw = load_x(x, k) if RAW else real(0)
            mass = load_real(masses, k) if MASS else real(0)
            by_x, by_xx = derivatives(
                load_real(e, k) * load_real(inverse, k), mass, raw, load_real(slope, k), bend,
                load_real(factor, k), scale, cap,
            )  # fmt: skip
            if GRAD:
                store_x(g, k, by_x)
            if HESS:
                store_x(h, k, by_xx)

    @jitable
    def narrowed(line, m, target):
        """The float64 of a line as the predictions' real."""
        for r in range(m):
            poke(target, r, real(peek_float64(line, r)))
        return target

    def softmax_flat(record, chunk, slot):
        """Compute a chunk of examples, tile by tile; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        classes, examples = call.classes, call.per_tile
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        line = examples * 8
        # Lines of a number for each logit, and a vector to go on for.
        row = examples * classes * size + 2 * VECTOR_BYTES
        scratch = allocate((LINES + 1) * line + (8 if MASS else 5) * row)
        lines = lines_at(scratch, line)
        part = scratch + LINES * line
        e = part + line
        shifts, spare, spare_slope, spare_factor = e + row, e + 2 * row, e + 3 * row, e + 4 * row
        masses = e + 5 * row
        zeros(examples, lines.shift)
        zeros(examples * classes, shifts)
        total = 0.0
        for start in range(first, last, examples):
            m = least(examples, last - start)
            n = m * classes
            x = call.x + start * classes * x_size
            g, h = call.g + start * classes * x_size, call.h + start * classes * x_size
            t = call.t + start * classes * t_size
            exponentiate(x, n, shifts, e, scale, cap)
            shifted = add_up(e, m, classes, part, lines) > 0
            if shifted:
                find_shifts(x, m, classes, lines, scale, cap)
                spread_rows(lines.shift, m, classes, size, shifts, peek)
                exponentiate(x, n, shifts, e, scale, cap)
                add_up(e, m, classes, part, lines)
            if MASS:
                weigh(call, x, t, m, shifts, masses, masses + row, lines)
            weightless = read_examples(call, outer, start, m, e, size, classes * size, lines)
            total += finish_examples(call, start, m, lines)
            if KEEP:
                if ONE_FACTOR:
                    write_multiples(g, m, classes, e, lines.inverse, spare)
                else:
                    spread_rows(lines.inverse, m, classes, size, spare, peek)
                    slopes = narrowed(lines.slope, m, part)
                    spread_rows(slopes, m, classes, size, spare_slope, peek)
                    factors = narrowed(lines.factor, m, part)
                    spread_rows(factors, m, classes, size, spare_factor, peek)
                    write_derivatives(call, x, n, e, masses, spare, spare_slope, spare_factor, g, h)
                finish_tile(classes, m, lines, weightless, g, h)
            if shifted:
                zeros(examples, lines.shift)
                zeros(n, shifts)
        release(scratch)
        return total

    return softmax_flat
