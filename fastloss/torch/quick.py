"""Small calls in PyTorch's eager mode: two dense CPU tensors, and options that are no arrays.

A plan is found by what the tensors say of themselves and computes where they lie. To read them as
NumPy arrays first takes longer than the loss of a small batch.
"""

from __future__ import annotations

from typing import Any

import torch

from fastloss import engine
from fastloss.arrays import CPU
from fastloss.arrays.torch import KIND
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import stand_in
from fastloss.spec import Want
from fastloss.torch.call import EagerCall, Tensor

_strided = torch.strided
_from_numpy = torch.from_numpy

#: By loss, options and the tensors' signatures; None where a plan has to see arrays.
_plans: dict[Any, CpuPlan | None] = {}


def value_and_grad(predictions: Tensor, call: EagerCall) -> tuple[Tensor, Tensor] | None:
    """Return (loss, gradient), or None where a call is not of this kind."""
    spec, reduction, options, targets, sample_weight = call
    if sample_weight is not None or type(targets) is not Tensor or stand_in is None:
        return None
    # Without a loop: small calls notice.
    dense = predictions.layout is targets.layout is _strided
    if not (dense and predictions.is_cpu and targets.is_cpu):
        return None
    if predictions.is_neg() or targets.is_neg():
        return None
    scalars: tuple[Any, ...] = ()
    if options:
        arrays, scalars = engine.split_options(CPU, options)
        if arrays:
            return None
    key = (
        spec, reduction, scalars,
        predictions.dtype, predictions.shape, predictions.is_contiguous() or predictions.stride(),
        targets.dtype, targets.shape, targets.is_contiguous() or targets.stride(),
    )  # fmt: skip
    try:
        plan = _plans[key]
    except KeyError:
        plan = _plan(predictions, call)
        engine.remember(_plans, key, plan)
    except TypeError:  # a reduction that cannot be hashed: the checks refuse it
        return None
    if plan is None:
        return None
    results = plan.run_at(stand_in(predictions.data_ptr()), stand_in(targets.data_ptr()))
    if results is None:
        return None
    loss, grad = results
    return _from_numpy(loss), KIND.give(grad)  # a loss has a dtype that NumPy knows


def _plan(predictions: Tensor, call: EagerCall) -> CpuPlan | None:
    spec, reduction, options, targets, _ = call
    want = Want.LOSS_AND_GRAD
    device, operands, _, scalars = engine.read(
        KIND, want, predictions, targets, None, None, None, options
    )
    plan = engine.make_plan(spec, want, reduction, device, operands, scalars, options)
    return plan if isinstance(plan, CpuPlan) and plan.as_given else None
