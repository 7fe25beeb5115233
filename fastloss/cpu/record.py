"""What a plan tells the driver and the kernels, as bytes, and how the driver finds the arrays."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy as np

from fastloss.arrays import Array

#: Where an array object keeps the address of its first element (in the first field after the
#: object's header, by NumPy's C ABI), and where a tuple's items begin. The driver looks there:
#: to ask `array.ctypes` costs 1 us, and to pass a number for each array is a visible part of a
#: small call.
DATA = object.__basicsize__
ITEMS = tuple.__basicsize__

_probe = (np.zeros(1, np.int64),)
_item = ctypes.c_ssize_t.from_address(id(_probe) + ITEMS).value
if (
    _item != id(_probe[0])
    or ctypes.c_ssize_t.from_address(_item + DATA).value != _probe[0].ctypes.data
):
    raise ImportError(
        "fastloss reads addresses from tuples and arrays by the C ABI of CPython and NumPy, and in "
        "this build of them they are elsewhere; use a release build of both"
    )

#: Makes, of an address, what the driver takes for an array that begins there: ctypes keeps the
#: address where NumPy does. None where it does not.
stand_in: Callable[[int], Any] | None = ctypes.c_char.from_address
_probed = ctypes.c_char.from_address(id(_probe))
if ctypes.c_ssize_t.from_address(id(_probed) + DATA).value != id(_probe):
    stand_in = None

#: From a bytes object to its first byte: the end of the header.
_BYTES = bytes.__basicsize__ - 1


def pack(record: type, numbers: tuple[float, ...], arrays: int = 0) -> bytes:
    """Return a NamedTuple of ints and floats as bytes, without its first fields, the arrays."""
    kinds = ["d" if kind is float else "q" for kind in get_type_hints(record).values()]
    return struct.pack("=" + "".join(kinds[arrays:]), *numbers)


def address_of(record: bytes) -> int:
    """Return where the bytes lie."""
    return id(record) + _BYTES


def shared_within(out: Array | None, array: Array) -> tuple[int, int]:
    """Return (low, high) so that the two can share memory only where low < out - array < high.

    That is the distance of their first elements, in bytes.
    """
    if out is None:
        return 0, 0
    first, last = _bounds(out)
    start, end = _bounds(array)
    return start - last, end - first


def _bounds(array: Array) -> tuple[int, int]:
    """Return from where to where an array lies, in bytes from its first element."""
    reach = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    low: Any = sum(min(0, step) for step in reach)
    high: Any = sum(max(0, step) for step in reach)
    return (0, 0) if array.size == 0 else (low, high + array.itemsize)
