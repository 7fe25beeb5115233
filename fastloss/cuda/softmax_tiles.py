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
from fastloss.cuda.examples import ClassCall, counter, examples_of, outer_factor
from fastloss.cuda.group import BOARD, BOARD_DTYPE, block_total
from fastloss.cuda.memory import STORAGE, store_float64
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
from fastloss.elementary import exp_normal, maximum
from fastloss.labels import label_of
from fastloss.losses.softmax import class_dot

#: Threads of a block.
THREADS = 4 * WARP

#: Bytes of a tile, about: as many as keep the memory busy. Bytes of a row, at most: a row for each
#: thread must fit into shared memory, and not alone.
TILE, LONGEST = 2**14, 2**8


def suits(variant: ClassVariant, mapping: Mapping, classes: int, itemsize: int) -> bool:
    """Whether the examples lie without gaps, and begin anywhere; only one gradient is staged."""
    row = classes * itemsize
    simple = mapping.plain and not variant.soft and not variant.outputs.hess
    return simple and row <= LONGEST and (row % WIDE > 0 or row <= WIDE)


def rows_of_tile(classes: int, itemsize: int) -> int:
    """Return the number of rows of a tile, a multiple of the threads."""
    return THREADS * max(1, TILE // (THREADS * classes * itemsize))


@functools.cache
def compute_kernel(variant: ClassVariant, mapping: Mapping, classes: int) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`, for so many classes."""
    make = functools.partial(_make, variant, classes)
    lean = is_lean(variant, mapping)
    return Kernel(make, ClassCall, THREADS, label_of(variant, classes), lean=lean)


def _make(variant: ClassVariant, classes: int) -> Callable[..., Any]:
    linked, _, mass_on, finish, derive = classes_of(variant)
    target_of = examples_of(True).target
    x_size, load_x, store_x, *_ = STORAGE[variant.predictions]
    take, put = TAKE[variant.predictions], PUT[variant.predictions]
    real: Any = real_dtype(variant.predictions).type
    real_size, _, store_real, *_ = STORAGE[real.__name__]
    floor_of = floor_of_maximum(real)
    SIMPLE, MASS = allows_turns(variant), variant.mass
    LOSS, GRAD, _, PER_EXAMPLE = variant.outputs
    C, ROWS = classes, rows_of_tile(classes, x_size)
    LANES, WORDS = WIDE // x_size, ROWS * C * x_size // 4
    block_sum, outer_of = block_total(THREADS), outer_factor(THREADS, True)
    count = counter(THREADS)

    def softmax_tiles(call):
        """Compute the examples of a block; leave the sum of their losses in `sums`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        tile = cuda.shared.array(WORDS, np.int32, WIDE)
        outer = outer_of(call, board) if GRAD else 0.0
        if not GRAD and call.divisor != call.divisor and call.weight_count == 0:
            count(call, board)
        thread = thread_number()
        total = 0.0
        base = block_number() * ROWS
        while base < call.last:
            rows = min(np.int64(ROWS), call.last - base)
            wide = rows * C // LANES
            x = call.x + base * (C * x_size)
            v = thread
            while v < wide:
                copy_into(tile, v, x + v * WIDE)
                v += THREADS
            # Of the last tile a few numbers may be left.
            e = wide * LANES + thread
            if e < rows * C:
                put(tile, np.int32(e), load_x(x + e * x_size))
            copies_done()
            cuda.syncthreads()
            row = thread
            while row < rows:
                i = base + row
                y, onehot, weight = target_of(call, i)
                live = weight != 0.0
                first = np.int32(row * C)
                at_y = take(tile, np.int32(first + max(y, np.int64(0))))
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
                        store_real(call.loss + i * real_size, real(value))
                if GRAD:
                    _, floor, inverse, slope = state
                    factor = real(outer * weight + (onehot - onehot))
                    scale = slope * inverse * factor
                    for c in range(C):
                        at = np.int32(first + c)
                        raw = take(tile, at)
                        if SIMPLE:
                            d = exp_normal(raw - floor) * scale
                        else:
                            target = mass_on(call, real(0), np.int64(c)) if MASS else real(0)
                            target += real(onehot) if c == y else real(0)
                            d, _ = derive(call, raw, floor, inverse, slope, target, factor)
                        put(tile, at, d if live else real(0))
                    if SIMPLE and live and y >= 0:
                        # The target's own entry once more, rather than a comparison for each.
                        d, _ = derive(call, at_y, floor, inverse, slope, real(onehot), factor)
                        put(tile, np.int32(first + y), d)
                row += THREADS
            cuda.syncthreads()
            if GRAD:
                g = call.g + base * (C * x_size)
                v = thread
                while v < wide:
                    copy_out(tile, v, g + v * WIDE)
                    v += THREADS
                if e < rows * C:
                    store_x(g + e * x_size, take(tile, np.int32(e)))
                cuda.syncthreads()
            base += block_count() * ROWS
        if LOSS and not PER_EXAMPLE:
            total = block_sum(total, board)
            if thread == 0:
                store_float64(call.sums + 8 * block_number(), total)

    return softmax_tiles
