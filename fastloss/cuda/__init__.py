"""Losses on CUDA, by numba-cuda. `plan` is the door, the same as every target's."""

from __future__ import annotations

from fastloss.cuda.class_plan import ClassPlan
from fastloss.spec import ClassSpec, Operands, Request


def plan(request: Request, operands: Operands) -> ClassPlan:
    """Return the plan for a call that has passed the checks."""
    assert isinstance(request.spec, ClassSpec)
    return ClassPlan(request.spec, request, operands)
