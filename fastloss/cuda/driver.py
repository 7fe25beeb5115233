"""The kernels that end a call: partial sums become the loss, and, before that, the weights.

Blocks leave their partial sums in scratch memory and one block adds them up, in the order of
their numbers. Results then depend neither on timing nor on anything left from another call.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.group import BOARD, BOARD_DTYPE, block_total
from fastloss.cuda.memory import load_float64, store_float32, store_float64
from fastloss.cuda.primitives import LARGE, WARP, cuda, thread_number
from fastloss.elementary import inline

#: Threads of the block that adds up.
THREADS = min(8, LARGE) * WARP


class FinishCall(NamedTuple):
    """The arguments of `finish`. Sums are float64; a divisor of nan is the sum of the weights."""

    sums: int
    blocks: int
    weights: int
    weight_count: int
    divisor: float
    loss: int
    loss_size: int


@functools.cache
def adder(threads: int) -> Any:
    """Return the function that adds `count` float64 in memory, with the whole block."""
    total = block_total(threads)

    @inline
    def add(address, count, board):
        part = 0.0
        for i in range(thread_number(), count, threads):
            part += load_float64(address + 8 * i)
        return total(part, board)

    return add


@functools.cache
def finish_kernel() -> Kernel:
    """Return the kernel that adds up the losses and divides."""
    return Kernel(_make_finish, FinishCall, THREADS, "")


def _make_finish() -> Any:
    add = adder(THREADS)

    def finish(call):
        """Add up the sums, divide, and write the loss."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        total = add(call.sums, call.blocks, board)
        divisor = call.divisor
        if divisor != divisor:
            divisor = add(call.weights, call.weight_count, board)
        if thread_number() == 0:
            loss = total / divisor if divisor != 0.0 else np.nan
            if call.loss_size == 8:
                store_float64(call.loss, loss)
            else:
                store_float32(call.loss, np.float32(loss))

    return finish
