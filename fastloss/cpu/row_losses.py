"""Losses over classes out of formulas: rounds of reductions over a row, then its derivatives.

Every reduction is a loop of its own, with the formula inlined into it; one whose result the
call does not need is left out by LLVM. Those of a round take the row together, block by block,
so that a block is in the nearest cache for all but the first of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.ir import IN_RECORD, least, load_tuple, running_max, running_sum
from fastloss.cpu.loop import with_loop
from fastloss.cpu.memory import STORAGE
from fastloss.cpu.rows import ACROSS_EXAMPLES, Steps, make_rows
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline, jitable
from fastloss.labels import label_of
from fastloss.spec import Derived, Entry, Reduction, Round, RowSpec
from fastloss.variant import RowVariant

__all__ = ["ACROSS_EXAMPLES", "compute_kernel"]

#: Classes that the reductions of a round take at a time. Their terms are added in the predictions'
#: precision, the sums of blocks in float64.
BLOCK = 2048

#: Beyond the number of every class.
NO_CLASS = 2**62


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
    where = (IN_RECORD,) * len(spec.parameters)
    target = _make_target(variant)
    reduce = no_rounds
    for round_ in spec.rounds:
        reduce = _after(reduce, _make_round(round_, variant, target))

    @jitable
    def look(call, x, t, y):
        """The number of classes, the prediction of the index, the results of all rounds."""
        options = load_tuple(call.options, where, real(0))
        at_y = real(0) if SOFT else real(peek_x(x, y))
        return reduce(x, t, y, call.classes, (real(call.classes), at_y), options)

    @inline
    def value(call, x, t, y, onehot, row):
        loss = np.float64(value_of(row, *load_tuple(call.options, where, real(0))))
        return loss if SOFT else onehot * loss

    @with_loop
    def write(call, x, t, y, onehot, row, factor, g, h):
        options = load_tuple(call.options, where, real(0))
        f = real(factor if SOFT else factor * onehot)
        for c in range(call.classes):
            z, target_c = real(load_x(x, c)), target(t, c, y)
            if GRAD:
                store_x(g, c, f * real(grad(z, target_c, c, row, *options)))
            if HESS:
                store_x(h, c, f * real(hess(z, target_c, c, row, *options)))

    return Steps(look, value, write)


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
    start, take, finish = _make_folds(round_, variant, target)

    @jitable
    def results(x, t, y, classes, row, options):
        parts = start(classes)
        for first in range(0, classes, BLOCK):
            last = least(classes, first + BLOCK)
            parts = take(parts, x, t, y, first, last, row, options)
        return finish(parts, x, t, y, row, options)

    if round_.again is None:

        @inline
        def once(x, t, y, classes, row, options):
            return row + results(x, t, y, classes, row, options)

        return once

    again = inline(round_.again)
    real = real_dtype(variant.predictions).type
    nothing = (real(0),) * round_.count

    @jitable
    def repeated(x, t, y, classes, row, options):
        before = nothing
        after = results(x, t, y, classes, row + before, options)
        while again(before, after):
            before = after
            after = results(x, t, y, classes, row + before, options)
        return row + after

    return repeated


# --- the reductions of a round ----------------------------------------------------------


class Fold(NamedTuple):
    """How a row becomes a number, block by block; or how several become a tuple."""

    #: (classes) -> what is known before the first block.
    start: Callable[..., Any]
    #: (part, x, t, y, first, last, row, options) -> what is known after the block.
    take: Callable[..., Any]
    #: (part, x, t, y, row, options) -> the result.
    finish: Callable[..., Any]


def _make_folds(round_: Round, variant: RowVariant, target: Callable[..., Any]) -> Fold:
    """Make the fold of all reductions of a round, which advance together."""
    folds = Fold(no_start, no_take, no_finish)
    for reduction in round_.reductions:
        if isinstance(reduction, Entry):
            folds = _beside(folds, _make_entry(reduction, variant, target))
        elif isinstance(reduction, Derived):
            several = reduction.count is not None
            folds = _beside(folds, _make_derived(reduction, variant), several)
        else:
            folds = _beside(folds, _make_reduction(reduction, variant, target))
    return folds


@inline
def no_start(classes):
    return ()


@inline
def no_take(parts, x, t, y, first, last, row, options):
    return parts


@inline
def no_finish(parts, x, t, y, row, options):
    return ()


def _beside(others: Fold, one: Fold, several: bool = False) -> Fold:
    """Add a reduction to those of its round; its part stands beside all of theirs.

    `several`: its result is a tuple of numbers.
    """
    others_start, others_take, others_finish = others
    one_start, one_take, one_finish = one

    @inline
    def start(classes):
        return others_start(classes), one_start(classes)

    @inline
    def take(parts, x, t, y, first, last, row, options):
        return (
            others_take(parts[0], x, t, y, first, last, row, options),
            one_take(parts[1], x, t, y, first, last, row, options),
        )

    @inline
    def finish(parts, x, t, y, row, options):
        one = one_finish(parts[1], x, t, y, row, options)
        return others_finish(parts[0], x, t, y, row, options) + (one,)  # noqa: RUF005 (Numba)

    @inline
    def finish_several(parts, x, t, y, row, options):
        several = one_finish(parts[1], x, t, y, row, options)
        return others_finish(parts[0], x, t, y, row, options) + several

    return Fold(start, take, finish_several if several else finish)


def _make_entry(entry: Entry, variant: RowVariant, target: Callable[..., Any]) -> Fold:
    """Make the fold that reads the entry of one class."""
    load_x = STORAGE[variant.predictions].load
    real = real_dtype(variant.predictions).type
    C = entry.index

    @inline
    def prediction(parts, x, t, y, row, options):
        return real(load_x(x, C))

    @inline
    def target_of(parts, x, t, y, row, options):
        return target(t, C, y)

    return Fold(no_start, no_take, prediction if entry.of == "prediction" else target_of)


def _make_derived(derived: Derived, variant: RowVariant) -> Fold:
    """Make the fold that computes a number made of the row, or several."""
    real = real_dtype(variant.predictions).type
    formula = inline(derived.formula)

    @inline
    def of_row(parts, x, t, y, row, options):
        return real(formula(row, *options))

    @inline
    def several(parts, x, t, y, row, options):
        return formula(row, *options)

    return Fold(no_start, no_take, of_row if derived.count is None else several)


def _make_reduction(reduction: Reduction, variant: RowVariant, target: Callable[..., Any]) -> Fold:
    """Make the fold of the terms of all classes."""
    load_x = STORAGE[variant.predictions].load
    real = real_dtype(variant.predictions).type
    term = inline(reduction.term)

    @inline
    def term_of(x, t, y, c, row, options):
        return term(real(load_x(x, c)), target(t, c, y), c, row, *options)

    @inline
    def nothing(classes):
        return 0.0

    @jitable
    def add(whole, x, t, y, first, last, row, options):
        part = real(0)
        for c in range(first, last):
            part = running_sum(part, real(term_of(x, t, y, c, row, options)))
        return whole + np.float64(part)

    @inline
    def as_real(whole, x, t, y, row, options):
        return real(whole)

    @inline
    def lowest(classes):
        # With a zero that LLVM does not see as one: it would skip terms of -inf by a branch.
        return real(-np.inf), real(classes) * real(0)

    @jitable
    def raise_to(part, x, t, y, first, last, row, options):
        found, zero = part
        for c in range(first, last):
            found = running_max(found, real(term_of(x, t, y, c, row, options)) + zero)
        return found, zero

    @inline
    def without_zero(part, x, t, y, row, options):
        return part[0]

    @inline
    def beyond(classes):
        return classes

    @jitable
    def find(found, x, t, y, first, last, row, options):
        for c in range(first, last):
            found = least(found, c if term_of(x, t, y, c, row, options) else NO_CLASS)
        return found

    @inline
    def as_it_is(found, x, t, y, row, options):
        return found

    return {
        "sum": Fold(nothing, add, as_real),
        "max": Fold(lowest, raise_to, without_zero),
        "first": Fold(beyond, find, as_it_is),
    }[reduction.operation]
