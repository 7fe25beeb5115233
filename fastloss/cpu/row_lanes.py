"""Losses over classes out of formulas, where neighbours are examples: `row_losses` for few classes.

Vectors run across the examples, for rows too short for a vector and for a class axis that is
not the last in memory. A tile of examples is read once into scratch memory, one line for each
class. Every number of a row is a line as well, so each step is a loop over the classes with one
over the examples in it, and the formula inlined into that. No example's numbers meet another's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import entry_of, read_chunk
from fastloss.cpu.ir import IN_RECORD, allocate, least, load_tuple, release, running_max
from fastloss.cpu.lines import STEP, read_line, read_lines, write_line, write_lines
from fastloss.cpu.loop import with_loop
from fastloss.cpu.memory import STORAGE, load_int64
from fastloss.cpu.row_parts import (
    ALIVE,
    FACTOR,
    GOING,
    INDEX,
    MORE,
    PART,
    ROW,
    WEIGHT,
    WHOLE,
    make_sum,
    serves,
)  # fmt: skip
from fastloss.cpu.tiles import examples_per_tile, make_read, make_write
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline, jitable
from fastloss.labels import label_of
from fastloss.spec import Derived, Entry, Reduction, Round, RowSpec, count_of
from fastloss.variant import RowVariant

__all__ = ["ACROSS_EXAMPLES", "compute_kernel", "examples_per_tile"]

#: Whether neighbours in a kernel's loops are examples; else they are classes.
ACROSS_EXAMPLES = True

#: Classes whose terms are added in the predictions' precision, before float64.
SUM_RUN = 32


class Tile(NamedTuple):
    """A tile: the number of classes and of examples, and the addresses of its lines.

    x, t and h (predictions, targets, hessian) have one for each class, `row` bytes apart; those
    of x become the gradient.
    """

    classes: int
    m: int
    lines: int
    x: int
    t: int
    h: int
    row: int


Step = Callable[..., Any]  # (tile, options): a step that reads and writes lines of the tile


@functools.cache
def compute_kernel(spec: RowSpec, variant: RowVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`."""
    return Kernel(functools.partial(_make, spec, variant), "lanes" + label_of(spec.name, variant))


def _make(spec: RowSpec, variant: RowVariant) -> Callable[..., Any]:
    real = real_dtype(variant.predictions).type
    size, _, _, peek, _ = STORAGE[real.__name__]
    index = _index_of(real)
    SOFT = variant.soft
    LOSS, GRAD, HESS, _ = variant.outputs
    read_x = read_t = make_read(variant.predictions, real, variant.rows)
    if variant.targets != variant.predictions:
        read_t = make_read(variant.targets, real, variant.rows)
    write_x = make_write(variant.predictions, variant.rows)
    reduce, likes = _make_rounds(spec, variant)
    evaluate = _make_losses(spec, variant, likes)
    derive = _make_derivatives(spec, variant, likes)
    LINES = (ROW + len(likes) + _most_repeated(spec)) * STEP
    TILES = 1 + SOFT + HESS
    where = (IN_RECORD,) * len(spec.parameters)

    @jitable
    def read_examples(call, outer, start, tile):
        """Find each example's class, its prediction and its weights."""
        for lane in range(tile.m):
            y, w, onehot = 0, 1.0, 1.0
            if not SOFT:
                y = load_int64(call.t, start + lane)
                if y == call.ignore_index:
                    y, w = 0, 0.0  # what is looked up for it has weight 0
                onehot = entry_of(call.class_weight, y)
                write_line(tile.lines, INDEX, lane, index(y))
                write_line(tile.lines, ROW, lane, peek(tile.x + y * tile.row, lane))
            if w != 0.0:
                w = entry_of(call.w, start + lane)
            f = outer * w * entry_of(call.u, start + lane) * onehot
            write_line(tile.lines, FACTOR, lane, real(f))
            write_line(tile.lines, ALIVE, lane, real(w != 0.0))
            write_line(tile.lines, WEIGHT, lane, w * onehot)

    def row_lanes(record, chunk, slot):
        """Compute a chunk of examples, tile by tile; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        classes, lanes = call.classes, call.per_tile
        # A power of 2 from line to line would make them compete for the same cache sets.
        row = lanes * size + 64
        lines = allocate(LINES + TILES * classes * row + 8 * lanes)
        x = lines + LINES
        t = x + classes * row if SOFT else x
        h = t + classes * row
        buffer = lines + LINES + TILES * classes * row
        options = load_tuple(call.options, where, real(0))
        total = 0.0
        for start in range(first, last, lanes):
            m = least(lanes, last - start)
            tile = Tile(classes, m, lines, x, t, h, row)
            read_x(call.x, call.x_step, call.x_layout, classes, start, m, x, row, buffer)
            if SOFT:
                read_t(call.t, call.t_step, call.t_layout, classes, start, m, t, row, buffer)
            read_examples(call, outer, start, tile)
            reduce(tile, options)
            if LOSS:
                total += evaluate(call, start, tile, options)
            if GRAD:
                derive(tile, options)
                write_x(call.g, call.g_step, call.g_layout, classes, start, m, x, row, buffer)
            if HESS:
                write_x(call.h, call.h_step, call.h_layout, classes, start, m, h, row, buffer)
        release(lines)
        return total

    return row_lanes


def _make_losses(spec: RowSpec, variant: RowVariant, likes: tuple[Any, ...]) -> Any:
    """Make the function that writes a tile's losses where they are wanted; it returns the sum."""
    real = real_dtype(variant.predictions).type
    value = inline(spec.value)
    row_of = _row_reader(likes, real)
    add_up = make_sum(variant)

    @with_loop
    def evaluate(call, start, tile, options):
        for lane in range(tile.m):
            write_line(tile.lines, PART, lane, real(value(row_of(tile, lane), *options)))
        return add_up(call, start, tile.m, tile.lines)

    return evaluate


