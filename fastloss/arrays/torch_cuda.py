"""PyTorch tensors on CUDA, on PyTorch's current stream; results from its caching allocator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fastloss.arrays.cuda import DeviceArray, Place, describe
from fastloss.dtypes import BFLOAT16_BITS

_DTYPES: dict[Any, np.dtype[Any]] = {
    torch.float64: np.dtype(np.float64),
    torch.float32: np.dtype(np.float32),
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: BFLOAT16_BITS,
    torch.int8: np.dtype(np.int8),
    torch.int16: np.dtype(np.int16),
    torch.int32: np.dtype(np.int32),
    torch.int64: np.dtype(np.int64),
    torch.uint8: np.dtype(np.uint8),
    torch.uint16: np.dtype(np.uint16),
    torch.uint32: np.dtype(np.uint32),
    torch.uint64: np.dtype(np.uint64),
    torch.bool: np.dtype(np.bool_),
}
_TORCH_DTYPES: dict[Any, np.dtype[Any]] = {dtype: name for name, dtype in _DTYPES.items()}


def _stream_of_object(device: int) -> int:
    return int(torch.cuda.current_stream(device).cuda_stream)


#: (number of a device) -> the handle of its current stream; PyTorch's compiler looks it up so.
current_stream: Callable[[int], int] = getattr(
    torch._C, "_cuda_getCurrentRawStream", _stream_of_object
)


def read_cuda(tensor: Any, role: str) -> DeviceArray:
    """Describe a dense CUDA tensor that does not require grad."""
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise TypeError(f"{role} must be real numbers, not {tensor.dtype}; convert with .to(...)")
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    return _describe(tensor, _place(tensor.device), dtype)


def _place(device: Any) -> Place:
    def empty(
        shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...] | None
    ) -> DeviceArray:
        of_torch: Any = _TORCH_DTYPES[dtype]
        if strides is None:
            tensor = torch.empty(shape, dtype=of_torch, device=device)
        else:
            steps = [step // dtype.itemsize for step in strides]
            tensor = torch.empty_strided(shape, steps, dtype=of_torch, device=device)
        return _describe(tensor, place, dtype)

    number = _number(device)
    place = Place(number, current_stream(number), empty)
    return place


def _number(device: Any) -> int:
    return int(device.index)


def _describe(tensor: Any, place: Place, dtype: np.dtype[Any]) -> DeviceArray:
    strides = tuple(step * dtype.itemsize for step in tensor.stride())
    return describe(tensor, place, tensor.data_ptr(), tuple(tensor.shape), dtype, strides)
