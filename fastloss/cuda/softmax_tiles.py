"""Cross-entropy over short rows that begin anywhere, one thread for each, by way of shared memory.

Neighbouring threads that each walked through a short row of their own would touch every sector of
memory many times, and only at every fourth or eighth row could they read 16 bytes at a time. So a
block copies a tile of whole rows as it lies in memory, each thread computes rows of it in shared
memory, and the gradient goes out in the same way. The number of classes is compiled in: the short
loops over them are unrolled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.examples import ClassCall, outer_factor
from fastloss.cuda.group import BOARD, BOARD_DTYPE, block_total
from fastloss.cuda.memory import STORAGE, load_index, store_float64
from fastloss.cuda.primitives import (
    WARP,
    WIDE,
    block_count,
    block_number,
    cuda,
    thread_number,
)
from fastloss.cuda.shared import PUT, TAKE, copies_done, copy_into, copy_out
from fastloss.cuda.softmax_classes import classes_of, floor_of_maximum
from fastloss.cuda.softmax_vectors import allows_turns
from fastloss.cuda.variant import ClassVariant, Mapping, is_lean
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, inline, maximum
from fastloss.labels import label_of
from fastloss.losses.softmax import class_dot

#: Threads of a block.
THREADS = 4 * WARP

#: Bytes of a tile, about: as many as keep the memory busy. Bytes of a row, at most: a row for each
#: thread must fit into shared memory, and not alone. Rows of a thread, at most: their class indices
#: are read at a time.
TILE, LONGEST, MOST_ROWS = 2**9 * WARP, 2**8, 8

#: In the place of a class index, of which a tile keeps a byte each: no class; to be ignored.
BAD, IGNORED = -1, -2


def suits(variant: ClassVariant, mapping: Mapping, classes: int, itemsize: int) -> bool:
    """Whether the examples lie without gaps, and begin anywhere; only one gradient is staged."""
    row = classes * itemsize
    simple = mapping.plain and not variant.soft and not variant.outputs.hess
    return simple and row <= LONGEST and (row % WIDE > 0 or row <= WIDE)


def rows_of_tile(classes: int, itemsize: int) -> int:
    """Return the number of rows of a tile, a multiple of the threads."""
    return THREADS * min(MOST_ROWS, max(1, TILE // (THREADS * classes * itemsize)))


@functools.cache
def compute_kernel(variant: ClassVariant, mapping: Mapping, classes: int) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`, for so many classes."""
    make = functools.partial(_make, variant, classes)
    lean = is_lean(variant, mapping)
    return Kernel(make, ClassCall, THREADS, label_of(variant, classes), lean=lean)


@functools.cache
def labels_reader(classes: int, rows_of_tile: int) -> Any:
    """Return the function that reads this thread's class indices of a tile, a byte each.

    (call, labels, base, rows, thread): those of the examples base .. base + rows. Of a whole tile
    they are all under way at a time: between one load and the next there is no branch.
    """
    TURNS = rows_of_tile // THREADS

    @inline
    def read_one(call, labels, t, row, size):
        y = load_index(t + row * size, size, call.t_signed != 0)
        label = np.int32(y) if y >= 0 and y < classes else np.int32(BAD)
        # Unsigned: a negative number would be counted from the end.
        labels[np.uint32(row)] = np.int32(IGNORED) if y == call.ignore_index else label

    @inline
    def read_all(call, labels, t, thread, size):
        for k in range(TURNS):
            read_one(call, labels, t, thread + k * THREADS, size)

    def read(call, labels, base, rows, thread):
        t, size = call.t + base * call.t_size, call.t_size
        if rows < rows_of_tile:
            for row in range(thread, rows, THREADS):
                read_one(call, labels, t, row, size)
        elif size == 8:
            read_all(call, labels, t, thread, 8)
        elif size == 4:
            read_all(call, labels, t, thread, 4)
        elif size == 2:
            read_all(call, labels, t, thread, 2)
        else:
            read_all(call, labels, t, thread, 1)

    return inline(read)


