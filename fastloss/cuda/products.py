"""Products of matrices, by tiles in shared memory: what a loss of similarities needs of them.

Tiles are added up in the order of their numbers, and no two blocks share an entry: results are the
same in every run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.memory import STORAGE
from fastloss.cuda.primitives import WARP, block_count, block_number, cuda, thread_number
from fastloss.elementary import inline
from fastloss.labels import label_of

#: Rows and columns of a tile; a block has a thread for each entry.
TILE = WARP // 2
THREADS = TILE * TILE

#: Entries from row to row of a tile: one more, so that a column lies in different banks.
PITCH = TILE + 1
AREA = TILE * PITCH


class ProductCall(NamedTuple):
    """The arguments of the kernel: C = scale A B, or C + scale A B where `add` is not 0.

    A is (rows, inner), B (inner, columns). `_down` are the bytes from row to row, `_along` those
    from entry to entry; a matrix with the two exchanged is the transpose.
    """

    rows: int
    inner: int
    columns: int
    scale: float
    add: int
    a: int
    a_down: int
    a_along: int
    b: int
    b_down: int
    b_along: int
    c: int
    c_down: int


def tiles(length: int) -> int:
    """Return how many tiles cover `length` rows or columns."""
    return -(-length // TILE)


@functools.cache
def product_kernel(real: str) -> Kernel:
    """Return the kernel for matrices of this dtype."""
    make = functools.partial(_make_product, real)
    return Kernel(make, ProductCall, THREADS, label_of(real), lean=real != "float64")


def _make_product(name: str) -> Callable[..., Any]:
    size, load, store, *_ = STORAGE[name]
    real: Any = np.dtype(name).type

    @inline
    def entry(row, column):
        """The number of an entry of a tile, unsigned: a negative one would count from the end."""
        return np.uint32(row * PITCH) + np.uint32(column)

    @inline
    def fetch(tile, matrix, down, along, first_row, rows, first_column, columns):
        """Copy a tile into shared memory; 0 outside the matrix."""
        fast, slow = thread_number() % TILE, thread_number() // TILE
        # Neighbouring threads read neighbouring numbers.
        row, column = (fast, slow) if down == size else (slow, fast)
        r, c = first_row + row, first_column + column
        value = real(0)
        if r < rows and c < columns:
            value = real(load(matrix + r * down + c * along))
        tile[entry(row, column)] = value

    def product(call):
        """Compute a tile of C after the other."""
        left = cuda.shared.array(AREA, real)
        right = cuda.shared.array(AREA, real)
        row, column = thread_number() // TILE, thread_number() % TILE
        across = (call.columns + TILE - 1) // TILE
        count = (call.rows + TILE - 1) // TILE * across
        for tile in range(block_number(), count, block_count()):
            top, start = tile // across * TILE, tile % across * TILE
            total = real(0)
            for first in range(0, call.inner, TILE):
                fetch(left, call.a, call.a_down, call.a_along, top, call.rows, first, call.inner)
                fetch(
                    right, call.b, call.b_down, call.b_along, first, call.inner, start, call.columns
                )
                cuda.syncthreads()
                part = real(0)
                for k in range(TILE):
                    part += left[entry(row, k)] * right[entry(k, column)]
                total += part
                cuda.syncthreads()
            r, c = top + row, start + column
            if r < call.rows and c < call.columns:
                address = call.c + r * call.c_down + c * size
                before = real(load(address)) if call.add != 0 else real(0)
                store(address, before + real(call.scale) * total)

    return product
