"""How kernels see arrays: addresses of flat sequences, whatever the dtype and the layout.

An operand is an address and the address of its *layout record*, or 0 where its elements
already lie one after the other. `Transfers.fetch` hands a kernel a contiguous line of any operand, by
address where possible and gathered into a buffer otherwise, so the loops that compute only
ever see contiguous memory. All stores of results go through `deliver`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba.core import types
from numba.extending import register_jitable

from fastloss.cpu import ir

inline = register_jitable(forceinline=True)


# --- scalars in memory ------------------------------------------------------------------

_load_float64 = ir.make_load(types.float64, ir.F64)
_load_float32 = ir.make_load(types.float32, ir.F32)
_load_float16 = ir.make_load(types.float32, ir.I16, ir.decode_float16)
_load_bfloat16 = ir.make_load(types.float32, ir.I16, ir.decode_bfloat16)
_load_int8 = ir.make_load(types.int8, ir.I8)
_load_int16 = ir.make_load(types.int16, ir.I16)
_load_int32 = ir.make_load(types.int32, ir.I32)
_load_int64 = ir.make_load(types.int64, ir.I64)
_load_uint8 = ir.make_load(types.uint8, ir.I8)
_load_uint16 = ir.make_load(types.uint16, ir.I16)
_load_uint32 = ir.make_load(types.uint32, ir.I32)
_load_uint64 = ir.make_load(types.uint64, ir.I64)

_store_float64 = ir.make_store(types.float64)
_store_float32 = ir.make_store(types.float32)
_store_float16 = ir.make_store(types.float32, ir.encode_float16)
_store_bfloat16 = ir.make_store(types.float32, ir.encode_bfloat16)

_peek_float64 = ir.make_load(types.float64, ir.F64, streamed=False)
_peek_float32 = ir.make_load(types.float32, ir.F32, streamed=False)
_peek_float16 = ir.make_load(types.float32, ir.I16, ir.decode_float16, streamed=False)
_peek_bfloat16 = ir.make_load(types.float32, ir.I16, ir.decode_bfloat16, streamed=False)

# For data that a kernel both writes and reads: buffers, records, scratch.
_peek_int64 = ir.make_load(types.int64, ir.I64, streamed=False)
_peek_int32 = ir.make_load(types.int32, ir.I32, streamed=False)
_peek_int16 = ir.make_load(types.int16, ir.I16, streamed=False)
_peek_int8 = ir.make_load(types.int8, ir.I8, streamed=False)
_poke_float64 = ir.make_store(types.float64, streamed=False)
_poke_float32 = ir.make_store(types.float32, streamed=False)
_poke_int64 = ir.make_store(types.int64, streamed=False)
_poke_int32 = ir.make_store(types.int32, streamed=False)
_poke_int16 = ir.make_store(types.int16, streamed=False)
_poke_int8 = ir.make_store(types.int8, streamed=False)


# Plain functions around the intrinsics: a kernel's closure must hold nothing else, or its
# cached machine code is never found again (an intrinsic pickles differently every time).
@inline
def load_float64(address, i):
    return _load_float64(address, i)


@inline
def load_float32(address, i):
    return _load_float32(address, i)


@inline
def load_float16(address, i):
    return _load_float16(address, i)


@inline
def load_bfloat16(address, i):
    return _load_bfloat16(address, i)


@inline
def load_int8(address, i):
    return _load_int8(address, i)


@inline
def load_int16(address, i):
    return _load_int16(address, i)


@inline
def load_int32(address, i):
    return _load_int32(address, i)


@inline
def load_int64(address, i):
    return _load_int64(address, i)


@inline
def load_uint8(address, i):
    return _load_uint8(address, i)


@inline
def load_uint16(address, i):
    return _load_uint16(address, i)


@inline
def load_uint32(address, i):
    return _load_uint32(address, i)


@inline
def load_uint64(address, i):
    return _load_uint64(address, i)


@inline
def store_float64(address, i, value):
    _store_float64(address, i, value)


@inline
def store_float32(address, i, value):
    _store_float32(address, i, value)


@inline
def store_float16(address, i, value):
    _store_float16(address, i, value)


@inline
def store_bfloat16(address, i, value):
    _store_bfloat16(address, i, value)


@inline
def peek_float64(address, i):
    return _peek_float64(address, i)


@inline
def peek_float32(address, i):
    return _peek_float32(address, i)


@inline
def peek_float16(address, i):
    return _peek_float16(address, i)


@inline
def peek_bfloat16(address, i):
    return _peek_bfloat16(address, i)


@inline
def peek_int8(address, i):
    return _peek_int8(address, i)


@inline
def peek_int16(address, i):
    return _peek_int16(address, i)


@inline
def peek_int32(address, i):
    return _peek_int32(address, i)


@inline
def peek_int64(address, i):
    return _peek_int64(address, i)


@inline
def poke_float64(address, i, value):
    _poke_float64(address, i, value)


@inline
def poke_float32(address, i, value):
    _poke_float32(address, i, value)


@inline
def poke_int8(address, i, value):
    _poke_int8(address, i, value)


@inline
def poke_int16(address, i, value):
    _poke_int16(address, i, value)


@inline
def poke_int32(address, i, value):
    _poke_int32(address, i, value)


@inline
def poke_int64(address, i, value):
    _poke_int64(address, i, value)


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


@inline
def address_of(scratch):
    """Address of the first element, signed like every other address."""
    return np.int64(scratch.ctypes.data)


@register_jitable
def keep_alive(scratch):
    """Use an array whose address is in use; Numba frees it after its own last use."""
    return scratch.size


# --- layouts, by the records of `fastloss.layouts` --------------------------------------


@register_jitable
def offset_of(layout, index, itemsize):
    """Byte offset of the element with the flat number `index`."""
    if layout == 0:
        return index * itemsize
    ndim = _peek_int64(layout, 0)
    if ndim == 1:
        return index * _peek_int64(layout, 2)
    offset = 0
    for d in range(ndim, 0, -1):
        length = _peek_int64(layout, d)
        offset += index % length * _peek_int64(layout, ndim + d)
        index //= length
    return offset


@inline
def run_at(layout, index, n):
    """(elements from `index` on that one stride walks through, at most `n`; that stride)."""
    ndim = _peek_int64(layout, 0)
    length = _peek_int64(layout, ndim)
    return min(n, length - index % length), _peek_int64(layout, 2 * ndim)


class Transfers(NamedTuple):
    """How lines of elements of one size come and go; see `make_transfers`."""

    fetch: Callable
    place: Callable
    deliver: Callable
    line_at: Callable


def make_transfers(itemsize: int) -> Transfers:
    """Make the functions that hand out contiguous lines of an operand.

    Made anew for every kernel and size: a kernel pickles them by value, and one that served
    all sizes would be compiled for all of them.
    """
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

    return Transfers(fetch, place, deliver, line_at)
