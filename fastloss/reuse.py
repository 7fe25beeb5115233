"""Large new arrays, in memory that earlier results have left.

The system brings large memory page by page, as it is first written, and takes it back as soon as an
array is gone. In a loop that takes longer than to compute a loss and its gradient.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.arrays import Array

#: Smaller arrays come from memory that the C library keeps by itself (glibc's: up to 32 MiB).
LARGE = 2**24

#: Blocks that are known at a time: those of two calls of `grad_and_hess`.
_MOST = 4

#: How much larger than needed a block may be, for batches that vary a little.
_LARGEST = 4 / 3

#: From the one that was handed out longest ago to the last one, whether somebody has it or not.
_known: list[Array] = []

#: Without Python's lock, counts of references do not tell whether somebody has a block.
_COUNTS = getattr(sys, "_is_gil_enabled", lambda: True)()

_limit = 2**29 if _COUNTS else 0


def limit() -> int:
    """Return how many bytes are kept at most."""
    return _limit


def set_limit(count: int) -> None:
    """Keep at most so many bytes, from now on."""
    global _limit
    _limit = count if _COUNTS else 0
    _forget(_MOST, _limit)


def array_maker(
    shape: tuple[int, ...], dtype: np.dtype[Any], order: tuple[int, ...] | None = None
) -> Callable[[], Array]:
    """Return what makes new arrays whose axes lie in memory in this order; None for C order."""
    packed = shape if order is None else tuple(shape[axis] for axis in order)
    make: Callable[[], Array] = functools.partial(np.empty, packed, dtype)
    size = math.prod(packed) * dtype.itemsize
    if size >= LARGE:
        make = functools.partial(_large, packed, dtype, size)
    if order is None:
        return make
    axes = np.argsort(order)
    return lambda: make().transpose(axes)


def _large(shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> Array:
    """Return a new array of so many bytes, in the memory of one that is gone where there is any."""
    if size > _limit:
        return np.empty(shape, dtype)
    block = _left(size)
    if block is None:
        _forget(_MOST - 1, _limit - size)
        block = np.empty(size, np.uint8)
    _known.append(block)
    return np.ndarray(shape, dtype, block)  # it holds the block, and so does every view of it


def _left(size: int) -> Array | None:
    """Take a block that nobody has from those known."""
    # Counted anew: a debugger that looks at the variables of a function has them as well.
    nobody = _first([np.empty(0)])[1]
    for _ in range(len(_known)):
        try:
            block, references = _first(_known)
        except IndexError:  # another thread takes one
            return None
        if references <= nobody and size <= block.nbytes <= size * _LARGEST:
            return block
        _known.append(block)
    return None


def _first(blocks: list[Array]) -> tuple[Array, int]:
    """Take the first block, at once, so that no two threads take the same; count who has it."""
    block = blocks.pop(0)
    return block, sys.getrefcount(block)


def _forget(most: int, count: int) -> None:
    """Forget the oldest blocks, down to so many and so many bytes; who has one keeps it."""
    while len(_known) > most or sum(block.nbytes for block in _known) > count:
        del _known[:1]
