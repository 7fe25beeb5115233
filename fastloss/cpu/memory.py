"""How kernels see arrays: addresses of flat sequences, whatever the dtype and the layout.

An operand is an address and the address of its *layout record*, or 0 where its elements
already lie one after the other. `Transfers.fetch` hands a kernel a contiguous line of any
operand, by address where possible and gathered into a buffer otherwise, so the loops that
compute only ever see contiguous memory. Results go out through `place` and `deliver`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba.core import types
from numba.extending import register_jitable

from fastloss.cpu import half, ir
from fastloss.elementary import inline

# --- scalars in memory ------------------------------------------------------------------


def _load(name, kind, item, decode=None, **options):
    return ir.make_load(name, __name__, kind, item, decode, **options)


def _store(name, kind, encode=None, **options):
    return ir.make_store(name, __name__, kind, encode, **options)


load_float64 = _load("load_float64", types.float64, ir.F64)
load_float32 = _load("load_float32", types.float32, ir.F32)
load_float16 = _load("load_float16", types.float32, ir.I16, half.decode_float16)
load_bfloat16 = _load("load_bfloat16", types.float32, ir.I16, half.decode_bfloat16)
load_int8 = _load("load_int8", types.int8, ir.I8)
load_int16 = _load("load_int16", types.int16, ir.I16)
load_int32 = _load("load_int32", types.int32, ir.I32)
load_int64 = _load("load_int64", types.int64, ir.I64)
load_uint8 = _load("load_uint8", types.uint8, ir.I8)
load_uint16 = _load("load_uint16", types.uint16, ir.I16)
load_uint32 = _load("load_uint32", types.uint32, ir.I32)
load_uint64 = _load("load_uint64", types.uint64, ir.I64)

store_float64 = _store("store_float64", types.float64)
store_float32 = _store("store_float32", types.float32)
store_float16 = _store("store_float16", types.float32, half.encode_float16)
store_bfloat16 = _store("store_bfloat16", types.float32, half.encode_bfloat16)

# For data that a kernel both writes and reads: buffers, records, scratch.
_BOTH = {"streamed": False}
peek_float64 = _load("peek_float64", types.float64, ir.F64, **_BOTH)
peek_float32 = _load("peek_float32", types.float32, ir.F32, **_BOTH)
peek_float16 = _load("peek_float16", types.float32, ir.I16, half.decode_float16, **_BOTH)
peek_bfloat16 = _load("peek_bfloat16", types.float32, ir.I16, half.decode_bfloat16, **_BOTH)
peek_int64 = _load("peek_int64", types.int64, ir.I64, **_BOTH)
peek_int32 = _load("peek_int32", types.int32, ir.I32, **_BOTH)
peek_int16 = _load("peek_int16", types.int16, ir.I16, **_BOTH)
peek_int8 = _load("peek_int8", types.int8, ir.I8, **_BOTH)
poke_float64 = _store("poke_float64", types.float64, **_BOTH)
poke_float32 = _store("poke_float32", types.float32, **_BOTH)
poke_int64 = _store("poke_int64", types.int64, **_BOTH)
poke_int32 = _store("poke_int32", types.int32, **_BOTH)
poke_int16 = _store("poke_int16", types.int16, **_BOTH)
poke_int8 = _store("poke_int8", types.int8, **_BOTH)


class Storage(NamedTuple):
    """How a dtype lies in memory: its size, and how one element is read and written.

    `load` and `store` stream inputs in and results out: LLVM may move one across the other.
    `peek` and `poke` stay where they are written, for memory that is both written and read.
    """

    itemsize: int
    load: Callable
    store: Callable | None = None
    peek: Callable | None = None
    poke: Callable | None = None


STORAGE = {
    "float64": Storage(8, load_float64, store_float64, peek_float64, poke_float64),
    "float32": Storage(4, load_float32, store_float32, peek_float32, poke_float32),
    "float16": Storage(2, load_float16, store_float16, peek_float16),
    "bfloat16": Storage(2, load_bfloat16, store_bfloat16, peek_bfloat16),
    "int8": Storage(1, load_int8, None, peek_int8, poke_int8),
    "int16": Storage(2, load_int16, None, peek_int16, poke_int16),
    "int32": Storage(4, load_int32, None, peek_int32, poke_int32),
    "int64": Storage(8, load_int64, None, peek_int64, poke_int64),
    "uint8": Storage(1, load_uint8),
    "uint16": Storage(2, load_uint16),
    "uint32": Storage(4, load_uint32),
    "uint64": Storage(8, load_uint64),
    "bool": Storage(1, load_uint8),
}


# --- layouts ----------------------------------------------------------------------------
# A layout record is a row of int64: ndim, the shape, the strides in bytes; C order.


@register_jitable
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
    return ir.least(n, length - index % length), peek_int64(layout, 2 * ndim)


class Transfers(NamedTuple):
    """How lines of elements of one size come and go; see `transfers_of_a_kernel`."""

    fetch: Callable
    place: Callable
    deliver: Callable
    line_at: Callable
    apart: Callable


def transfers_of_a_kernel() -> Callable[[int], Transfers]:
    """Return the transfers by itemsize, for one kernel.

    Made anew for every kernel: it pickles them by value. Operands of one size share theirs,
    for each is compiled.
    """
    return functools.cache(make_transfers)


def make_transfers(itemsize: int) -> Transfers:
    """Make the functions that hand out contiguous lines of operands of this size."""
    _, _, _, peek, poke = STORAGE[f"int{8 * itemsize}"]

    @register_jitable
    def copy_items(target, target_step, source, source_step, n):
        """Copy `n` elements between two runs, as bits."""
        for i in range(n):
            poke(target + i * target_step, 0, peek(source + i * source_step, 0))

    @register_jitable
    def line_at(address, layout, start, n):
        """Address of the elements start .. start + n where they lie in a row, else 0."""
        if layout == 0:
            return address + start * itemsize
        run, stride = run_at(layout, start, n)
        if run == n and stride == itemsize:
            return address + offset_of(layout, start, itemsize)
        return np.int64(0)

    @register_jitable
    def fetch(address, layout, start, n, buffer):
        """Address of the elements start .. start + n in a row: their own, or `buffer` filled."""
        line = line_at(address, layout, start, n)
        if line != 0:
            return line
        done = 0
        while done < n:
            run, stride = run_at(layout, start + done, n - done)
            source = address + offset_of(layout, start + done, itemsize)
            copy_items(buffer + done * itemsize, itemsize, source, stride, run)
            done += run
        return buffer

    @register_jitable
    def place(address, layout, start, n, buffer):
        """Address to write the elements start .. start + n to; `deliver` makes it good."""
        line = line_at(address, layout, start, n)
        return line if line != 0 else buffer

    @register_jitable
    def deliver(placed, address, layout, start, n, buffer):
        """Bring what was written at `placed` to where it belongs, if it is not there yet."""
        if placed != buffer:
            return
        done = 0
        while done < n:
            run, stride = run_at(layout, start + done, n - done)
            target = address + offset_of(layout, start + done, itemsize)
            copy_items(target, stride, buffer + done * itemsize, itemsize, run)
            done += run

    @register_jitable
    def apart(line, n, buffer):
        """Copy a line that is about to be overwritten; return where the copy is.

        A loop in place finds at run time that its arrays overlap, and runs scalar.
        """
        for i in range(n):
            poke(buffer, i, peek(line, i))
        return buffer

    return Transfers(fetch, place, deliver, line_at, apart)
