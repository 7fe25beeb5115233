"""Cross-entropy with one group of threads for each example.

A thread, a part of a warp, a warp or a block, by the number of classes.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastloss.cpu.compile import label_of
from fastloss.cuda.compile import Kernel
from fastloss.cuda.examples import ClassCall, examples_of, outer_factor
from fastloss.cuda.group import BOARD, BOARD_DTYPE, block_total, group_of
from fastloss.cuda.memory import STORAGE
from fastloss.cuda.primitives import (
    block_count,
    block_number,
    cuda,
    store_float64,
    thread_number,
)
from fastloss.cuda.row import row_of
from fastloss.cuda.variant import ClassVariant, Mapping
from fastloss.dtypes import real_dtype


@functools.cache
def compute_kernel(variant: ClassVariant, mapping: Mapping) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""
    make = functools.partial(_make, variant, mapping)
    return Kernel(make, ClassCall, mapping.threads, label_of(variant, mapping))


def _make(variant: ClassVariant, mapping: Mapping) -> Any:
    visit, combine, logit_at, finish, write = row_of(variant, mapping)
    _, upstream_of, _, target_of, offset_of = examples_of(mapping.plain)
    x_size, t_size = STORAGE[variant.predictions].itemsize, STORAGE[variant.targets].itemsize
    real = real_dtype(variant.predictions).type
    real_size, _, store_real, *_ = STORAGE[real.__name__]
    SOFT = variant.soft
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    DERIVATIVES = GRAD or HESS
    THREADS, GROUP = mapping.threads, mapping.group
    AT_ONCE = THREADS // GROUP
    sync = group_of(GROUP, real).sync
    block_sum = block_total(THREADS)
    outer_of = outer_factor(THREADS)

    def softmax_rows(call):
        """Compute the examples of a block; leave the sum of their losses in `sums`."""
        lane = thread_number() % GROUP
        slot = thread_number() // GROUP
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        outer = outer_of(call, board) if DERIVATIVES else 0.0
        total = 0.0
        start = call.first + block_number() * AT_ONCE
        for base in range(start, call.last, block_count() * AT_ONCE):
            # Every thread takes part in the exchanges, also beyond the last example.
            inside = base + slot < call.last
            i = min(base + slot, call.last - 1)
            y, onehot, weight = target_of(call, i)
            live = inside and weight != 0.0
            n = call.classes if live else np.int64(0)
            x = call.x + offset_of(call.x_layout, i, call.classes * x_size)
            t = call.t
            if SOFT:
                t = call.t + offset_of(call.t_layout, i, call.classes * t_size)
            at_y = logit_at(call, x, y)
            m, s, mass, dot = visit(call, x, t, np.int64(0), n, lane)
            floor, s, mass, dot = combine(m, s, mass, dot, board)
            value, slope = finish(call, floor, s, mass, dot, at_y, onehot)
            value = value * weight if live else 0.0
            if LOSS and lane == 0:
                total += value
                if PER_EXAMPLE and inside:
                    store_real(call.loss + i * real_size, real(value))
            if DERIVATIVES:
                # In place, the target's logit must have been read before it is written.
                sync()
                g, h = call.g, call.h
                if GRAD:
                    g = call.g + offset_of(call.g_layout, i, call.classes * x_size)
                if HESS:
                    h = call.h + offset_of(call.h_layout, i, call.classes * x_size)
                factor = real(outer * weight * upstream_of(call, i) + (onehot - onehot))
                write(
                    call, x, t, g, h, np.int64(0), call.classes if inside else np.int64(0),
                    lane, live, y, at_y, onehot, floor, s, slope, factor,
                )  # fmt: skip
        if LOSS and not PER_EXAMPLE:
            total = block_sum(total, board)
            if thread_number() == 0:
                store_float64(call.sums + 8 * block_number(), total)

    return softmax_rows
