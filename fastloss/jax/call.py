"""A call of a loss besides its arrays, and how it is computed where XLA has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastloss import engine
from fastloss.arrays import Array, kind_of
from fastloss.cpu.direct import direct_plan
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import stand_in
from fastloss.jax import ffi
from fastloss.lazy import lazy
from fastloss.spec import Spec, Want


class Call(NamedTuple):
    """What is asked of a loss, besides the arrays; hashable.

    The operands are predictions, targets, then sample weight and upstream gradient where they
    are given, then the options that are arrays.
    """

    spec: Spec
    want: Want
    reduction: str
    options: tuple[tuple[str, Any], ...]
    weighted: bool
    upstream: bool
    arrays: tuple[str, ...]

    def split(self, operands: Sequence[Any]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Return (predictions, targets, sample weight, upstream gradient, options)."""
        rest = list(operands[2:])
        weight = rest.pop(0) if self.weighted else None
        upstream = rest.pop(0) if self.upstream else None
        return operands[0], operands[1], weight, upstream, dict(
            zip(self.arrays, rest, strict=True)
        )  # fmt: skip


class Target:
    """A call on arrays of known shapes, of which XLA gives the addresses.

    `in_place`: the gradient lies where the predictions lie.
    """

    def __init__(
        self,
        call: Call,
        inputs: Sequence[ffi.Layout],
        outputs: Sequence[ffi.Layout],
        in_place: bool,
    ) -> None:
        self.call, self.inputs, self.outputs, self.in_place = call, inputs, outputs, in_place
        #: Whether class indices are converted: JAX has int32, and kernels read int64.
        self.widens = False

    def __call__(self, given: ffi.Addresses, wanted: ffi.Addresses) -> None:
        """Compute into the outputs."""
        if all(given) and all(wanted) and self._short_way(given, wanted):
            return
        operands = [layout.at(where) for layout, where in zip(self.inputs, given, strict=True)]
        results = [layout.at(where) for layout, where in zip(self.outputs, wanted, strict=True)]
        compute(self.call, operands, results)

    def _short_way(self, given: ffi.Addresses, wanted: ffi.Addresses) -> bool:
        """Compute by a plan that takes addresses; False where there is none, or a bad target."""
        if self.plan is None or stand_in is None:
            return False
        p, t = map(stand_in, given)
        if self.widens:
            t = self.inputs[1].at(given[1]).astype(np.int64)
        results = iter(map(stand_in, wanted))
        want = self.call.want
        loss = next(results) if want.loss else None
        grad = next(results) if want.grad else None
        hess = next(results) if want.hess else None
        return self.plan.run_at(p, t, (loss, grad, hess)) is not None

    @lazy
    def plan(self) -> CpuPlan | None:
        """The plan that takes addresses, if there is one."""
        if len(self.inputs) != 2:
            return None
        p, t = [np.empty(layout.shape, layout.dtype) for layout in self.inputs]
        plan = self._plan(p, t)
        if plan is None and t.dtype == np.int32:
            self.widens = True
            plan = self._plan(p, np.empty(t.shape, np.int64))
        return plan

    def _plan(self, p: Array, t: Array) -> CpuPlan | None:
        spec, want, reduction, options, *_ = self.call
        return direct_plan(
            kind_of(p, "predictions"), spec, want, p, t, reduction,
            p if self.in_place else None, dict(options),
        )  # fmt: skip


def compute(call: Call, operands: Sequence[Array], outputs: Sequence[Array]) -> None:
    """Compute into the outputs."""
    p, t, w, u, options = call.split(operands)
    results = list(outputs)
    loss = results.pop(0) if call.want.loss else None
    out = None if not results else results[0] if len(results) == 1 else tuple(results)
    value, _, _ = engine.compute(
        call.spec, call.want, p, t, w, call.reduction, u, out, {**dict(call.options), **options}
    )
    if loss is not None:
        loss[...] = value
