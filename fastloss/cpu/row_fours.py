"""Losses out of formulas over four classes, as boxes have them, one row after the other in memory.

The twin of `row_lanes` without its tiles: vectors run across the examples, and all that is made of
an example stays in registers. So the arrays are read and written in one stream; in tiles they come
in bursts, while which nothing is computed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import entry_of, make_write_zeros, read_chunk
from fastloss.cpu.ir import IN_RECORD, allocate, least, load_tuple, release
from fastloss.cpu.lines import STEP, read_line, write_line
from fastloss.cpu.memory import STORAGE
from fastloss.cpu.row_lanes import ACROSS_EXAMPLES, examples_per_tile
from fastloss.cpu.row_parts import ALIVE, FACTOR, PART, ROW, WEIGHT, make_sum, serves
from fastloss.cpu.transfers import BITS, apart
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline, jitable
from fastloss.labels import label_of
from fastloss.spec import Derived, Entry, RowSpec, count_of
from fastloss.variant import RowVariant

__all__ = ["ACROSS_EXAMPLES", "CLASSES", "compute_kernel", "examples_per_tile"]

CLASSES = 4


@functools.cache
def compute_kernel(spec: RowSpec, variant: RowVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`."""
    return Kernel(functools.partial(_make, spec, variant), "fours" + label_of(spec.name, variant))


def _make(spec: RowSpec, variant: RowVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, *_ = STORAGE[variant.predictions]
    t_size, load_t, *_ = STORAGE[variant.targets]
    real = real_dtype(variant.predictions).type
    x_bits = BITS[x_size]
    value, grad, hess = inline(spec.value), inline(spec.grad), inline(spec.hess)
    row_of = _make_row(spec, variant)
    add_up, write_zeros = make_sum(variant), make_write_zeros(variant)
    LOSS, GRAD, HESS, _ = variant.outputs
    where = (IN_RECORD,) * len(spec.parameters)

    @jitable
    def weigh(call, outer, start, m, lines):
        """Write what the losses and the derivatives of examples are multiplied by."""
        for lane in range(m):
            w = entry_of(call.w, start + lane)
            write_line(lines, WEIGHT, lane, w)
            write_line(lines, FACTOR, lane, real(outer * w * entry_of(call.u, start + lane)))
            write_line(lines, ALIVE, lane, real(w != 0.0))

    @jitable
    def compute(m, x, t, g, h, lines, options):
        for lane in range(m):
            first = CLASSES * lane
            row = row_of(x, t, first, options)
            f = read_line(lines, FACTOR, lane, real(0))
            if LOSS:
                write_line(lines, PART, lane, real(value(row, *options)))
            for c in range(CLASSES):
                z, t_c = real(load_x(x, first + c)), real(load_t(t, first + c))
                if GRAD:
                    store_x(g, first + c, f * real(grad(z, t_c, c, row, *options)))
                if HESS:
                    store_x(h, first + c, f * real(hess(z, t_c, c, row, *options)))

    @jitable
    def clear(m, g, h, lines):
        """Clear the derivatives of examples of weight 0; a choice above would store by masks."""
        for lane in range(m):
            if read_line(lines, ALIVE, lane, real(0)) == real(0):
                at = lane * CLASSES * x_size
                write_zeros(CLASSES, g + at, h + at)

    def row_fours(record, chunk, slot):
        """Compute a chunk of examples, some at a time; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        lanes = call.per_tile
        lines = allocate(ROW * STEP + lanes * CLASSES * x_size)
        buffer = lines + ROW * STEP
        options = load_tuple(call.options, where, real(0))
        weighted = call.w != 0 or call.u != 0
        total = 0.0
        for start in range(first, last, lanes):
            m = least(lanes, last - start)
            if weighted or start == first:
                weigh(call, outer, start, m, lines)
            at = start * CLASSES * x_size
            x, g, h = call.x + at, call.g + at, call.h + at
            if (GRAD and g == x) or (HESS and h == x):
                x = apart(x, CLASSES * m, buffer, x_bits)
            compute(m, x, call.t + start * CLASSES * t_size, g, h, lines, options)
            if call.w != 0:
                clear(m, g, h, lines)
            if LOSS:
                total += add_up(call, start, m, lines)
        release(lines)
        return total

    return row_fours


def _make_row(spec: RowSpec, variant: RowVariant) -> Any:
    """Make the function (x, t, first, options) -> `row`; `first` is the number of the first class.

    The spec begins with all predictions and targets; what follows are numbers made of the row.
    """
    load_x, load_t = STORAGE[variant.predictions].load, STORAGE[variant.targets].load
    real = real_dtype(variant.predictions).type
    entries, *rounds = spec.rounds
    found = [(part.of, part.index) for part in entries.reductions if isinstance(part, Entry)]
    assert found == [(of, c) for of in ("prediction", "target") for c in range(CLASSES)]

    @inline
    def whole(x, t, first, options):
        return (
            real(CLASSES), real(0),
            real(load_x(x, first)), real(load_x(x, first + 1)),
            real(load_x(x, first + 2)), real(load_x(x, first + 3)),
            real(load_t(t, first)), real(load_t(t, first + 1)),
            real(load_t(t, first + 2)), real(load_t(t, first + 3)),
        )  # fmt: skip

    row_of = whole
    for round_ in rounds:
        more = _no_more
        for part in round_.reductions:
            assert isinstance(part, Derived)
            more = _beside(more, part, variant)
        row_of = _after(row_of, more)
    return row_of


def _after(before: Any, more: Any) -> Any:
    """Add what a round makes of the row."""

    @inline
    def row_of(x, t, first, options):
        row = before(x, t, first, options)
        return row + more(row, options)

    return row_of


@inline
def _no_more(row, options):
    return ()


def _beside(others: Any, derived: Derived, variant: RowVariant) -> Any:
    """Make the function (row, options) of a round's results: `others`, and one part's."""
    real = real_dtype(variant.predictions).type
    formula = inline(derived.formula)
    nothing = (real(0),) * count_of(derived)

    @inline
    def not_needed(row, options):
        return others(row, options) + nothing

    @inline
    def one(row, options):
        return others(row, options) + (real(formula(row, *options)),)  # noqa: RUF005 (Numba)

    @inline
    def several(row, options):
        return others(row, options) + formula(row, *options)

    if not serves(derived, variant.outputs):
        return not_needed
    return one if derived.count is None else several