def _make_derivatives(spec: RowSpec, variant: RowVariant, likes: tuple[Any, ...]) -> Any:
    """Make the function that turns the predictions of a tile into its derivatives."""
    real = real_dtype(variant.predictions).type
    _, _, _, peek, poke = STORAGE[real.__name__]
    grad, hess = inline(spec.grad), inline(spec.hess)
    target = _make_target(variant)
    index = _index_of(real)
    row_of = _row_reader(likes, real)
    HESS = variant.outputs.hess

    @with_loop
    def derive(tile, options):
        for c in range(tile.classes):
            x, h, number = tile.x + c * tile.row, tile.h + c * tile.row, index(c)
            for lane in range(tile.m):
                z, t, row = peek(x, lane), target(tile, c, lane), row_of(tile, lane)
                f = read_line(tile.lines, FACTOR, lane, real(0))
                alive = read_line(tile.lines, ALIVE, lane, real(0)) != real(0)
                by_z = f * real(grad(z, t, number, row, *options))
                if HESS:
                    by_zz = f * real(hess(z, t, number, row, *options))
                    poke(h, lane, by_zz if alive else real(0))
                poke(x, lane, by_z if alive else real(0))

    return derive


# --- the numbers of a row ---------------------------------------------------------------


def _index_of(real: Any) -> Any:
    """Return the integer type of the size of `real`: together they fill the same vectors."""
    return np.int32 if np.dtype(real).itemsize == 4 else np.int64


def _row_reader(likes: tuple[Any, ...], real: Any) -> Any:
    """Make the function (tile, lane) -> the tuple `row` of formulas."""

    def row_of(tile, lane):
        rest = read_lines(tile.lines, ROW, lane, likes, real(0))
        return (real(tile.classes),) + rest  # noqa: RUF005 (Numba)

    return inline(row_of)


def _make_target(variant: RowVariant) -> Any:
    """Make the function (tile, c, lane) -> the target of class c."""
    real = real_dtype(variant.predictions).type
    peek = STORAGE[real.__name__].peek
    index = _index_of(real)
    SOFT = variant.soft

    def target(tile, c, lane):
        if SOFT:
            return peek(tile.t + c * tile.row, lane)
        return real(1) if read_line(tile.lines, INDEX, lane, index(0)) == index(c) else real(0)

    return inline(target)


def _likes(part: Reduction | Entry | Derived, variant: RowVariant) -> tuple[Any, ...]:
    """Return numbers of the types of a part's results; None for those that are not needed."""
    real = real_dtype(variant.predictions).type
    if not serves(part, variant.outputs):
        return (None,) * count_of(part)
    like = _index_of(real)(0) if getattr(part, "operation", "") == "first" else real(0)
    return (like,) * count_of(part)


def _likes_of_round(round_: Round, variant: RowVariant) -> tuple[Any, ...]:
    """Return the same for all results of a round."""
    return sum([_likes(part, variant) for part in round_.reductions], ())


