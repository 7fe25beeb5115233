"""Tiles: the classes of some neighbouring examples in scratch memory, one line for each class.

Working where the arrays lie would lose the cache: with a power of two from class to class, as
images have it, all lines compete for the same few sets.
"""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable

from fastloss.cpu.lines import MAX_LANES
from fastloss.cpu.memory import STORAGE, Transfers
from fastloss.cpu.transpose import make_transposition
from fastloss.dtypes import real_dtype

#: Predictions of one tile.
TILE = 4096
MIN_LANES = 32

#: Predictions that make one chunk worth a thread's while.
CHUNK = 32768


def examples_per_tile(classes: int) -> int:
    """Return how many examples one tile holds: a power of two, smaller for more classes."""
    wanted = max(MIN_LANES, min(MAX_LANES, TILE // classes))
    return int(1 << (wanted.bit_length() - 1))


def examples_per_chunk(classes: int) -> int:
    """Return how many examples one chunk holds: whole tiles, whatever the number of threads."""
    lanes = examples_per_tile(classes)
    return lanes * max(1, CHUNK // (classes * lanes))


def make_read(dtype: str, real: Any, transfers: Transfers, rows: bool) -> Any:
    """Make the function that brings a tile of an array of `dtype` into scratch memory.

    `rows`: the classes of an example lie one after the other, and the examples do.
    """
    load = STORAGE[dtype].load
    size, *_, poke = STORAGE[real.__name__]
    fetch = transfers.fetch
    ROWS, AS_IT_IS = rows, dtype == real.__name__
    transposed = make_transposition(real.__name__)

    @register_jitable
    def read(array, step, layout, classes, start, m, tile, row, buffer):
        if ROWS:
            if AS_IT_IS:
                line = classes * size
                if transposed(array + start * line, line, m, classes, tile, row):
                    return
            for lane in range(m):
                first = (start + lane) * classes
                for c in range(classes):
                    poke(tile + c * row, lane, real(load(array, first + c)))
        else:
            for c in range(classes):
                line = fetch(array + c * step, layout, start, m, buffer)
                for lane in range(m):
                    poke(tile + c * row, lane, real(load(line, lane)))

    return read


def make_write(dtype: str, transfers: Transfers, rows: bool) -> Any:
    """Make the function that brings a tile from scratch memory to an array of `dtype`."""
    _, _, store, *_ = STORAGE[dtype]
    real = real_dtype(dtype).name
    size, _, _, peek, _ = STORAGE[real]
    _, place, deliver, *_ = transfers
    ROWS, AS_IT_IS = rows, dtype == real
    transposed = make_transposition(real)

    @register_jitable
    def write(array, step, layout, classes, start, m, tile, row, buffer):
        if ROWS:
            if AS_IT_IS:
                line = classes * size
                if transposed(tile, row, classes, m, array + start * line, line):
                    return
            for lane in range(m):
                first = (start + lane) * classes
                for c in range(classes):
                    store(array, first + c, peek(tile + c * row, lane))
        else:
            for c in range(classes):
                address = array + c * step
                line = place(address, layout, start, m, buffer)
                for lane in range(m):
                    store(line, lane, peek(tile + c * row, lane))
                deliver(line, address, layout, start, m, buffer)

    return write
