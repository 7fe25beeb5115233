"""Sums and maxima over the threads that share an example, in an order that never changes.

Threads exchange values crosswise, so each ends with the result, and with the same bits:
a + b is b + a. No atomics on floats anywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.primitives import WARP, cuda, shuffle_xor, sync_warp, thread_number
from fastloss.elementary import inline, maximum

#: Shape and dtype of the shared memory that a kernel lends to the reductions. A kernel makes
#: it itself: Numba defines it again wherever a function that makes it is used.
BOARD, BOARD_DTYPE = WARP, np.float64


class Group(NamedTuple):
    """What the threads of a group do together; all threads of the block must take part.

    `total` and `largest` take a value and the kernel's board.
    """

    total: Callable[..., Any]
    largest: Callable[..., Any]
    sync: Callable[..., Any]


@inline
def plus(a, b):
    return a + b


@functools.cache
def group_of(threads: int, real: Any) -> Group:
    """Return the reductions over groups of `threads`: 1, a part of a warp, or the block."""
    if threads == 1:
        return Group(alone, alone, nothing)
    if threads <= WARP:
        return Group(warp_reduction(plus, threads), warp_reduction(maximum, threads), sync_warp)
    return Group(
        block_reduction(plus, threads, real),
        block_reduction(maximum, threads, real),
        sync_block,
    )


@inline
def alone(x, board):
    return x


@inline
def nothing():
    return None


@inline
def sync_block():
    cuda.syncthreads()


def warp_reduction(combine: Callable[..., Any], threads: int) -> Any:
    """Make the reduction over neighbouring `threads` of a warp."""
    half = threads // 2

    def reduce(x, board):
        offset = half
        while offset > 0:
            x = combine(x, shuffle_xor(x, offset))
            offset //= 2
        return x

    return inline(reduce)


def block_reduction(combine: Callable[..., Any], threads: int, real: Any) -> Any:
    """Make the reduction over a block of `threads`."""
    warps = threads // WARP
    over_warp = warp_reduction(combine, WARP)
    over_warps = warp_reduction(combine, min(warps, WARP))
    assert warps <= WARP, f"{threads} threads are more than {WARP} warps"

    def reduce(x, board):
        x = over_warp(x, board)
        thread = thread_number()
        if thread % WARP == 0:
            board[thread // WARP] = x
        cuda.syncthreads()
        x = over_warps(real(board[thread % warps]), board)
        cuda.syncthreads()
        return x

    return inline(reduce)


@functools.cache
def block_total(threads: int) -> Callable[..., Any]:
    """Return the float64 sum over a block."""
    return group_of(threads, np.float64).total
