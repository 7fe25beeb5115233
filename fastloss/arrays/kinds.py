"""The kinds of array that need no library of their own here.

NumPy's, and whatever hands over memory by DLPack, `__array_interface__`,
`__cuda_array_interface__` or the buffer protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastloss.errors import DeviceError

if TYPE_CHECKING:
    from fastloss.spec import Want

Array: TypeAlias = np.ndarray[Any, Any]

#: Takes the arguments of `engine.evaluate`, and returns (loss, gradient, hessian). Asked for a loss
#: that will be differentiated, `out` allows the gradient to lie there.
Door: TypeAlias = Callable[..., tuple[Any, Any, Any]]

CPU, CUDA = "cpu", "cuda"

#: DLPack's numbers for memory that a CPU can address (plain, CUDA-pinned, ROCm-pinned), and
#: for CUDA's (plain, managed).
_DLPACK_CPU = {1, 3, 11}
_DLPACK_CUDA = {2, 13}


class Kind:
    """How the arrays of one library come in and go out."""

    name = "array"

    def door(
        self, want: Want, predictions: Any, others: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Door | None:
        """Return what takes this call where the library must see it; None where it need not.

        A library sees what it differentiates or traces. `others` and the options are all else
        that may be an array.
        """
        return None

    def device(self, array: Any) -> str:
        """Return where `array` lives: "cpu", "cuda" or the library's own word."""
        return CPU

    def read(self, array: Any, role: str) -> Array:
        """Return a NumPy array over the memory of `array`: on CUDA, a description of it."""
        raise NotImplementedError

    def read_out(self, array: Any) -> Array:
        """Return a writable NumPy array over the memory of `array`."""
        return self.read(array, "out")

    def wrote(self, array: Any) -> None:
        """Take note of what was written to the memory of `array`, which was read as out."""

    def give(self, result: Array, predictions: Any) -> Any:
        """Return `result` as an array of this kind, over the same memory where possible.

        It belongs to `predictions`, of this kind as well.
        """
        return result


class NumPyKind(Kind):
    """NumPy arrays; subclasses that only add behaviour are read as plain arrays."""

    name = "numpy"

    def read(self, array: Any, role: str) -> Array:
        if type(array) is np.ndarray:
            return array
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError(
                f"{role} is a masked array, whose mask would be ignored; fill it, or pass "
                "sample_weight with 0 where it is masked"
            )
        return np.asarray(array)


class ExchangeKind(Kind):
    """Anything else that hands over CPU memory; results are NumPy arrays."""

    def device(self, array: Any) -> str:
        return exchange_device(array)

    def read(self, array: Any, role: str) -> Array:
        if hasattr(array, "__dlpack__"):
            return np.from_dlpack(array)
        return np.asarray(array if hasattr(array, "__array_interface__") else memoryview(array))


def exchange_device(array: Any) -> str:
    """Return where an array of an unknown library lives.

    Raises
    ------
    DeviceError
        If it is on CUDA and offers DLPack alone.
    """
    if hasattr(array, "__cuda_array_interface__"):
        return CUDA
    if hasattr(array, "__dlpack_device__"):
        code = int(array.__dlpack_device__()[0])
        if code in _DLPACK_CUDA:
            raise DeviceError(
                f"{type(array).__name__} offers its CUDA memory by DLPack alone, which fastloss "
                "does not read; pass an array with __cuda_array_interface__, as CuPy, Numba and "
                "PyTorch have (torch.from_dlpack and cupy.from_dlpack make one without a copy)"
            )
        return CPU if code in _DLPACK_CPU else f"DLPack device type {code}"
    return CPU


def exchange_kind(array: Any, role: str) -> Kind:
    """Return the kind of an array of an unknown library, or refuse it."""
    if any(
        hasattr(array, name)
        for name in ("__dlpack__", "__array_interface__", "__cuda_array_interface__")
    ):
        return ExchangeKind()
    try:
        memoryview(array)
    except TypeError:
        raise TypeError(
            f"{role} must be an array (NumPy, PyTorch, JAX, or one that offers DLPack, "
            f"__array_interface__ or the buffer protocol), not {type(array).__name__}; "
            "convert it with np.asarray(...)"
        ) from None
    return ExchangeKind()
