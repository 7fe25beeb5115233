"""The kernel of a loss over classes with one group of threads for each example.

A thread, a part of a warp, a warp or a block, by the number of classes. What is done with an
example are `Steps`: those of `softmax_rows`, of `separable` or of `row_losses`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.examples import examples_of, outer_factor
from fastloss.cuda.group import BOARD, BOARD_DTYPE, block_total, group_of
from fastloss.cuda.memory import STORAGE, store_float64
from fastloss.cuda.primitives import WIDE, block_count, block_number, cuda, thread_number
from fastloss.cuda.variant import ClassVariant, Mapping, RowVariant
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline


class Steps(NamedTuple):
    """What a group of threads does with one example.

    Addresses x, t, g, h are those of the example's first class, n is the number of classes, `lane`
    the number of the thread in its group.
    """

    #: (call, x, t, n, lane, y, onehot, board, words) -> (loss as float64, state for `write`)
    evaluate: Callable[..., Any]
    #: (call, x, t, g, h, n, lane, live, y, onehot, factor, state, words): write this
    #: thread's derivatives, zeros where the example is not live.
    write: Callable[..., Any]
    #: 32-bit words that a thread keeps of an example between the two.
    words: int = 1


@functools.cache
def row_parts(itemsize: int, wide: bool, whole: bool = False) -> Any:
    """Return the function (address, n) -> how a row is read; `whole`: in nothing but wide loads.

    That is (elements before the first aligned one, wide loads, elements outside of these).
    """
    # Shifts, where a division would look at the sign.
    per_item, per_load = itemsize.bit_length() - 1, (WIDE // itemsize).bit_length() - 1

    def parts_of(x, n):
        if whole:
            return np.int64(0), n >> per_load, np.int64(0)
        if wide:
            head = min(n, ((-x) & (WIDE - 1)) >> per_item)
            loads = (n - head) >> per_load
            return head, loads, n - (loads << per_load)
        return n, np.int64(0), n

    return inline(parts_of)


def make_rows(
    steps: Steps, variant: ClassVariant | RowVariant, mapping: Mapping
) -> Callable[..., Any]:
    """Return the kernel's function."""
    evaluate, write, WORDS = steps
    _, upstream_of, _, target_of, offset_of = examples_of(mapping.plain)
    x_size, t_size = STORAGE[variant.predictions].itemsize, STORAGE[variant.targets].itemsize
    real: Any = real_dtype(variant.predictions).type
    real_size, _, store_real, *_ = STORAGE[real.__name__]
    SOFT = variant.soft
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    DERIVATIVES = GRAD or HESS
    THREADS, GROUP = mapping.threads, mapping.group
    AT_ONCE = THREADS // GROUP
    sync = group_of(GROUP, real).sync
    block_sum = block_total(THREADS)
    outer_of = outer_factor(THREADS, mapping.plain, DERIVATIVES)

    def rows(call):
        """Compute the examples of a block; leave the sum of their losses in `sums`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        words = cuda.local.array(WORDS, np.int32)
        lane = thread_number() % GROUP
        slot = thread_number() // GROUP
        outer = outer_of(call, board)
        total = 0.0
        base = block_number() * AT_ONCE
        while base < call.last:
            # Every thread takes part in the exchanges, also beyond the last example.
            inside = base + slot < call.last
            i = min(base + slot, call.last - 1)
            base += block_count() * AT_ONCE
            y, onehot, weight = target_of(call, i)
            live = inside and weight != 0.0
            n = call.classes if live else np.int64(0)
            x = call.x + offset_of(call.x_layout, i, call.classes * x_size)
            t = call.t
            if SOFT:
                t = call.t + offset_of(call.t_layout, i, call.classes * t_size)
            value, state = evaluate(call, x, t, n, lane, y, onehot, board, words)
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
                # A bad index has the weight nan.
                factor = real(outer * weight * upstream_of(call, i) + (onehot - onehot))
                n = call.classes if inside else np.int64(0)
                write(
                    call, x, t, g, h, n, lane, live, y, onehot, factor, state, words
                )  # fmt: skip
        if LOSS and not PER_EXAMPLE:
            total = block_sum(total, board)
            if thread_number() == 0:
                store_float64(call.sums + 8 * block_number(), total)

    return rows
