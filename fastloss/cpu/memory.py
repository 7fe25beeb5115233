"""How kernels see arrays: addresses of flat sequences, whatever the dtype and the layout.

An operand is an address and the address of its *layout record*, or 0 where its elements
already lie one after the other. `transfers.fetch` hands a kernel a contiguous line of any
operand, by address where possible and gathered into a buffer otherwise, so the loops that
compute only ever see contiguous memory. Results go out through `place` and `deliver`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from numba.core import types

from fastloss.cpu import half, ir

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
poke_float64 = _store("poke_float64", types.float64, **_BOTH)
poke_float32 = _store("poke_float32", types.float32, **_BOTH)
poke_int64 = _store("poke_int64", types.int64, **_BOTH)


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
    "int8": Storage(1, load_int8),
    "int16": Storage(2, load_int16),
    "int32": Storage(4, load_int32),
    "int64": Storage(8, load_int64),
    "uint8": Storage(1, load_uint8),
    "uint16": Storage(2, load_uint16),
    "uint32": Storage(4, load_uint32),
    "uint64": Storage(8, load_uint64),
    "bool": Storage(1, load_uint8),
}
