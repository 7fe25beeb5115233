"""Plans that compute where arrays lie, without reading them as arrays first: small calls notice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastloss import engine
from fastloss.arrays import Kind
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import stand_in
from fastloss.spec import Spec, Want


def direct_plan(
    kind: Kind,
    spec: Spec,
    want: Want,
    predictions: Any,
    targets: Any,
    reduction: str,
    out: Any,
    options: Mapping[str, Any],
) -> CpuPlan | None:
    """Return a plan whose `run_at` takes addresses, for arrays like these; None if there is none.

    Such kernels take predictions and targets as they are given, and no other arrays.
    """
    device, operands, _, scalars = engine.read(
        kind, want, predictions, targets, None, None, out, options
    )
    if operands.array_options or stand_in is None:
        return None
    plan = engine.make_plan(spec, want, reduction, device, operands, scalars, options)
    return plan if isinstance(plan, CpuPlan) and plan.as_given else None
