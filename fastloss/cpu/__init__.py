"""Losses on the CPU, by Numba. `plan` is the door, the same as every target's."""

from __future__ import annotations

from fastloss.cpu.class_plan import ClassPlan
from fastloss.cpu.distance_plan import DistancePlan
from fastloss.cpu.pointwise_plan import PointwisePlan
from fastloss.cpu.similarity_plan import SimilarityPlan
from fastloss.spec import DistanceSpec, Operands, PointwiseSpec, Request, SimilaritySpec

Plan = PointwisePlan | DistancePlan | SimilarityPlan | ClassPlan


def plan(request: Request, operands: Operands) -> Plan:
    """Return the plan for a call that has passed the checks."""
    if isinstance(request.spec, PointwiseSpec):
        return PointwisePlan(request.spec, request, operands)
    if isinstance(request.spec, DistanceSpec):
        return DistancePlan(request.spec, request, operands)
    if isinstance(request.spec, SimilaritySpec):
        return SimilarityPlan(request.spec, request, operands)
    return ClassPlan(request.spec, request, operands)
