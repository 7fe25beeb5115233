"""Cross-entropy over few classes: one thread for each example, by way of shared memory.

Rows of a few classes are shorter than what a warp reads at a time, and neighbouring threads
that each walked through their own would touch every sector of memory many times. Instead a
block reads a tile of whole rows 16 bytes at a time, each thread computes a row in shared
memory, and the gradient goes out in the same way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.examples import ClassCall, examples_of, outer_factor
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
from fastloss.cuda.softmax_steps import softmax_steps
from fastloss.cuda.variant import ClassVariant, Mapping, is_lean
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, maximum
from fastloss.labels import label_of
from fastloss.losses.softmax import class_dot

#: Rows of a tile, and threads of a block.
THREADS = 4 * WARP

#: More classes are read well enough by a part of a warp, and would need more shared memory.
MOST_CLASSES = WARP


def suits(variant: ClassVariant, mapping: Mapping, classes: int) -> bool:
    """Whether the examples lie without gaps, and only one gradient is to be staged."""
    few = classes <= MOST_CLASSES
    return few and mapping.plain and not variant.soft and not variant.outputs.hess


@functools.cache
def compute_kernel(variant: ClassVariant, mapping: Mapping) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""
    make = functools.partial(_make, variant)
    lean = is_lean(variant, mapping)
    return Kernel(make, ClassCall, THREADS, label_of(variant), lean=lean)


def _make(variant: ClassVariant) -> Callable[..., Any]:
    steps = softmax_steps(variant, Mapping(THREADS, 1, False, True))
    finish, derive, linked, mass_on = steps.finish, steps.derive, steps.linked, steps.mass_on
    target_of = examples_of(True).target
    x_size, load_x, store_x, load_wide_x, store_wide_x = STORAGE[variant.predictions]
    real: Any = real_dtype(variant.predictions).type
    real_size, _, store_real, *_ = STORAGE[real.__name__]
    MASS = variant.mass
    LOSS, GRAD, _, PER_EXAMPLE = variant.outputs
    LANES = WIDE // x_size
    # A row more than the classes, at most: rows an odd number of words apart lie in different
    # banks.
    ROOM = THREADS * (MOST_CLASSES + 1)
    block_sum, outer_of = block_total(THREADS), outer_factor(THREADS)

    def softmax_tiles(call):
        """Compute the examples of a block; leave the sum of their losses in `sums`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        tile = cuda.shared.array(ROOM, real)
        chunk = cuda.local.array(LANES, real)
        outer = outer_of(call, board) if GRAD else 0.0
        thread = thread_number()
        classes = np.int32(call.classes)
        pad = np.int32(1 - classes % 2)
        # (e + 1/2) / C rounds to the row of element e: exact, the numbers are small.
        per_class = np.float32(1) / np.float32(classes)
        total = 0.0
        start = call.first + block_number() * THREADS
        for base in range(start, call.last, block_count() * THREADS):
            rows = min(np.int64(THREADS), call.last - base)
            elements = rows * call.classes
            wide = elements // LANES
            x = call.x + base * call.classes * x_size
            for v in range(thread, wide, THREADS):
                load_wide_x(x + v * WIDE, chunk)
                for k in range(LANES):
                    e = np.int32(v * LANES + k)
                    row = np.int32((np.float32(e) + np.float32(0.5)) * per_class)
                    tile[e + row * pad] = chunk[k]
            for e in range(wide * LANES + thread, elements, THREADS):
                tile[e + e // call.classes * pad] = load_x(x + e * x_size)
            cuda.syncthreads()
            if thread < rows:
                i = base + thread
                y, onehot, weight = target_of(call, i)
                live = weight != 0.0
                first = np.int32(thread) * (classes + pad)
                at_y = tile[first + max(np.int32(y), np.int32(0))]
                m = real(-np.inf)
                for c in range(classes):
                    m = maximum(m, linked(call, tile[first + c]))
                floor = real(0) if m == real(-np.inf) else m
                s, mass, dot = real(0), real(0), real(0)
                for c in range(classes):
                    z = linked(call, tile[first + c])
                    s += exp_normal(z - floor)
                    if MASS:
                        p = mass_on(call, real(0), c)
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
                    for c in range(classes):
                        target = mass_on(call, real(0), c) if MASS else real(0)
                        target += real(onehot) if c == y else real(0)
                        raw = tile[first + c]
                        d, _ = derive(call, raw, floor, inverse, slope, target, factor)
                        tile[first + c] = d if live else real(0)
            if GRAD:
                cuda.syncthreads()
                g = call.g + base * call.classes * x_size
                for v in range(thread, wide, THREADS):
                    for k in range(LANES):
                        e = np.int32(v * LANES + k)
                        row = np.int32((np.float32(e) + np.float32(0.5)) * per_class)
                        chunk[k] = tile[e + row * pad]
                    store_wide_x(g + v * WIDE, chunk)
                for e in range(wide * LANES + thread, elements, THREADS):
                    store_x(g + e * x_size, tile[e + e // call.classes * pad])
            cuda.syncthreads()
        if LOSS and not PER_EXAMPLE:
            total = block_sum(total, board)
            if thread == 0:
                store_float64(call.sums + 8 * block_number(), total)

    return softmax_tiles
