"""Which way a call on tensors goes: at once, through autograd, or through an operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fastloss.spec import Spec, Want
from fastloss.torch.autograd import KeptGradient, Recomputed
from fastloss.torch.call import Call, Tensor, name_of


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
    """Return (loss, gradient, hessian) of a call that PyTorch has to see."""
    arrays = {k: v for k, v in options.items() if isinstance(v, Tensor)}
    plain = {k: v for k, v in options.items() if k not in arrays}
    call = Call(name_of(spec), reduction, plain, tuple(arrays))
    tensors = (predictions, targets, sample_weight, *arrays.values())
    return KeptGradient.apply(call, *tensors), None, None
