"""PyTorch tensors, read and returned without a copy; on CUDA by `torch_cuda`."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from fastloss.arrays.cuda import DeviceArray
from fastloss.arrays.kinds import CPU, Array, Door, Kind
from fastloss.dtypes import BFLOAT16_BITS
from fastloss.spec import Want

# Whether PyTorch is tracing or transforming, or the tensors only stand for data; bound, because
# small calls notice. (Whatever else `torch.compiler.is_compiling` tells of has a dispatch mode.)
_is_compiling = torch.compiler.is_dynamo_compiling
_is_traced = torch._C._is_tracing
is_transformed = torch._C._are_functorch_transforms_active
_count_modes = torch._C._len_torch_dispatch_stack
_plain_dispatch = torch.Tensor.__torch_dispatch__


class TorchKind(Kind):
    """`torch.Tensor`."""

    name = "torch"

    def door(
        self, want: Want, predictions: Any, others: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Door | None:
        traced = _is_compiling() or _is_traced() or is_transformed() or _count_modes() > 0
        if traced or type(predictions).__torch_dispatch__ is not _plain_dispatch:
            from fastloss.torch.route import evaluate  # importlib is closed to torch.compile

            if _is_compiling() or is_transformed():  # they refuse forward mode by themselves
                return evaluate
            return _forward_refused(predictions, others, options) or evaluate
        differentiable = want is Want.LOSS and torch.is_grad_enabled()
        if differentiable and predictions.requires_grad:
            return _door("eager")
        if differentiable and any(map(_requires_grad, (*others, *options.values()))):
            return _door("eager")  # it refuses to be constant to them
        return _forward_refused(predictions, others, options) or _door("quick")

    def device(self, array: Any) -> str:
        # A pinned tensor is on the CPU; a CUDA device has a number.
        return CPU if array.is_cpu else str(array.device)

    def read(self, array: Any, role: str) -> Array:
        tensor = array.detach() if array.requires_grad and torch.is_grad_enabled() else array
        if tensor.is_cpu and tensor.dtype is not torch.bfloat16:
            try:  # what PyTorch looks at, in any case; small calls notice
                result: Array = tensor.numpy()
                return result
            except (TypeError, RuntimeError):
                pass
        return _read_special(tensor.detach(), role)

    def read_out(self, array: Any) -> Array:
        if array.requires_grad:
            raise TypeError("out is a tensor that requires grad; pass out.detach()")
        if array.is_neg() or array.is_conj():
            raise TypeError(
                "out is a view whose sign PyTorch has still to change, so nothing can be written "
                "through; pass out.resolve_neg(), a tensor of its own"
            )
        return self.read(array, "out")

    def wrote(self, array: Any) -> None:
        # What autograd has saved of it is another tensor now.
        torch.autograd.graph.increment_version(array)

    def give(self, result: Array, predictions: Any) -> Any:
        if isinstance(result, DeviceArray):
            return result.owner
        try:  # what PyTorch looks at, in any case; small calls notice
            return torch.from_numpy(result)
        except TypeError:  # BFLOAT16_BITS
            return torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)


def _read_special(tensor: Any, role: str) -> Array:
    """Read a tensor that is not plain numbers in CPU memory, as NumPy knows them, or refuse it."""
    if tensor.layout != torch.strided:
        raise TypeError(f"{role} must be a dense tensor, not {tensor.layout}; use .to_dense()")
    if tensor.is_cuda:
        from fastloss.arrays.torch_cuda import read_cuda

        return read_cuda(tensor, role)
    if tensor.dtype is torch.bfloat16:
        bits: Array = tensor.view(torch.int16).numpy().view(np.uint16)
        return bits.view(BFLOAT16_BITS)
    result: Array = tensor.resolve_conj().resolve_neg().numpy()
    return result


@functools.cache
def _door(module: str) -> Door:
    door: Door = importlib.import_module(f"fastloss.torch.{module}").evaluate
    return door


def _requires_grad(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _forward_refused(
    predictions: Any, others: tuple[Any, ...], options: Mapping[str, Any]
) -> Door | None:
    """Return what refuses a call by whose tensors PyTorch differentiates in forward mode."""
    if forward_ad._current_level < 0:
        return None
    if not any(map(_is_dual, (predictions, *others, *options.values()))):
        return None
    from fastloss.torch.eager import refuse_forward_mode

    return refuse_forward_mode


def _is_dual(value: Any) -> bool:
    """Return whether PyTorch's forward mode differentiates by a tensor."""
    if not isinstance(value, torch.Tensor):
        return False
    return forward_ad.unpack_dual(value).tangent is not None  # type: ignore[no-untyped-call]


KIND = TorchKind()
