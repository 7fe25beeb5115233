"""The short way for calls on dense CPU tensors, without an array among the options.

A plan is found by what the tensors say of themselves and computes where they lie. To read them as
NumPy arrays first takes longer than the loss of a small batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fastloss import engine
from fastloss.arrays import CPU
from fastloss.arrays.torch import KIND
from fastloss.cpu.direct import direct_plan
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import stand_in
from fastloss.spec import Spec, Want
from fastloss.torch.call import Tensor

_strided = torch.strided
_bfloat16 = torch.bfloat16
_from_numpy = torch.from_numpy

#: By loss, options and the tensors' signatures; None where a plan has to see arrays.
_plans: dict[Any, CpuPlan | None] = {}


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
    """Return (loss, gradient, hessian), computed at once."""
    if sample_weight is grad_output is out is None and type(targets) is Tensor:
        results = where_they_lie(spec, want, predictions, targets, reduction, options)
        if results is not None:
            return results
    return engine.compute(
        spec, want, predictions, targets, sample_weight, reduction, grad_output, out, options
    )


def where_they_lie(
    spec: Spec,
    want: Want,
    predictions: Tensor,
    targets: Tensor,
    reduction: str,
    options: Mapping[str, Any],
) -> tuple[Any, Any, Any] | None:
    """Return (loss, gradient, hessian), or None where a call is not of this kind."""
    # Without a loop: small calls notice.
    dense = predictions.layout is targets.layout is _strided
    if not (dense and predictions.is_cpu and targets.is_cpu) or stand_in is None:
        return None
    if predictions.is_neg() or targets.is_neg():
        return None
    scalars: tuple[Any, ...] = ()
    if options:
        arrays, scalars = engine.split_options(CPU, options)
        if arrays:
            return None
    key = (
        spec, want, reduction, scalars,
        predictions.dtype, predictions.shape, predictions.is_contiguous() or predictions.stride(),
        targets.dtype, targets.shape, targets.is_contiguous() or targets.stride(),
    )  # fmt: skip
    try:
        plan = _plans[key]
    except KeyError:
        plan = direct_plan(KIND, spec, want, predictions, targets, reduction, options)
        engine.remember(_plans, key, plan)
    except TypeError:  # a reduction that cannot be hashed: the checks refuse it
        return None
    if plan is None:
        return None
    p, t = predictions.data_ptr(), targets.data_ptr()
    if not (p and t):  # empty ones, and those whose zeros or memory are nowhere
        return None
    results = plan.run_at(stand_in(p), stand_in(t))
    if results is None:
        return None
    loss, grad, hess = results
    _give = KIND.give if predictions.dtype is _bfloat16 else _from_numpy
    return (
        None if loss is None else _from_numpy(loss),  # of a dtype that NumPy knows
        None if grad is None else _give(grad),
        None if hess is None else _give(hess),
    )
