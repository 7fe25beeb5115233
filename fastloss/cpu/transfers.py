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


@inline
def run_of(layout):
    """(length, stride in bytes) of the last dimension: elements that one stride walks through."""
    ndim = peek_int64(layout, 0)
    return peek_int64(layout, ndim), peek_int64(layout, 2 * ndim)


@jitable
def offset_of_run(layout, number):
    """Byte offset of the first element of the run with that number."""
    ndim = peek_int64(layout, 0)
    if ndim == 2:
        return number * peek_int64(layout, 3)
    offset = 0
    for d in range(ndim - 1, 0, -1):
        length = peek_int64(layout, d)
        offset += number % length * peek_int64(layout, ndim + d)
        number //= length
    return offset


@jitable
def offset_of(layout, index, itemsize):
    """Byte offset of the element with the flat number `index`."""
    if layout == 0:
        return index * itemsize
    length, stride = run_of(layout)
    if peek_int64(layout, 0) == 1:
        return index * stride
    return offset_of_run(layout, index // length) + index % length * stride


#: Elements that are worth a loop of vectors.
VECTORS_FROM = 8

#: A run without end.
ENDLESS = 2**62


@inline
def walk_from(layout, index, itemsize):
    """Where a walk through the elements stands, from the one with the flat number `index` on.

    (its byte offset, its place in its run, the run's number, its length, its stride); to go on
    takes no divisions.
    """
    if layout == 0:
        return index * itemsize, 0, 0, ENDLESS, itemsize
    length, stride = run_of(layout)
    number, first = index // length, index % length
    return offset_of_run(layout, number) + first * stride, first, number, length, stride


@inline
def walk_on(layout, walk):
    """The same of the next element."""
    offset, at, number, length, stride = walk
    if at + 1 == length:
        return offset_of_run(layout, number + 1), 0, number + 1, length, stride
    return offset + stride, at + 1, number, length, stride


@jitable
def copy_row(target, source, n, bits):
    """Copy `n` elements that lie in a row into another: in vectors, unlike runs of any stride."""
    for i in range(n):
        poke_like(target, i, peek_like(source, i, bits))


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
def copy_runs(array, layout, start, n, line, bits, gathering):
    """Copy the elements start .. start + n into a row, or from it."""
    itemsize = size_of(bits)
    length, stride = run_of(layout)
    number, first = start // length, start % length
    done = 0
    while done < n:
        run = least(n - done, length - first)
        there = array + offset_of_run(layout, number) + first * stride
        here = line + done * itemsize
        if stride == itemsize and run >= VECTORS_FROM:
            copy_row(here if gathering else there, there if gathering else here, run, bits)
        elif not gathering:
            copy_items(there, stride, here, itemsize, run, bits)
        elif stride == 0:
            repeat_item(here, there, run, bits)
        else:
            copy_items(here, itemsize, there, stride, run, bits)
        done += run
        number += 1
        first = 0


@jitable
def line_at(address, layout, start, n, bits):
    """Address of the elements start .. start + n where they lie in a row, else 0."""
    itemsize = size_of(bits)
    if layout == 0:
        return address + start * itemsize
    length, stride = run_of(layout)
    if stride == itemsize and n <= length - start % length:
        return address + offset_of(layout, start, itemsize)
    return np.int64(0)


@jitable
def fetch(address, layout, start, n, buffer, bits):
    """Address of the elements start .. start + n in a row: their own, or `buffer` filled."""
    line = line_at(address, layout, start, n, bits)
    if line != 0:
        return line
    copy_runs(address, layout, start, n, buffer, bits, True)
    return buffer


@jitable
def place(address, layout, start, n, buffer, bits):
    """Address to write the elements start .. start + n to; `deliver` makes it good."""
    line = line_at(address, layout, start, n, bits)
    return line if line != 0 else buffer


@jitable
def deliver(placed, address, layout, start, n, buffer, bits):
    """Bring what was written at `placed` to where it belongs, if it is not there yet."""
    if placed == buffer:
        copy_runs(address, layout, start, n, buffer, bits, False)


@jitable
def apart(line, n, buffer, bits):
    """Copy a line that is about to be overwritten; return where the copy is.

    A loop in place finds at run time that its arrays overlap, and runs scalar.
    """
    copy_row(buffer, line, n, bits)
    return buffer
