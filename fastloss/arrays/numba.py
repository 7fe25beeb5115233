"""Numba device arrays, and any array with `__cuda_array_interface__`; results are Numba's."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss import device as gpu
from fastloss.arrays.cuda import CudaKind, DeviceArray, Place, describe, device_name
from fastloss.arrays.kinds import Array


class NumbaKind(CudaKind):
    """`numba.cuda` device arrays, and arrays of libraries without a module of their own here."""

    name = "numba"

    def device(self, array: Any) -> str:
        return device_name(gpu.device_of(_address(array)))

    def read(self, array: Any, role: str) -> Array:
        address = _address(array)
        device = gpu.device_of(address)
        interface = getattr(array, "__cuda_array_interface__", {})
        stream = interface.get("stream") or _handle(getattr(array, "stream", 0))
        dtype = np.dtype(getattr(array, "dtype", None) or interface["typestr"])
        return describe(
            array,
            Place(device, stream, _allocator(device, stream)),
            address,
            tuple(array.shape if not interface else interface["shape"]),
            dtype,
            interface.get("strides", getattr(array, "strides", None)),
            writable=not (interface and interface["data"][1]),
        )


def _address(array: Any) -> int:
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is not None:
        return int(interface["data"][0] or 0)
    return int(array.ctypes.data)  # the simulator's arrays wrap NumPy's


def _handle(stream: Any) -> int:
    """Return the handle of a Numba stream, which may also be 0 or None."""
    handle = getattr(stream, "handle", stream)
    handle = getattr(handle, "value", handle)
    return int(handle or 0)


def _allocator(device: int, stream: int) -> Any:
    def empty(
        shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...] | None
    ) -> DeviceArray:
        cuda = gpu.numba_cuda()
        with gpu.current(device):
            array = cuda.device_array(shape, dtype, strides=strides)
        place = Place(device, stream, empty)
        return describe(array, place, _address(array), shape, dtype, strides)

    return empty


KIND = NumbaKind()
