"""Calls on tensors that PyTorch traces or transforms: by an operator, or by `torch.func`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fastloss.arrays.torch import is_transformed
from fastloss.spec import Spec, Want
from fastloss.torch import operators
from fastloss.torch.call import Call, Tensor, name_of
from fastloss.torch.eager import keeps_gradient, refuse_other_gradients
from fastloss.torch.transforms import transformed_gradient, transformed_loss


def evaluate(
    spec: Spec,
    want: Want,
    predictions: Tensor,
    targets: Any,
    sample_weight: Any,
    reduction: str,
    grad_output: Any,
    out: Any,
    options: Mapping[str, Any],
) -> tuple[Any, Any, Any]:
    """Return (loss, gradient, hessian) of a call that PyTorch traces or transforms."""
    if want is Want.LOSS and torch.is_grad_enabled():
        refuse_other_gradients(spec, targets, sample_weight, options)
    if want.hess or not (out is None or want is Want.LOSS):  # of a loss it is a permission
        raise NotImplementedError(
            f"{spec.name}: grad_and_hess and out= are not offered inside torch.compile, "
            "torch.export and torch.func; call them outside of it"
        )
    arrays = {k: v for k, v in options.items() if isinstance(v, (Tensor, np.ndarray))}
    plain = {
        k: v.item() if isinstance(v, np.generic) else v
        for k, v in options.items()
        if k not in arrays
    }
    call = Call(name_of(spec), reduction, plain, tuple(arrays))
    tensors = [_as_tensor(t) for t in (predictions, targets, sample_weight, *arrays.values())]
    return _through_operators(call, want, tensors, grad_output)


def _through_operators(
    call: Call, want: Want, tensors: list[Any], grad_output: Any
) -> tuple[Any, Any, Any]:
    p, t, w, *arrays = tensors
    text = call.text()
    if want is not Want.LOSS:
        upstream = torch.as_tensor(1.0 if grad_output is None else grad_output)
        if is_transformed():  # `torch.func` would take what is detached for a constant
            loss = transformed_loss(call, p, t, w, *arrays)
            return loss, transformed_gradient(call, upstream, p, t, w, *arrays), None
        # What the methods return is outside of autograd.
        p, t, w, *arrays = (x if x is None else x.detach() for x in tensors)
        loss = operators.value(p, t, w, arrays, text)
        return loss, operators.grad(upstream, p, t, w, arrays, text), None
    if is_transformed():
        return transformed_loss(call, p, t, w, *arrays), None, None
    differentiated = p.requires_grad and torch.is_grad_enabled()
    if differentiated and not torch.compiler.is_compiling():
        # `torch.jit.trace` looks whether it finds the same without gradients.
        differentiated = not torch._C._is_tracing()
    if differentiated and keeps_gradient(p, call.spec, call.reduction):
        return operators.value_and_grad(p, t, w, arrays, text)[0], None, None
    return operators.value(p, t, w, arrays, text), None, None


def _as_tensor(value: Any) -> Any:
    return value if value is None or isinstance(value, Tensor) else torch.as_tensor(value)