def _most_repeated(spec: RowSpec) -> int:
    """Return how many results a round has that is computed again, at most."""
    return max([round_.count for round_ in spec.rounds if round_.again is not None], default=0)


# --- rounds -----------------------------------------------------------------------------


def _make_rounds(spec: RowSpec, variant: RowVariant) -> tuple[Step, tuple[Any, ...]]:
    """Make the step of all rounds; return the types of the entries of `row`, too."""
    real = real_dtype(variant.predictions).type
    likes: tuple[Any, ...] = (None if variant.soft else real(0),)
    steps: list[Step] = []
    for round_ in spec.rounds:
        results = _likes_of_round(round_, variant)
        if round_.again is None:
            steps += _make_results(round_, variant, likes, ROW + len(likes))
        else:
            steps.append(_make_repeated(round_, variant, likes))
        likes += results
    return _in_turn(steps), likes


@inline
def _nothing(tile, options):
    pass


def _in_turn(steps: list[Step]) -> Any:
    """Make one step of several.

    By fours: a function for each two would be inlined, and optimised, into the next one.
    """
    if len(steps) == 1:
        return steps[0]
    if len(steps) > 4:
        return _in_turn([_in_turn(steps[:4]), *steps[4:]])
    first, second, third, fourth = steps + [_nothing] * (4 - len(steps))

    @inline
    def in_turn(tile, options):
        first(tile, options)
        second(tile, options)
        third(tile, options)
        fourth(tile, options)

    return in_turn


def _make_results(
    round_: Round, variant: RowVariant, likes: tuple[Any, ...], first: int
) -> list[Step]:
    """Make the steps that compute the results of a round into the lines from `first` on."""
    steps: list[Step] = []
    entries: dict[str, list[tuple[int, int]]] = {"prediction": [], "target": []}
    derived: Any = None
    line = first
    for part in round_.reductions:
        if not serves(part, variant.outputs):
            pass
        elif isinstance(part, Derived):
            derived = _beside(derived, part, line, variant)
        elif isinstance(part, Entry):
            entries[part.of].append((part.index, line))
        else:
            steps.append(_make_reduction(part, variant, likes, line))
        line += count_of(part)
    for of, places in entries.items():
        if places:
            steps.append(_make_entries(of, places, variant))
    return steps if derived is None else [*steps, _make_derived(derived, variant, likes)]


def _make_repeated(round_: Round, variant: RowVariant, likes: tuple[Any, ...]) -> Any:
    """Make the step of a round that is computed until each example has its results.

    An example that has them keeps them while others go on.
    """
    assert round_.again is not None
    real = real_dtype(variant.predictions).type
    results = _likes_of_round(round_, variant)
    count = len(results)
    OLD = ROW + len(likes)
    NEW = OLD + count
    compute = _in_turn(_make_results(round_, variant, likes + results, NEW))
    again = inline(round_.again)

    @jitable
    def settle(tile, k):
        """Take over a new result of the examples that are going on."""
        for lane in range(tile.m):
            old = read_line(tile.lines, OLD + k, lane, real(0))
            new = read_line(tile.lines, NEW + k, lane, real(0))
            going = read_line(tile.lines, GOING, lane, real(0)) != real(0)
            # Without the addition LLVM stores under a mask, ten times as slow.
            write_line(tile.lines, OLD + k, lane, (new if going else old) + real(0))

    @jitable
    def repeated(tile, options):
        for k in range(count):
            _fill(tile, OLD + k, real(0))
        _fill(tile, GOING, real(1))
        going = tile.m
        while going > 0:
            compute(tile, options)
            for lane in range(tile.m):
                before = read_lines(tile.lines, OLD, lane, results, real(0))
                after = read_lines(tile.lines, NEW, lane, results, real(0))
                more = real(1) if again(before, after) else real(0)
                write_line(tile.lines, MORE, lane, more)
            for k in range(count):
                settle(tile, k)
            going = 0
            for lane in range(tile.m):
                more = read_line(tile.lines, MORE, lane, real(0))
                more *= read_line(tile.lines, GOING, lane, real(0))
                write_line(tile.lines, GOING, lane, more)
                going += 1 if more != real(0) else 0

    return repeated


# --- one result -------------------------------------------------------------------------


@jitable
def _fill(tile, line, value):
    """Write one number to the line of every example."""
    for lane in range(tile.m):
        write_line(tile.lines, line, lane, value)


