"""How kernels see arrays: addresses of elements, whatever the dtype and the layout.

The twin of `fastloss.cpu.memory`. A layout record lies in device memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.primitives import instruction, out_of_line
from fastloss.elementary import inline, jitable

#: The itemsize of each dtype that is read.
SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int8": 1, "int16": 2, "int32": 4, "int64": 8,
    "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8, "bool": 1,
}  # fmt: skip

#: Tells `number_at` which dtype lies at an address.
CODES = {name: code for code, name in enumerate(SIZES)}


class Storage(NamedTuple):
    """How a dtype lies in memory: its size, and how elements are read and written."""

    itemsize: int
    load: Callable[..., Any]
    store: Any = None
    load_wide: Any = None
    store_wide: Any = None


load_float64, load_float32 = instruction("load_float64"), instruction("load_float32")
load_float16, load_bfloat16 = instruction("load_float16"), instruction("load_bfloat16")
load_int8, load_int16 = instruction("load_int8"), instruction("load_int16")
load_int32, load_int64 = instruction("load_int32"), instruction("load_int64")
load_uint8, load_uint16 = instruction("load_uint8"), instruction("load_uint16")
load_uint32 = instruction("load_uint32")
store_float64, store_float32 = instruction("store_float64"), instruction("store_float32")
store_int64 = instruction("store_int64")


@inline
def load_uint64(address):
    """A float64: as an int64 the largest would be negative."""
    bits = load_int64(address)
    low = np.float64(bits & 0xFFFFFFFF)
    return np.float64((bits >> 32) & 0xFFFFFFFF) * 4294967296.0 + low


def _storage(name: str) -> Storage:
    if name in ("uint64", "bool"):
        return Storage(SIZES[name], load_uint64 if name == "uint64" else load_uint8)
    if "float" not in name:
        return Storage(SIZES[name], instruction(f"load_{name}"))
    acts = ("load", "store", "load_wide", "store_wide")
    return Storage(SIZES[name], *[instruction(f"{act}_{name}") for act in acts])


STORAGE = {name: _storage(name) for name in SIZES}


@inline
def load_index(address, size, signed):
    """The integer of `size` bytes at `address`, as int64, which a larger uint64 saturates."""
    if size == 8:
        raw = load_int64(address)
        return raw if signed or raw >= 0 else np.int64(9223372036854775807)
    if size == 4:
        return load_int32(address) if signed else load_uint32(address)
    if size == 2:
        return load_int16(address) if signed else load_uint16(address)
    return load_int8(address) if signed else load_uint8(address)


@jitable
def strided_offset(layout, index):
    """Byte offset of the element with the flat number `index`, by the layout record."""
    out_of_line()
    ndim = load_int64(layout)
    offset = np.int64(0)
    for d in range(ndim, 0, -1):
        length = load_int64(layout + 8 * d)
        offset += index % length * load_int64(layout + 8 * (ndim + d))
        index //= length
    return offset


@inline
def offset_of(layout, index, itemsize):
    """Byte offset of the element with the flat number `index`; a layout of 0 is a plain row."""
    return index * itemsize if layout == 0 else strided_offset(layout, index)


@functools.cache
def place_in_row(strided: bool) -> Any:
    """Return the function (start, c, step, row) -> the address of class c of an example.

    `strided`: the classes lie by the layout record `row`, else `step` bytes apart.
    """

    def place(start, c, step, row):
        return start + (strided_offset(row, np.int64(c)) if strided else c * step)

    return inline(place)


@jitable
def number_at(address, layout, index, size, code):
    """The number of any dtype at a flat index, as a float64: for what is read once an example."""
    out_of_line()
    address += offset_of(layout, index, size)
    if code == 0:
        return load_float64(address)
    if code == 1:
        return np.float64(load_float32(address))
    if code == 2:
        return np.float64(load_float16(address))
    if code == 3:
        return np.float64(load_bfloat16(address))
    if code == 11:
        return load_uint64(address)
    return np.float64(load_index(address, size, code < 8))
