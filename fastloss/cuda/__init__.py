"""Losses on CUDA, by numba-cuda. `plan` is the door, the same as every target's.

Nothing of numba-cuda is imported before the first plan is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastloss.device import require_gpu
from fastloss.spec import DistanceSpec, Operands, PointwiseSpec, Request, SimilaritySpec

if TYPE_CHECKING:
    from fastloss.cuda.class_plan import ClassPlan
    from fastloss.cuda.distance_plan import DistancePlan
    from fastloss.cuda.pointwise_plan import PointwisePlan
    from fastloss.cuda.similarity_plan import SimilarityPlan


def plan(
    request: Request, operands: Operands
) -> PointwisePlan | DistancePlan | SimilarityPlan | ClassPlan:
    """Return the plan for a call that has passed the checks."""
    from fastloss.arrays.cuda import place_of

    require_gpu(place_of(operands.predictions).device)
    from fastloss.cuda.class_plan import ClassPlan
    from fastloss.cuda.distance_plan import DistancePlan
    from fastloss.cuda.pointwise_plan import PointwisePlan
    from fastloss.cuda.similarity_plan import SimilarityPlan

    if isinstance(request.spec, PointwiseSpec):
        return PointwisePlan(request.spec, request, operands)
    if isinstance(request.spec, DistanceSpec):
        return DistancePlan(request.spec, request, operands)
    if isinstance(request.spec, SimilaritySpec):
        return SimilarityPlan(request.spec, request, operands)
    return ClassPlan(request.spec, request, operands)
