"""Losses on CUDA, by numba-cuda. `plan` is the door, the same as every target's."""

from __future__ import annotations

from fastloss.cuda.class_plan import ClassPlan
from fastloss.cuda.pointwise_plan import PointwisePlan
from fastloss.spec import Operands, PointwiseSpec, Request


def plan(request: Request, operands: Operands) -> PointwisePlan | ClassPlan:
    """Return the plan for a call that has passed the checks."""
    if isinstance(request.spec, PointwiseSpec):
        return PointwisePlan(request.spec, request, operands)
    return ClassPlan(request.spec, request, operands)
