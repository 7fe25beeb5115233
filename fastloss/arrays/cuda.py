"""Arrays on a CUDA device, as the rest of the package sees them.

A `DeviceArray` has the dtype, shape, strides and address of a NumPy array, so that the same
checks hold for it; its contents cannot be read from the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastloss.arrays.kinds import CUDA, Array, Kind

_Strides = tuple[int, ...] | None


class Place(NamedTuple):
    """Where an array lives, in which order work on it is done, and how to make another."""

    device: int
    #: The handle of the producer's current stream; 0 is the default stream.
    stream: int
    #: (shape, dtype, strides or None for C order) -> a new array that the caller may write.
    empty: Callable[[tuple[int, ...], np.dtype[Any], _Strides], DeviceArray]
    #: Called when the results have been launched, by libraries that must wait for them.
    finish: Callable[[int], None] | None = None
    #: Called with every launch (kernel, blocks, arguments), by who wants to repeat it.
    note: Callable[[Any, int, tuple[Any, ...]], None] | None = None


class DeviceArray(np.ndarray):
    """The description of an array whose memory the host cannot read."""

    owner: Any
    place: Place
    #: Of the first element.
    address: int

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "this array lives on a CUDA device and its contents are not read from the host; "
            "where a number is expected, pass a Python number"
        )

    __array_ufunc__ = None  # type: ignore[assignment]
    __getitem__ = __setitem__ = __iter__ = __bool__ = __float__ = __int__ = __index__ = _refuse
    astype = copy = item = tolist = tobytes = _refuse

    def __repr__(self) -> str:
        return f"<{self.dtype} array of shape {self.shape} on {device_name(self.place.device)}>"

    __str__ = __repr__


class _Memory:
    """Hands an address over to NumPy, and keeps its owner alive."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def describe(
    owner: Any,
    place: Place,
    address: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    strides: _Strides = None,
    writable: bool = True,
) -> DeviceArray:
    """Return the description of an array; `strides` in bytes, None for C order."""
    interface = {
        "version": 3,
        "data": (address, not writable),
        "shape": shape,
        "strides": strides,
        "typestr": f"|V{dtype.itemsize}",
    }
    array = np.asarray(_Memory(interface, owner)).view(dtype, DeviceArray)
    array.owner, array.place, array.address = owner, place, address
    return array


def place_of(array: Array) -> Place:
    """Return where an array on CUDA lives."""
    assert isinstance(array, DeviceArray)
    return array.place


def device_name(device: int) -> str:
    """Return the name of a device, as PyTorch and JAX write it."""
    return f"{CUDA}:{device}"


class CudaKind(Kind):
    """What the kinds of device array have in common: results are the arrays they describe."""

    def give(self, result: Array, predictions: Any) -> Any:
        return result.owner if isinstance(result, DeviceArray) else result
