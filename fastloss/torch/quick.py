"""The short way for calls on dense CPU tensors, without an array among the options.

A plan is found by what the tensors say of themselves and computes where they lie. To read them as
NumPy arrays first takes longer than the loss of a small batch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch

from fastloss import engine
from fastloss.arrays import CPU, Door
from fastloss.arrays.torch import KIND
from fastloss.cpu.direct import direct_plan
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import stand_in
from fastloss.spec import Spec, Want
from fastloss.torch.call import Tensor

_strided = torch.strided
_from_numpy = torch.from_numpy

_NO_OPTIONS: tuple[Any, tuple[Any, ...]] = {}, ()

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
    # One function, and no loop over the two tensors: small calls notice.
    if predictions.is_cuda:
        return _on_cuda()(
            spec, want, predictions, targets, sample_weight, reduction, grad_output, out, options
        )
    if (
        sample_weight is grad_output is out is None
        and type(targets) is Tensor
        and predictions.layout is targets.layout is _strided
        and predictions.is_cpu
        and targets.is_cpu
        and not (predictions.is_neg() or targets.is_neg())
    ):
        arrays, scalars = engine.split_options(CPU, options) if options else _NO_OPTIONS
        key = (
            spec, want, reduction, scalars, predictions.dtype, predictions.shape,
            predictions.is_contiguous() or predictions.stride(),
            targets.dtype, targets.shape, targets.is_contiguous() or targets.stride(),
        )  # fmt: skip
        try:
            plan = None if arrays else _plans[key]
        except KeyError:
            plan = direct_plan(KIND, spec, want, predictions, targets, reduction, None, options)
            engine.remember(_plans, key, plan)
        except TypeError:  # a reduction that cannot be hashed: the checks refuse it
            plan = None
        p, t = predictions.data_ptr(), targets.data_ptr()
        # Nowhere lie empty tensors, and zeros or freed ones that have no memory.
        if plan is not None and p and t and stand_in is not None:
            results = plan.run_at(stand_in(p), stand_in(t))
            if results is not None:
                loss, grad, hess = results
                return (
                    None if loss is None else _from_numpy(loss),  # of a dtype that NumPy knows
                    None if grad is None else KIND.give(grad, predictions),
                    None if hess is None else KIND.give(hess, predictions),
                )
    return engine.compute(
        spec, want, predictions, targets, sample_weight, reduction, grad_output, out, options
    )


@functools.cache
def _on_cuda() -> Door:
    """Return the short way on CUDA, whose modules are not loaded before."""
    from fastloss.torch.quick_cuda import evaluate

    return evaluate
