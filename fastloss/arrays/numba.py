"""Numba device arrays, and any array with `__cuda_array_interface__`; results are Numba's."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss import device as gpu
from fastloss.arrays.cuda import CudaKind, DeviceArray, Place, describe, device_name
from fastloss.arrays.kinds import Array, exchange_device, exchange_kind


class NumbaKind(CudaKind):
    """`numba.cuda` device arrays, and arrays of libraries without a module of their own here."""

    name = "numba"

    def device(self, array: Any) -> str:
        if not _on_cuda(array):
            return exchange_device(array)
        return device_name(gpu.device_of(_address(array)))

    def read(self, array: Any, role: str) -> Array:
        if not _on_cuda(array):  # such as a list of Numba's
            return exchange_kind(array, role).read(array, role)
        address = _address(array)
        device = gpu.device_of(address)
        interface = getattr(array, "__cuda_array_interface__", {})
        if interface.get("mask") is not None:
            raise TypeError(
                f"{role}: the array has a mask, which would be ignored; pass one without, and "
                "sample_weight with 0 where it is masked"
            )
        stream = interface.get("stream") or _handle(getattr(array, "stream", 0))
        return describe(
            array,
            Place(device, stream, _allocator(device, stream)),
            address,
            tuple(array.shape if not interface else interface["shape"]),
            _dtype(array, interface),
            interface.get("strides", getattr(array, "strides", None)),
            writable=not (interface and interface["data"][1]),
        )


def _on_cuda(array: Any) -> bool:
    # Numba's own first: of those, the simulator's have no interface, and others make a new one.
    return any(hasattr(array, n) for n in ("__cuda_ndarray__", "__cuda_array_interface__"))


def _dtype(array: Any, interface: dict[str, Any]) -> np.dtype[Any]:
    """Return the dtype: as the interface says, for what the array says may be its library's own.

    Of bfloat16, the interface can only say how many bytes it has ("<V2").
    """
    given = getattr(array, "dtype", None)
    dtype = np.dtype(interface["typestr"] if interface else given)
    return given if dtype.kind == "V" and isinstance(given, np.dtype) else dtype


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
            # The array then tells its next reader of the stream; the simulator has no others'.
            known = stream == 0 or gpu.simulated()
            of_numba = stream if known else cuda.external_stream(stream)
            array = cuda.device_array(shape, dtype, strides=strides, stream=of_numba)
        place = Place(device, stream, empty)
        return describe(array, place, _address(array), shape, dtype, strides)

    return empty


KIND = NumbaKind()