def _make_entries(of: str, places: list[tuple[int, int]], variant: RowVariant) -> Any:
    """Make the step that copies entries of some classes, for the derivatives overwrite them.

    `places`: the number of the class, and the line that its entry goes to.
    """
    peek = STORAGE[real_dtype(variant.predictions).name].peek
    target = _make_target(variant)
    PREDICTION, COUNT = of == "prediction", len(places)
    CLASSES, LINES = zip(*places, strict=True)

    @jitable
    def copy(tile, options):
        for k in range(COUNT):
            c, line = CLASSES[k], LINES[k]
            for lane in range(tile.m):
                if PREDICTION:
                    write_line(tile.lines, line, lane, peek(tile.x + c * tile.row, lane))
                else:
                    write_line(tile.lines, line, lane, target(tile, c, lane))

    return copy


def _beside(others: Any, derived: Derived, line: int, variant: RowVariant) -> Any:
    """Make the function (tile, lane, row, options) that writes numbers, after `others`."""
    real = real_dtype(variant.predictions).type
    formula = inline(derived.formula)

    @inline
    def one(tile, lane, row, options):
        write_line(tile.lines, line, lane, real(formula(row, *options)))

    @inline
    def several(tile, lane, row, options):
        write_lines(tile.lines, line, lane, formula(row, *options), real(0))

    write = one if derived.count is None else several

    @inline
    def both(tile, lane, row, options):
        others(tile, lane, row, options)
        write(tile, lane, row, options)

    return write if others is None else both


def _make_derived(write: Any, variant: RowVariant, likes: tuple[Any, ...]) -> Any:
    """Make the step that computes numbers made of the row, in one loop: they share much."""
    row_of = _row_reader(likes, real_dtype(variant.predictions).type)

    @with_loop
    def derive(tile, options):
        for lane in range(tile.m):
            write(tile, lane, row_of(tile, lane), options)

    return derive


def _make_reduction(
    reduction: Reduction, variant: RowVariant, likes: tuple[Any, ...], line: int
) -> Any:
    """Make the step that computes a reduction into its line."""
    real = real_dtype(variant.predictions).type
    peek = STORAGE[real.__name__].peek
    target = _make_target(variant)
    index = _index_of(real)
    row_of = _row_reader(likes, real)
    term = inline(reduction.term)

    @inline
    def term_of(tile, x, c, lane, options):
        t = target(tile, c, lane)
        return term(peek(x, lane), t, index(c), row_of(tile, lane), *options)

    @with_loop
    def total(tile, options):
        for run in range(0, tile.classes, SUM_RUN):
            _fill(tile, PART, real(0))
            for c in range(run, least(tile.classes, run + SUM_RUN)):
                x = tile.x + c * tile.row
                for lane in range(tile.m):
                    part = read_line(tile.lines, PART, lane, real(0))
                    part += real(term_of(tile, x, c, lane, options))
                    write_line(tile.lines, PART, lane, part)
            for lane in range(tile.m):
                whole = read_line(tile.lines, WHOLE, lane, 0.0) if run > 0 else 0.0
                whole += np.float64(read_line(tile.lines, PART, lane, real(0)))
                write_line(tile.lines, WHOLE, lane, whole)
        for lane in range(tile.m):
            write_line(tile.lines, line, lane, real(read_line(tile.lines, WHOLE, lane, 0.0)))

    @jitable
    def largest(tile, options):
        _fill(tile, line, real(-np.inf))
        # A zero that LLVM does not see as one: it would skip terms of -inf by a branch.
        zero = real(tile.classes) * real(0)
        for c in range(tile.classes):
            x = tile.x + c * tile.row
            for lane in range(tile.m):
                found = read_line(tile.lines, line, lane, real(0))
                found = running_max(found, real(term_of(tile, x, c, lane, options)) + zero)
                write_line(tile.lines, line, lane, found)

    @jitable
    def earliest(tile, options):
        none = index(tile.classes)
        _fill(tile, line, none)
        for c in range(tile.classes):
            x = tile.x + c * tile.row
            for lane in range(tile.m):
                found = read_line(tile.lines, line, lane, index(0))
                mine = index(c) if term_of(tile, x, c, lane, options) else none
                write_line(tile.lines, line, lane, mine if mine < found else found)

    return {"sum": total, "max": largest, "first": earliest}[reduction.operation]
