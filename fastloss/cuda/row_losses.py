"""Losses over classes out of formulas: rounds of reductions over a row, then its derivatives.

The twin of `fastloss.cpu.row_losses`. Every thread of a group reads its share of the row for
each reduction, and the group brings the parts together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.examples import ClassCall
from fastloss.cuda.group import Group, group_of
from fastloss.cuda.memory import STORAGE, place_in_row
from fastloss.cuda.options import options_of, record_of
from fastloss.cuda.primitives import WIDE, cuda
from fastloss.cuda.rows import Steps, make_rows, row_parts
from fastloss.cuda.variant import Mapping, RowVariant
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline, maximum
from fastloss.labels import label_of
from fastloss.spec import Derived, Entry, Reduction, Round, RowSpec


@functools.cache
def compute_kernel(spec: RowSpec, variant: RowVariant, mapping: Mapping) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`."""

    def make() -> Callable[..., Any]:
        return make_rows(row_steps(spec, variant, mapping), variant, mapping)

    record = record_of(ClassCall, (False,) * len(spec.parameters))
    return Kernel(make, record, mapping.threads, label_of(spec.name, variant, mapping))


def row_steps(spec: RowSpec, variant: RowVariant, mapping: Mapping) -> Steps:
    """Return the steps for the dtypes and outputs of `variant`."""
    value_of, grad, hess = inline(spec.value), inline(spec.grad), inline(spec.hess)
    x_size, load_x, store_x, load_wide_x, store_wide_x = STORAGE[variant.predictions]
    t_size, load_t, _, load_wide_t, _ = STORAGE[variant.targets]
    real: Any = real_dtype(variant.predictions).type
    SOFT = variant.soft
    _, GRAD, HESS, _ = variant.outputs
    GROUP, WIDE_ROWS = mapping.group, mapping.wide
    LANES = WIDE // x_size
    parts_of = row_parts(x_size, WIDE_ROWS)
    place = place_in_row(mapping.strided)
    options_at = options_of(ClassCall, (False,) * len(spec.parameters), real)
    reduce = no_rounds
    for round_ in spec.rounds:
        reduce = _after(reduce, _make_round(round_, variant, mapping))

    @inline
    def evaluate(call, x, t, n, lane, y, onehot, board, words):
        options = options_at(call, 0)
        at_y = real(0)
        if not SOFT:
            at_y = real(load_x(place(x, max(y, np.int64(0)), call.x_step, call.x_row)))
        row = reduce(call, x, t, n, lane, y, board, (real(call.classes), at_y), options)
        value = np.float64(value_of(row, *options))
        return value if SOFT else onehot * value, row

    @inline
    def derive(z, t, c, row, options, factor):
        """(first, second) derivative by the prediction of class c."""
        d = factor * real(grad(z, t, c, row, *options)) if GRAD else real(0)
        return d, factor * real(hess(z, t, c, row, *options)) if HESS else real(0)

    @inline
    def write(call, x, t, g, h, n, lane, live, y, onehot, factor, row, words):
        options = options_at(call, 0)
        f = factor if SOFT else factor * real(onehot)
        head, wide, edges = parts_of(x, n)
        for k in range(lane, edges, GROUP):
            c = k if k < head else k + wide * LANES
            target = real(1) if c == y else real(0)
            if SOFT:
                target = real(load_t(place(t, c, call.t_step, call.t_row)))
            z = real(load_x(place(x, c, call.x_step, call.x_row)))
            d, dd = derive(z, target, c, row, options, f)
            if GRAD:
                store_x(place(g, c, call.g_step, call.g_row), d if live else real(0))
            if HESS:
                store_x(place(h, c, call.h_step, call.h_row), dd if live else real(0))
        if WIDE_ROWS:
            chunk = cuda.local.array(LANES, real)
            soft = cuda.local.array(LANES, real)
            second = cuda.local.array(LANES, real)
            for v in range(lane, wide, GROUP):
                c = head + v * LANES
                load_wide_x(x + c * x_size, chunk)
                if SOFT:
                    load_wide_t(t + c * t_size, soft)
                for k in range(LANES):
                    target = real(1) if c + k == y else real(0)
                    if SOFT:
                        target = soft[k]
                    d, dd = derive(chunk[k], target, c + k, row, options, f)
                    chunk[k] = d if live else real(0)
                    second[k] = dd if live else real(0)
                if GRAD:
                    store_wide_x(g + c * x_size, chunk)
                if HESS:
                    store_wide_x(h + c * x_size, second)

    return Steps(evaluate, write)


# --- rounds -----------------------------------------------------------------------------


@inline
def no_rounds(call, x, t, n, lane, y, board, row, options):
    return row


def _after(before: Callable[..., Any], round_: Callable[..., Any]) -> Any:
    """Add the results of a round to those of the rounds before it."""

    def reduce(call, x, t, n, lane, y, board, row, options):
        row = before(call, x, t, n, lane, y, board, row, options)
        return round_(call, x, t, n, lane, y, board, row, options)

    return inline(reduce)


