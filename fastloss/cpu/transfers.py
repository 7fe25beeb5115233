"""Lines of operands: handed out where they lie in memory, gathered and scattered where they do not.

A layout record is a row of int64: ndim, the shape, the strides in bytes; C order. `bits` is any
integer of the size of the elements, which travel as such: one of `BITS`.
"""

from __future__ import annotations

import numpy as np

from fastloss.cpu.ir import least, peek_like, poke_like, size_of
from fastloss.cpu.memory import peek_int64
from fastloss.elementary import inline, jitable

#: An integer of each size.
BITS = {1: np.int8(0), 2: np.int16(0), 4: np.int32(0), 8: np.int64(0)}


@jitable
def offset_of(layout, index, itemsize):
    """Byte offset of the element with the flat number `index`."""
    if layout == 0:
        return index * itemsize
    ndim = peek_int64(layout, 0)
    if ndim == 1:
        return index * peek_int64(layout, 2)
    offset = 0
    for d in range(ndim, 0, -1):
        length = peek_int64(layout, d)
        offset += index % length * peek_int64(layout, ndim + d)
        index //= length
    return offset


@inline
def run_at(layout, index, n):
    """(elements from `index` on that one stride walks through, at most `n`; that stride)."""
    ndim = peek_int64(layout, 0)
    length = peek_int64(layout, ndim)
    return least(n, length - index % length), peek_int64(layout, 2 * ndim)


@jitable
def copy_items(target, target_step, source, source_step, n, bits):
    """Copy `n` elements between two runs."""
    for i in range(n):
        poke_like(target + i * target_step, 0, peek_like(source + i * source_step, 0, bits))


@jitable
def repeat_item(target, source, n, bits):
    """Write one element `n` times, in a row."""
    item = peek_like(source, 0, bits)
    for i in range(n):
        poke_like(target, i, item)


@jitable
def line_at(address, layout, start, n, bits):
    """Address of the elements start .. start + n where they lie in a row, else 0."""
    itemsize = size_of(bits)
    if layout == 0:
        return address + start * itemsize
    run, stride = run_at(layout, start, n)
    if run == n and stride == itemsize:
        return address + offset_of(layout, start, itemsize)
    return np.int64(0)


@jitable
def fetch(address, layout, start, n, buffer, bits):
    """Address of the elements start .. start + n in a row: their own, or `buffer` filled."""
    line = line_at(address, layout, start, n, bits)
    if line != 0:
        return line
    itemsize = size_of(bits)
    done = 0
    while done < n:
        run, stride = run_at(layout, start + done, n - done)
        source = address + offset_of(layout, start + done, itemsize)
        target = buffer + done * itemsize
        if stride == 0:
            repeat_item(target, source, run, bits)
        else:
            copy_items(target, itemsize, source, stride, run, bits)
        done += run
    return buffer


@jitable
def place(address, layout, start, n, buffer, bits):
    """Address to write the elements start .. start + n to; `deliver` makes it good."""
    line = line_at(address, layout, start, n, bits)
    return line if line != 0 else buffer


@jitable
def deliver(placed, address, layout, start, n, buffer, bits):
    """Bring what was written at `placed` to where it belongs, if it is not there yet."""
    if placed != buffer:
        return
    itemsize = size_of(bits)
    done = 0
    while done < n:
        run, stride = run_at(layout, start + done, n - done)
        target = address + offset_of(layout, start + done, itemsize)
        copy_items(target, stride, buffer + done * itemsize, itemsize, run, bits)
        done += run


@jitable
def apart(line, n, buffer, bits):
    """Copy a line that is about to be overwritten; return where the copy is.

    A loop in place finds at run time that its arrays overlap, and runs scalar.
    """
    for i in range(n):
        poke_like(buffer, i, peek_like(line, i, bits))
    return buffer
