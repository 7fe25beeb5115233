"""Tiles: the classes of some neighbouring examples in scratch memory, one line for each class.

Working where the arrays lie would lose the cache: with a power of two from class to class, as
images have it, all lines compete for the same few sets.
"""

from __future__ import annotations

from typing import Any

from fastloss.cpu.chunks import MIN_EXAMPLES, power_of_two
from fastloss.cpu.lines import MAX_LANES
from fastloss.cpu.memory import STORAGE
from fastloss.cpu.transfers import BITS, deliver, fetch, place
from fastloss.cpu.transpose import transposed
from fastloss.dtypes import real_dtype
from fastloss.elementary import jitable

#: Predictions of one tile.
TILE = 4096


def examples_per_tile(classes: int) -> int:
    """Return how many examples one tile holds: a power of two, smaller for more classes."""
    return power_of_two(TILE // classes, MIN_EXAMPLES, MAX_LANES)


def make_read(dtype: str, real: Any, rows: bool) -> Any:
    """Make the function that brings a tile of an array of `dtype` into scratch memory.

    `rows`: the classes of an example lie one after the other, and the examples do.
    """
    itemsize, load, *_ = STORAGE[dtype]
    size, *_, poke = STORAGE[real.__name__]
    bits = BITS[itemsize]
    ROWS, AS_IT_IS = rows, dtype == real.__name__

    @jitable
    def read(array, step, layout, classes, start, m, tile, row, buffer):
        if ROWS:
            if AS_IT_IS:
                line = classes * size
                if transposed(array + start * line, line, m, classes, tile, row, real(0)):
                    return
            for lane in range(m):
                first = (start + lane) * classes
                for c in range(classes):
                    poke(tile + c * row, lane, real(load(array, first + c)))
        else:
            for c in range(classes):
                line = fetch(array + c * step, layout, start, m, buffer, bits)
                for lane in range(m):
                    poke(tile + c * row, lane, real(load(line, lane)))

    return read


def make_write(dtype: str, rows: bool) -> Any:
    """Make the function that brings a tile from scratch memory to an array of `dtype`."""
    itemsize, _, store, *_ = STORAGE[dtype]
    real = real_dtype(dtype).type
    size, _, _, peek, _ = STORAGE[real.__name__]
    bits = BITS[itemsize]
    ROWS, AS_IT_IS = rows, dtype == real.__name__

    @jitable
    def write(array, step, layout, classes, start, m, tile, row, buffer):
        if ROWS:
            if AS_IT_IS:
                line = classes * size
                if transposed(tile, row, classes, m, array + start * line, line, real(0)):
                    return
            for lane in range(m):
                first = (start + lane) * classes
                for c in range(classes):
                    store(array, first + c, peek(tile + c * row, lane))
        else:
            for c in range(classes):
                address = array + c * step
                line = place(address, layout, start, m, buffer, bits)
                for lane in range(m):
                    store(line, lane, peek(tile + c * row, lane))
                deliver(line, address, layout, start, m, buffer, bits)

    return write
