"""JAX arrays on CUDA.

JAX orders its work by streams of its own that it does not show, so a call waits for its
inputs before, and for its results after. `jax.jit` does not see any of this.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from fastloss import device as gpu
from fastloss.arrays.cuda import DeviceArray, Place, describe


def device_number(array: Any) -> int:
    """Return the number of the one device of an array."""
    devices = array.devices()
    if len(devices) > 1:
        raise TypeError(f"a JAX array on {len(devices)} devices cannot be computed on as one")
    return int(next(iter(devices)).local_hardware_id)


def read_cuda(array: Any) -> DeviceArray:
    """Describe an array when it is ready."""
    array.block_until_ready()
    return _describe(array, _place(array, device_number(array)), writable=False)


def _place(like: Any, number: int) -> Place:
    (device,) = like.devices()

    def empty(
        shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...] | None
    ) -> DeviceArray:
        # A new array that nobody has seen may be written, immutable as it will be.
        array = jax.numpy.empty(shape, dtype, device=device).block_until_ready()
        return _describe(array, place, writable=True)

    place = Place(number, 0, empty, gpu.wait)
    return place


def _describe(array: Any, place: Place, *, writable: bool) -> DeviceArray:
    address = int(array.unsafe_buffer_pointer())
    return describe(array, place, address, array.shape, np.dtype(array.dtype), writable=writable)
