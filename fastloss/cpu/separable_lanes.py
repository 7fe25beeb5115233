"""Losses to which each class adds by itself, where neighbours are examples.

The twin of `separable` for a class axis that is not the last in memory, and for short rows
with gaps: vectors run across the examples. Value and derivatives of a class come out of one look
at its predictions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import read_chunk
from fastloss.cpu.ir import allocate, least, release
from fastloss.cpu.lane_tiles import (
    ACROSS_EXAMPLES,
    SUM_RUN,
    examples_per_tile,
    make_finish,
    make_read_class,
    make_read_labels,
)
from fastloss.cpu.loop import with_loop
from fastloss.cpu.memory import STORAGE, peek_float64, poke_float64
from fastloss.cpu.separable_examples import LINES, lines_at, make_steps, make_terms
from fastloss.cpu.softmax_parts import kept, make_mass
from fastloss.cpu.transfers import BITS, apart, deliver, fetch, place
from fastloss.dtypes import real_dtype
from fastloss.elementary import jitable
from fastloss.labels import label_of
from fastloss.spec import SeparableSpec
from fastloss.variant import ClassVariant

__all__ = ["ACROSS_EXAMPLES", "compute_kernel", "examples_per_tile"]


@functools.cache
def compute_kernel(spec: SeparableSpec, variant: ClassVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes, options and outputs of `variant`."""
    return Kernel(
        functools.partial(_make, spec, variant), "separable_lanes" + label_of(spec.name, variant)
    )


def _make(spec: SeparableSpec, variant: ClassVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, *_ = STORAGE[variant.predictions]
    real = real_dtype(variant.predictions).type
    _, load_real, _, peek, poke = STORAGE[real.__name__]
    x_bits = BITS[x_size]
    (term, slopes), mass_on = make_terms(spec, variant), make_mass(variant)
    read_labels, read_class = make_read_labels(variant), make_read_class(variant)
    finish_tile = make_finish(variant)
    SOFT, MASS, KEEP = variant.soft, variant.mass, kept(variant)
    LOSS, GRAD, HESS, _ = variant.outputs
    read_examples, add_up, derive = make_steps(spec, variant)

    @with_loop
    def go_along(x, t, m, weight, keep, spread, factors, part, g, h):
        """What a class adds to the loss of each example, and the derivatives by it."""
        for lane in range(m):
            first = second = real(0)
            if MASS:
                p, mass = real(load_x(x, lane)), mass_on(t, lane, weight, keep, spread)
                first, second = slopes(p, mass, load_real(factors, lane))
                if LOSS:
                    poke(part, lane, peek(part, lane) + term(p, mass))
            if GRAD:
                store_x(g, lane, first)
            if HESS:
                store_x(h, lane, second)

    @jitable
    def compute_class(call, c, start, m, lines, part, buffers):
        """Take one class of the tile from where it lies, and to where it belongs."""
        width = call.per_tile * 8
        x_buffer, t_buffer, g_buffer, h_buffer = (
            buffers, buffers + width, buffers + 2 * width, buffers + 3 * width
        )  # fmt: skip
        x, g, h = call.x + c * call.x_step, call.g + c * call.g_step, call.h + c * call.h_step
        g_line = place(g, call.g_layout, start, m, g_buffer, x_bits) if GRAD else g
        h_line = place(h, call.h_layout, start, m, h_buffer, x_bits) if HESS else h
        x_line, t, weight = x, call.t, real(1)
        if MASS:
            x_line = fetch(x, call.x_layout, start, m, x_buffer, x_bits)
            if (GRAD and g_line == x_line) or (HESS and h_line == x_line):
                x_line = apart(x_line, m, x_buffer, x_bits)
            t, weight = read_class(call, c, start, m, t_buffer)
        keep, spread = real(call.keep), real(call.spread)
        go_along(x_line, t, m, weight, keep, spread, lines.factor, part, g_line, h_line)
        if GRAD:
            deliver(g_line, g, call.g_layout, start, m, g_buffer, x_bits)
        if HESS:
            deliver(h_line, h, call.h_layout, start, m, h_buffer, x_bits)

    @jitable
    def compute_tile(call, start, m, lines, part, wide, buffers):
        """Go over all classes; `beside` becomes the loss of the mass beside the class indices."""
        for lane in range(m):
            poke_float64(wide, lane, 0.0)
        for run in range(0, call.classes, SUM_RUN):
            for lane in range(m):
                poke(part, lane, real(0))
            for c in range(run, least(call.classes, run + SUM_RUN)):
                compute_class(call, c, start, m, lines, part, buffers)
            for lane in range(m):
                total = peek_float64(wide, lane) + np.float64(peek(part, lane))
                poke_float64(wide, lane, total)
        for lane in range(m):
            poke(lines.beside, lane, real(peek_float64(wide, lane)))

    def separable_lanes(record, chunk, slot):
        """Compute a chunk of examples, tile by tile; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        line = call.per_tile * 8
        scratch = allocate((LINES + 6) * line)
        lines = lines_at(scratch, line)
        part = scratch + LINES * line
        wide, buffers = part + line, part + 2 * line
        total = 0.0
        for start in range(first, last, call.per_tile):
            m = least(call.per_tile, last - start)
            weightless = read_examples(call, outer, start, m, lines)
            if not SOFT:
                read_labels(call, start, m, lines.y, lines.at_y)
            if MASS or KEEP:
                compute_tile(call, start, m, lines, part, wide, buffers)
            if LOSS:
                total += add_up(call, start, m, lines)
            if KEEP:
                if not SOFT:
                    derive(call, m, lines)
                finish_tile(call, start, m, lines, weightless)
        release(scratch)
        return total

    return separable_lanes
