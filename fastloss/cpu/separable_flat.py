"""Losses to which each class adds by itself, of short rows that lie one after the other.

The twin of `separable`: vectors run over all classes of a tile, whatever row they belong to,
and over its examples. Only sums are made row by row, and factors spread over them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import read_chunk
from fastloss.cpu.flat_tiles import (
    ACROSS_EXAMPLES,
    examples_per_tile,
    make_finish,
    make_read_labels,
    make_write_masses,
)
from fastloss.cpu.ir import allocate, least, release
from fastloss.cpu.loop import with_loop
from fastloss.cpu.memory import STORAGE
from fastloss.cpu.segments import VECTOR_BYTES, spread_rows, sum_rows
from fastloss.cpu.separable_examples import LINES, lines_at, make_steps, make_terms
from fastloss.cpu.transfers import BITS, apart
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
        functools.partial(_make, spec, variant), "separable_flat" + label_of(spec.name, variant)
    )


def _make(spec: SeparableSpec, variant: ClassVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, *_ = STORAGE[variant.predictions]
    t_size = STORAGE[variant.targets].itemsize
    real = real_dtype(variant.predictions).type
    size, load_real, _, peek, poke = STORAGE[real.__name__]
    x_bits = BITS[x_size]
    read_labels, write_masses = make_read_labels(variant), make_write_masses(variant)
    finish_tile = make_finish(variant)
    term, slopes = make_terms(spec, variant)
    SOFT, MASS = variant.soft, variant.mass
    LOSS, GRAD, HESS, _ = variant.outputs
    read_examples, add_up, derive = make_steps(spec, variant)

    @with_loop
    def write_terms(x, n, masses, terms):
        """Write what each class adds to the loss of its row."""
        for k in range(n):
            poke(terms, k, term(real(load_x(x, k)), load_real(masses, k)))

    @jitable
    def write_derivatives(x, n, masses, factors, g, h):
        """Write the derivatives by all classes, of the mass beside the class indices."""
        for k in range(n):
            first = second = real(0)
            if MASS:
                p, mass = real(load_x(x, k)), load_real(masses, k)
                first, second = slopes(p, mass, load_real(factors, k))
            if GRAD:
                store_x(g, k, first)
            if HESS:
                store_x(h, k, second)

    def separable_flat(record, chunk, slot):
        """Compute a chunk of examples, tile by tile; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        classes, examples = call.classes, call.per_tile
        line = examples * 8
        # Lines of a number for each class, and a vector to go on for.
        row = examples * classes * size + 2 * VECTOR_BYTES
        scratch = allocate(LINES * line + 3 * row)
        lines = lines_at(scratch, line)
        masses = scratch + LINES * line
        spare, buffer = masses + row, masses + 2 * row
        total = 0.0
        for start in range(first, last, examples):
            m = least(examples, last - start)
            n = m * classes
            x = call.x + start * classes * x_size
            g, h = call.g + start * classes * x_size, call.h + start * classes * x_size
            weightless = read_examples(call, outer, start, m, lines)
            if not SOFT:
                read_labels(call, start, m, lines.y, lines.at_y)
            if MASS:
                write_masses(call, call.t + start * classes * t_size, m, masses)
                if LOSS:
                    write_terms(x, n, masses, spare)
                    sum_rows(spare, m, classes, size, lines.beside, real(0))
            if LOSS:
                total += add_up(call, start, m, lines)
            if GRAD or HESS:
                if MASS:
                    spread_rows(lines.factor, m, classes, size, spare, peek)
                    if (GRAD and g == x) or (HESS and h == x):
                        x = apart(x, n, buffer, x_bits)
                write_derivatives(x, n, masses, spare, g, h)
                if not SOFT:
                    derive(call, m, lines)
                finish_tile(classes, m, lines, weightless, g, h)
        release(scratch)
        return total

    return separable_flat
