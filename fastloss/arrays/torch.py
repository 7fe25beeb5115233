"""PyTorch tensors, read and returned without a copy; on CUDA by `torch_cuda`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fastloss.arrays.cuda import DeviceArray
from fastloss.arrays.kinds import Array, Kind
from fastloss.dtypes import BFLOAT16_BITS


class TorchKind(Kind):
    """`torch.Tensor`."""

    name = "torch"

    def device(self, array: Any) -> str:
        # A pinned tensor is on the CPU; a CUDA device has a number.
        return str(array.device)

    def read(self, array: Any, role: str) -> Array:
        tensor = array.detach()
        if tensor.layout != torch.strided:
            raise TypeError(f"{role} must be a dense tensor, not {tensor.layout}; use .to_dense()")
        if tensor.is_cuda:
            from fastloss.arrays.torch_cuda import read_cuda

            return read_cuda(tensor, role)
        if tensor.dtype == torch.bfloat16:
            bits: Array = tensor.view(torch.int16).numpy().view(np.uint16)
            return bits.view(BFLOAT16_BITS)
        result: Array = tensor.resolve_neg().numpy() if tensor.is_neg() else tensor.numpy()
        return result

    def read_out(self, array: Any) -> Array:
        if array.requires_grad:
            raise TypeError("out is a tensor that requires grad; pass out.detach()")
        return self.read(array, "out")

    def give(self, result: Array) -> Any:
        if isinstance(result, DeviceArray):
            return result.owner
        if result.dtype == BFLOAT16_BITS:
            return torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(result)

    def refuse_untracked(self, predictions: Any, name: str) -> None:
        if predictions.requires_grad and torch.is_grad_enabled():
            raise TypeError(
                f"{name}: predictions require grad, and this version returns a loss that does "
                f"not backpropagate; call {name}.value_and_grad(...) and "
                "predictions.backward(grad), or pass predictions.detach()"
            )


KIND = TorchKind()