def _make(variant: ClassVariant, classes: int) -> Callable[..., Any]:
    linked, _, mass_on, finish, derive = classes_of(variant)
    x_size, load_x, store_x, *_ = STORAGE[variant.predictions]
    take, put = TAKE[variant.predictions], PUT[variant.predictions]
    real: Any = real_dtype(variant.predictions).type
    real_size, _, store_real, *_ = STORAGE[real.__name__]
    floor_of = floor_of_maximum(real)
    SIMPLE, MASS = allows_turns(variant), variant.mass
    LOSS, GRAD, _, PER_EXAMPLE = variant.outputs
    C, ROWS = classes, rows_of_tile(classes, x_size)
    LANES, WORDS = WIDE // x_size, ROWS * C * x_size // 4
    read_labels = labels_reader(C, ROWS)
    block_sum, outer_of = block_total(THREADS), outer_factor(THREADS, True, GRAD)

    def softmax_tiles(call):
        """Compute the examples of a block; leave the sum of their losses in `sums`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        tile = cuda.shared.array(WORDS, np.int32, WIDE)
        labels = cuda.shared.array(ROWS, np.int8)
        thread = thread_number()
        weight, keep = call.w_number, real(call.keep)
        weighty = weight != 0.0
        factor = real(outer_of(call, board) * weight)
        total = 0.0
        base = block_number() * ROWS
        while base < call.last:
            rows = np.int32(min(np.int64(ROWS), call.last - base))
            wide = np.int32(rows * C // LANES)
            x = call.x + base * (C * x_size)
            v = np.int32(thread)
            while v < wide:
                copy_into(tile, v, x + v * WIDE)
                v = np.int32(v + THREADS)
            # Of the last tile a few numbers may be left.
            e = np.int32(wide * LANES + thread)
            if e < rows * C:
                put(tile, e, load_x(x + e * x_size))
            read_labels(call, labels, base, rows, thread)
            copies_done()
            cuda.syncthreads()
            row = np.int32(thread)
            while row < rows:
                y = np.int32(labels[np.uint32(row)])
                live = weighty and y != IGNORED
                onehot = real(np.nan) if y == BAD else keep
                first = np.int32(row * C)
                at_y = take(tile, np.int32(first + max(y, np.int32(0))))
                m = real(-np.inf)
                for c in range(C):
                    m = maximum(m, linked(call, take(tile, np.int32(first + c))))
                floor = floor_of(m)
                s, mass, dot = real(0), real(0), real(0)
                for c in range(C):
                    z = linked(call, take(tile, np.int32(first + c)))
                    s += exp_normal(z - floor)
                    if MASS:
                        p = mass_on(call, real(0), np.int64(c))
                        dot += class_dot(p, z - floor)
                        mass += p
                value, state = finish(call, m, s, mass, dot, at_y, onehot)
                if LOSS:
                    value = value * weight if live else 0.0
                    total += value
                    if PER_EXAMPLE:
                        store_real(call.loss + (base + row) * real_size, real(value))
                if GRAD:
                    _, floor, inverse, slope = state
                    # The slope of a bad index is nan.
                    scale = slope * inverse * factor
                    for c in range(C):
                        at = np.int32(first + c)
                        raw = take(tile, at)
                        if SIMPLE:
                            d = exp_normal(raw - floor) * scale
                        else:
                            target = mass_on(call, real(0), np.int64(c)) if MASS else real(0)
                            target += onehot if c == y else real(0)
                            d, _ = derive(call, raw, floor, inverse, slope, target, factor)
                        put(tile, at, d if live else real(0))
                    if SIMPLE and live and y >= 0:
                        # The target's own entry once more, rather than a comparison for each.
                        d, _ = derive(call, at_y, floor, inverse, slope, onehot, factor)
                        put(tile, np.int32(first + y), d)
                row = np.int32(row + THREADS)
            cuda.syncthreads()
            if GRAD:
                g = call.g + base * (C * x_size)
                v = np.int32(thread)
                while v < wide:
                    copy_out(tile, v, g + v * WIDE)
                    v = np.int32(v + THREADS)
                if e < rows * C:
                    store_x(g + e * x_size, take(tile, e))
                cuda.syncthreads()
            base += block_count() * ROWS
        if LOSS and not PER_EXAMPLE:
            total = block_sum(total, board)
            if thread == 0:
                store_float64(call.sums + 8 * block_number(), total)

    return softmax_tiles
