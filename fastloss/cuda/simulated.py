"""Stand-ins for the intrinsics of `ir`, for Numba's CUDA simulator.

The simulator runs a kernel as Python, one block after the other, with a Python thread for
each thread of the block. "Device" memory is the host's. A warp is four threads here: enough
to run every path, and few enough to be quick.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import threading
from typing import Any

import ml_dtypes
import numpy as np

from fastloss.cuda.launch import CONFIG

WIDE = 16
_FLOATS = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def _launch() -> Any:
    """Return what the simulator knows of the running launch."""
    from numba.cuda.simulator.kernel import _get_kernel_context

    return _get_kernel_context()


def launch(config: int, function: Any, pointers: int, extra: None) -> int:
    """Do what the driver's launch does; `function` is a dispatcher and how its arguments lie."""
    dispatcher, record, fields = function
    blocks, _, _, threads, *_ = CONFIG.unpack(ctypes.string_at(config, CONFIG.size))
    addresses = struct.unpack(f"{len(fields)}q", ctypes.string_at(pointers, 8 * len(fields)))
    arguments = [
        struct.unpack(field, ctypes.string_at(address, 8))[0]
        for field, address in zip(fields, addresses, strict=True)
    ]
    dispatcher[blocks, threads](record(*arguments))
    return 0


class _Shared:
    """Shared memory, by the line that asks for it.

    The simulator's own can give two threads that ask at the same time two arrays.
    """

    lock = threading.Lock()

    def array(self, shape: int, dtype: Any, alignment: int | None = None) -> Any:
        frame = sys._getframe(1)
        with self.lock:
            arrays = _launch().__dict__.setdefault("fastloss_shared", {})
            return arrays.setdefault((frame.f_code, frame.f_lineno), np.empty(shape, dtype))


class _Cuda:
    """`numba.cuda` as a running kernel sees it."""

    shared = _Shared()

    def __getattr__(self, name: str) -> Any:
        return getattr(_launch(), name)


cuda = _Cuda()


def _memory(address: int, dtype: np.dtype[Any], count: int) -> np.ndarray[Any, Any]:
    """Return `count` elements at an address, which must be aligned as on a device."""
    size = dtype.itemsize * count
    assert address % size == 0, f"{size} bytes at {address:#x} are misaligned"
    raw = (ctypes.c_char * size).from_address(int(address))
    return np.frombuffer(memoryview(raw), np.uint8).view(dtype)


def _real(dtype: np.dtype[Any]) -> Any:
    return np.float64 if dtype == np.float64 else np.float32


def _make_float(dtype):
    def load(address):
        return _real(dtype)(_memory(address, dtype, 1)[0])

    def store(address, value):
        _memory(address, dtype, 1)[0] = value

    def load_wide(address, chunk):
        chunk[:] = _memory(address, dtype, WIDE // dtype.itemsize)

    def store_wide(address, chunk):
        _memory(address, dtype, WIDE // dtype.itemsize)[:] = chunk

    return load, store, load_wide, store_wide


def _make_integer(dtype):
    def load(address):
        return int(_memory(address, np.dtype(dtype), 1)[0])

    return load


load_float64, store_float64, load_wide_float64, store_wide_float64 = _make_float(_FLOATS["float64"])
load_float32, store_float32, load_wide_float32, store_wide_float32 = _make_float(_FLOATS["float32"])
load_float16, store_float16, load_wide_float16, store_wide_float16 = _make_float(_FLOATS["float16"])
load_bfloat16, store_bfloat16, load_wide_bfloat16, store_wide_bfloat16 = _make_float(
    _FLOATS["bfloat16"]
)
load_int8 = _make_integer(np.int8)
load_int16 = _make_integer(np.int16)
load_int32 = _make_integer(np.int32)
load_int64 = _make_integer(np.int64)
load_uint8 = _make_integer(np.uint8)
load_uint16 = _make_integer(np.uint16)
load_uint32 = _make_integer(np.uint32)


def float32_of_bits(bits):
    return np.int64(bits).astype(np.int32).view(np.float32)


def float64_of_bits(bits):
    return np.int64(bits).view(np.float64)


def store_int64(address, value):
    _memory(address, np.dtype(np.int64), 1)[0] = value


def shuffle_xor(value, offset):
    """Exchange by way of a board of the whole block: every thread of it must come by."""
    thread: Any = threading.current_thread()
    board = thread._manager.__dict__.setdefault("board", {})
    board[thread.thread_id] = value
    thread.syncthreads()
    other = board[thread.thread_id ^ int(offset)]
    thread.syncthreads()
    return other


def sync_warp():
    threading.current_thread().syncthreads()


def out_of_line():
    """The simulator compiles nothing."""
