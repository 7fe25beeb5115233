"""Losses over classes out of formulas: rounds of reductions over a row, then its derivatives.

Every reduction is a loop of its own over the row, which lies in a cache by then, with the
formula inlined into it; one whose result the call does not need is left out by LLVM.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel
from fastloss.cpu.ir import least, load_tuple, running_max, running_sum
from fastloss.cpu.memory import STORAGE
from fastloss.cpu.rows import ACROSS_EXAMPLES, Steps, examples_per_chunk, make_rows
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline
from fastloss.labels import label_of
from fastloss.spec import Derived, Entry, Reduction, Round, RowSpec
from fastloss.variant import RowVariant

__all__ = ["ACROSS_EXAMPLES", "compute_kernel", "examples_per_chunk"]

#: Classes whose terms are added in the predictions' precision, before float64.
BLOCK = 2048


@functools.cache
def compute_kernel(spec: RowSpec, variant: RowVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`."""
    return Kernel(functools.partial(_make, spec, variant), label_of(spec.name, variant))


def _make(spec: RowSpec, variant: RowVariant) -> Callable[..., Any]:
    return make_rows(row_steps(spec, variant), variant)


def row_steps(spec: RowSpec, variant: RowVariant) -> Steps:
    """Return the steps for the dtypes and outputs of `variant`."""
    value_of, grad, hess = inline(spec.value), inline(spec.grad), inline(spec.hess)
    _, load_x, store_x, peek_x, _ = STORAGE[variant.predictions]
    real = real_dtype(variant.predictions).type
    SOFT = variant.soft
    _, GRAD, HESS, _ = variant.outputs
    where = (None,) * len(spec.parameters)
    target = _make_target(variant)
    reduce = no_rounds
    for round_ in spec.rounds:
        reduce = _after(reduce, _make_round(round_, variant, target))

    @register_jitable
    def look(call, x, t, y):
        """The number of classes, the prediction of the index, the results of all rounds."""
        options = load_tuple(call.options, where, real(0))
        at_y = real(0) if SOFT else real(peek_x(x, y))
        return reduce(x, t, y, call.classes, (real(call.classes), at_y), options)

    @inline
    def value(call, x, t, y, onehot, row, first):
        loss = np.float64(value_of(row, *load_tuple(call.options, where, real(0))))
        return loss if SOFT else onehot * loss

    @register_jitable
    def write(call, x, t, y, onehot, row, factor, g, h):
        options = load_tuple(call.options, where, real(0))
        f = real(factor if SOFT else factor * onehot)
        for c in range(call.classes):
            z, target_c = real(load_x(x, c)), target(t, c, y)
            if GRAD:
                store_x(g, c, f * real(grad(z, target_c, c, row, *options)))
            if HESS:
                store_x(h, c, f * real(hess(z, target_c, c, row, *options)))

    return Steps(look, value, write, whole=True)


def _make_target(variant: RowVariant) -> Any:
    """Make the function (t, c, y) -> the target of class c."""
    load_t = STORAGE[variant.targets].load
    real = real_dtype(variant.predictions).type
    SOFT = variant.soft

    def target(t, c, y):
        if SOFT:
            return real(load_t(t, c))
        return real(1) if c == y else real(0)

    return inline(target)


@inline
def no_rounds(x, t, y, classes, row, options):
    return row


def _after(before: Callable[..., Any], round_: Callable[..., Any]) -> Any:
    """Add the results of a round to those of the rounds before it."""

    def reduce(x, t, y, classes, row, options):
        return round_(x, t, y, classes, before(x, t, y, classes, row, options), options)

    return inline(reduce)


def _make_round(round_: Round, variant: RowVariant, target: Callable[..., Any]) -> Any:
    """Make the function (x, t, y, classes, row, options) -> `row` with the round's results."""
    results = no_results
    for reduction in round_.reductions:
        if isinstance(reduction, Entry):
            results = _beside(results, _make_entry(reduction, variant, target))
        elif isinstance(reduction, Derived):
            results = _beside(results, _make_derived(reduction, variant))
        else:
            results = _beside(results, _make_reduction(reduction, variant, target))
    if round_.again is None:

        @inline
        def once(x, t, y, classes, row, options):
            return row + results(x, t, y, classes, row, options)

        return once

    again = inline(round_.again)
    real = real_dtype(variant.predictions).type
    nothing = (real(0),) * len(round_.reductions)

    @register_jitable
    def repeated(x, t, y, classes, row, options):
        before = nothing
        after = results(x, t, y, classes, row + before, options)
        while again(before, after):
            before = after
            after = results(x, t, y, classes, row + before, options)
        return row + after

    return repeated


@inline
def no_results(x, t, y, classes, row, options):
    return ()


def _beside(others: Callable[..., Any], reduction: Callable[..., Any]) -> Any:
    """Add a reduction to those of its round."""

    def results(x, t, y, classes, row, options):
        one = reduction(x, t, y, classes, row, options)
        return others(x, t, y, classes, row, options) + (one,)  # noqa: RUF005 (Numba)

    return inline(results)


def _make_entry(entry: Entry, variant: RowVariant, target: Callable[..., Any]) -> Any:
    """Make the function (x, t, y, classes, row, options) -> the entry of one class."""
    load_x = STORAGE[variant.predictions].load
    real = real_dtype(variant.predictions).type
    C = entry.index

    def prediction(x, t, y, classes, row, options):
        return real(load_x(x, C))

    def target_of(x, t, y, classes, row, options):
        return target(t, C, y)

    return inline(prediction if entry.of == "prediction" else target_of)


def _make_derived(derived: Derived, variant: RowVariant) -> Any:
    """Make the function (x, t, y, classes, row, options) -> the number made of the row."""
    real = real_dtype(variant.predictions).type
    formula = inline(derived.formula)

    def of_row(x, t, y, classes, row, options):
        return real(formula(row, *options))

    return inline(of_row)


def _make_reduction(reduction: Reduction, variant: RowVariant, target: Callable[..., Any]) -> Any:
    """Make the function (x, t, y, classes, row, options) -> the number."""
    load_x = STORAGE[variant.predictions].load
    real = real_dtype(variant.predictions).type
    term = inline(reduction.term)

    @inline
    def term_of(x, t, y, c, row, options):
        return term(real(load_x(x, c)), target(t, c, y), c, row, *options)

    @register_jitable
    def total(x, t, y, classes, row, options):
        whole = 0.0
        for start in range(0, classes, BLOCK):
            part = real(0)
            for c in range(start, least(classes, start + BLOCK)):
                part = running_sum(part, real(term_of(x, t, y, c, row, options)))
            whole += np.float64(part)
        return real(whole)

    @register_jitable
    def largest(x, t, y, classes, row, options):
        found = real(-np.inf)
        # A zero that LLVM does not see as one: it would skip terms of -inf by a branch.
        zero = real(classes) * real(0)
        for c in range(classes):
            found = running_max(found, real(term_of(x, t, y, c, row, options)) + zero)
        return found

    @register_jitable
    def earliest(x, t, y, classes, row, options):
        found = classes
        for c in range(classes):
            found = least(found, c if term_of(x, t, y, c, row, options) else classes)
        return found

    return {"sum": total, "max": largest, "first": earliest}[reduction.operation]
