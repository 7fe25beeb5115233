"""CuPy arrays, on CuPy's current stream; results are CuPy's, from its memory pool."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from fastloss.arrays.cuda import CudaKind, DeviceArray, Place, describe, device_name
from fastloss.arrays.kinds import Array
from fastloss.dtypes import BFLOAT16_BITS


class CuPyKind(CudaKind):
    """`cupy.ndarray`."""

    name = "cupy"

    def device(self, array: Any) -> str:
        return device_name(int(array.device.id))

    def read(self, array: Any, role: str) -> Array:
        return _describe(array, _place(int(array.device.id)))


def _place(device: int) -> Place:
    with cupy.cuda.Device(device):
        stream = int(cupy.cuda.get_current_stream().ptr)

    def empty(
        shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...] | None
    ) -> DeviceArray:
        with cupy.cuda.Device(device):
            if strides is None:
                return _describe(cupy.empty(shape, dtype), place)
            memory = cupy.cuda.alloc(int(np.prod(shape)) * dtype.itemsize)
            return _describe(cupy.ndarray(shape, dtype, memory, strides=strides), place)

    place = Place(device, stream, empty)
    return place


def _describe(array: Any, place: Place) -> DeviceArray:
    dtype = np.dtype(array.dtype)
    # Some versions name bfloat16 by their own dtype, without ml_dtypes.
    dtype = BFLOAT16_BITS if dtype.name == "bfloat16" and dtype.kind == "V" else dtype
    return describe(array, place, int(array.data.ptr), array.shape, dtype, array.strides)


KIND = CuPyKind()