def _make_round(round_: Round, variant: RowVariant, mapping: Mapping) -> Any:
    """Make the function that adds the results of a round to `row`."""
    results = no_results
    for reduction in round_.reductions:
        if isinstance(reduction, Entry):
            results = _beside(results, _make_entry(reduction, variant, mapping))
        elif isinstance(reduction, Derived):
            several = reduction.count is not None
            results = _beside(results, _make_derived(reduction, variant), several)
        else:
            results = _beside(results, _make_reduction(reduction, variant, mapping))
    if round_.again is None:

        @inline
        def once(call, x, t, n, lane, y, board, row, options):
            return row + results(call, x, t, n, lane, y, board, row, options)

        return once

    again = inline(round_.again)
    real: Any = real_dtype(variant.predictions).type
    nothing = (real(0),) * round_.count
    # Threads that exchange values must go round equally often: groups wait for each other.
    largest = group_of(mapping.threads if mapping.group > 1 else 1, real).largest

    @inline
    def repeated(call, x, t, n, lane, y, board, row, options):
        before = nothing
        after = results(call, x, t, n, lane, y, board, row + before, options)
        going = again(before, after)
        while largest(real(1) if going else real(0), board) > real(0):
            more = results(call, x, t, n, lane, y, board, row + after, options)
            if going:
                before, after = after, more
                going = again(before, after)
        return row + after

    return repeated


@inline
def no_results(call, x, t, n, lane, y, board, row, options):
    return ()


def _beside(
    others: Callable[..., Any], reduction: Callable[..., Any], several: bool = False
) -> Any:
    """Add a reduction to those of its round; `several`: its result is a tuple of numbers."""

    def results(call, x, t, n, lane, y, board, row, options):
        before = others(call, x, t, n, lane, y, board, row, options)
        return (*before, reduction(call, x, t, n, lane, y, board, row, options))

    def more_results(call, x, t, n, lane, y, board, row, options):
        before = others(call, x, t, n, lane, y, board, row, options)
        return before + reduction(call, x, t, n, lane, y, board, row, options)

    return inline(more_results if several else results)


# --- one reduction ----------------------------------------------------------------------


class Fold(NamedTuple):
    """How terms become one number: `start(call)`, `take(part, term, c)`, `finish(part, board)`."""

    start: Callable[..., Any]
    take: Callable[..., Any]
    finish: Callable[..., Any]


def _make_fold(operation: str, group: Group, of_numbers: Group, real: Any) -> Fold:
    """Make the fold of an operation; `of_numbers` is the same group, for float64."""
    total, largest, numbered = group.total, group.largest, of_numbers.largest

    @inline
    def zero(call):
        return real(0)

    @inline
    def plus(part, term, c):
        return part + real(term)

    @inline
    def lowest(call):
        return real(-np.inf)

    @inline
    def larger(part, term, c):
        return maximum(part, real(term))

    @inline
    def none(call):
        return np.int64(call.classes)

    @inline
    def earlier(part, term, c):
        return min(part, np.int64(c)) if term else part

    @inline
    def earliest(part, board):
        return np.int64(-numbered(np.float64(-part), board))

    return {
        "sum": Fold(zero, plus, total),
        "max": Fold(lowest, larger, largest),
        "first": Fold(none, earlier, earliest),
    }[operation]


def _make_entry(entry: Entry, variant: RowVariant, mapping: Mapping) -> Any:
    """Make the function that reads the entry of one class; every thread does."""
    load_x, load_t = STORAGE[variant.predictions].load, STORAGE[variant.targets].load
    real: Any = real_dtype(variant.predictions).type
    place = place_in_row(mapping.strided)
    PREDICTION, SOFT = entry.of == "prediction", variant.soft
    C = entry.index

    @inline
    def read(call, x, t, n, lane, y, board, row, options):
        if PREDICTION:
            return real(load_x(place(x, C, call.x_step, call.x_row)))
        if SOFT:
            return real(load_t(place(t, C, call.t_step, call.t_row)))
        return real(1) if y == C else real(0)

    return read


def _make_derived(derived: Derived, variant: RowVariant) -> Any:
    """Make the function that computes a number made of the row, or several; every thread does."""
    real: Any = real_dtype(variant.predictions).type
    formula = inline(derived.formula)

    @inline
    def of_row(call, x, t, n, lane, y, board, row, options):
        return real(formula(row, *options))

    @inline
    def several(call, x, t, n, lane, y, board, row, options):
        return formula(row, *options)

    return of_row if derived.count is None else several


def _make_reduction(reduction: Reduction, variant: RowVariant, mapping: Mapping) -> Any:
    """Make the function that computes a reduction with the whole group."""
    x_size, load_x, _, load_wide_x, _ = STORAGE[variant.predictions]
    t_size, load_t, _, load_wide_t, _ = STORAGE[variant.targets]
    real: Any = real_dtype(variant.predictions).type
    SOFT = variant.soft
    GROUP, WIDE_ROWS = mapping.group, mapping.wide
    LANES = WIDE // x_size
    parts_of = row_parts(x_size, WIDE_ROWS)
    place = place_in_row(mapping.strided)
    term = inline(reduction.term)
    start, take, finish = _make_fold(
        reduction.operation, group_of(GROUP, real), group_of(GROUP, np.float64), real
    )

    @inline
    def reduce(call, x, t, n, lane, y, board, row, options):
        part = start(call)
        head, wide, edges = parts_of(x, n)
        for k in range(lane, edges, GROUP):
            c = k if k < head else k + wide * LANES
            target = real(1) if c == y else real(0)
            if SOFT:
                target = real(load_t(place(t, c, call.t_step, call.t_row)))
            z = real(load_x(place(x, c, call.x_step, call.x_row)))
            part = take(part, term(z, target, c, row, *options), c)
        if WIDE_ROWS:
            chunk = cuda.local.array(LANES, real)
            soft = cuda.local.array(LANES, real)
            for v in range(lane, wide, GROUP):
                first = head + v * LANES
                load_wide_x(x + first * x_size, chunk)
                if SOFT:
                    load_wide_t(t + first * t_size, soft)
                for k in range(LANES):
                    c = first + k
                    target = real(1) if c == y else real(0)
                    if SOFT:
                        target = soft[k]
                    part = take(part, term(chunk[k], target, c, row, *options), c)
        return finish(part, board)

    return reduce
