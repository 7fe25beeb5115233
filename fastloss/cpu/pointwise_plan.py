"""The plan of an element-wise loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fastloss.arrays import Array
from fastloss.checks import as_float
from fastloss.cpu.compile import Kernel
from fastloss.cpu.driver import Guards
from fastloss.cpu.formulas import refusal
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.pointwise import (
    ARRAYS,
    CHUNK,
    TILE,
    PointwiseCall,
    compute_kernel,
    prepare_kernel,
)
from fastloss.cpu.record import pack
from fastloss.cpu.signs import kept_bytes
from fastloss.dtypes import name_of
from fastloss.reuse import array_maker
from fastloss.spec import Operands, PointwiseSpec, Request
from fastloss.variant import PointwiseVariant


class PointwisePlan(CpuPlan):
    """An element-wise loss."""

    arrays = ARRAYS

    def __init__(self, spec: PointwiseSpec, request: Request, operands: Operands) -> None:
        p, t = operands.predictions, operands.targets
        self.weighted = operands.sample_weight is not None or operands.grad_output is not None
        as_given = not (self.weighted or operands.array_options)
        super().__init__(request, operands, p.shape, as_given)
        if request.want.hess and spec.hess is None:
            raise TypeError(f"{spec.name} was made without a hessian; pass hess= to pointwise_loss")
        self.spec, self.request = spec, request
        arrays = operands.array_options
        is_array = tuple(option.name in arrays for option in spec.options)
        given = [request.options.get(option.name) for option in spec.options]
        constants = tuple(
            value if value in option.constants else None
            for value, option in zip(given, spec.options, strict=True)
        )
        self.divisor = 1.0
        if self.mean:
            self.divisor = float(p.size) if operands.sample_weight is None else math.nan
        summed = math.isnan(self.divisor)
        # A single tile is looked through before it is computed: then nothing is written.
        unseen = (operands.grad_out is None and operands.hess_out is None) or p.size <= TILE
        self.checks = spec.domain is not None and unseen and not summed
        before = None if self.checks else spec.domain
        signs = before is not None and before.signs
        self.scratch = kept_bytes(p.size) if signs else 0
        variant = PointwiseVariant(
            name_of(p.dtype), name_of(t.dtype), self.weighted, is_array, self.outputs,
            constants, self.checks, signs,
        )  # fmt: skip
        self.prepare = prepare_kernel(before, variant, summed)
        self.compute = compute_kernel(spec, variant)
        self.size = p.size
        self.chunks = self.prepare_chunks = -(-p.size // CHUNK)
        # Along the memory of the predictions, so that arrays in Fortran order are contiguous.
        self.walk_order = self.memory_order
        if self.outputs.per_example:
            self.new_loss = array_maker(self.shape, self.real, self.walk_order)
        self.layouts = [
            0 if a is None else self.layout(a.shape, a.strides, a.itemsize)
            for a in (p, t, operands.grad_out, operands.hess_out)
        ]
        self.weight_layout = self.broadcast_layout(operands.sample_weight, self.real)
        self.upstream_layout = self.broadcast_layout(operands.grad_output, self.real)
        self.values = np.array(
            [request.options.get(option.name, 0.0) for option in spec.options], self.real
        )
        self.option_names = [option.name for option in spec.options]
        self.option_layouts = {
            name: self.broadcast_layout(array, self.real) for name, array in arrays.items()
        }
        self.one = np.ones(1, self.real)
        p_layout, t_layout, g_layout, h_layout = self.layouts
        self.numbers = pack(PointwiseCall, (
            self.size, int(self.values.ctypes.data), p_layout, t_layout,
            self.weight_layout, self.upstream_layout, g_layout, h_layout,
        ), ARRAYS)  # fmt: skip

    def record_of(self, compute: Kernel, guards: Guards) -> int:
        """Return the record's address, or say which of a user's formulas cannot be one."""
        refused = refusal(self.spec, self.real) if compute.user_digest != "" else None
        if refused is not None:
            raise TypeError(refused)
        return super().record_of(compute, guards)

    def converted(self, operands: Operands) -> tuple[float, tuple[Array | None, ...]]:
        """Return the divisor, and the inputs as kernels take them."""
        p, t, w, u, _, _, options = operands
        if self.weighted:
            w, u = self._as_real(w), self._as_real(u)
        return self.divisor, (p, t, w, u, *self._option_lines(options))

    def _as_real(self, weights: Array | None) -> Array:
        """Return weights as the kernel's real; a single 1 where there are none."""
        return self.one if weights is None else as_float(weights, self.real)

    def _option_lines(self, options: Mapping[str, Array]) -> list[Array]:
        """Return the (address, layout) pairs of the options, and the arrays they point to."""
        table = np.zeros((len(self.option_names), 2), np.int64)
        kept = [table]
        for k, name in enumerate(self.option_names):
            if name in options:
                array = as_float(options[name], self.real)
                table[k] = array.ctypes.data, self.option_layouts[name]
                kept.append(array)
        return kept

    def refusal(self, operands: Operands, bad: int) -> ValueError:
        """Return the error for the first element outside the domain, however arrays lie."""
        assert self.spec.domain is not None
        if self.walk_order is not None:
            p, t = map(np.ascontiguousarray, (operands.predictions, operands.targets))
            again = Operands(p, t, None, None, None, None, operands.array_options)
            try:
                PointwisePlan(self.spec, self.request, again).run(again, 1.0)
            except ValueError as error:
                return error
        where = tuple(int(i) for i in np.unravel_index(bad, self.shape))
        p = as_float(operands.predictions, np.dtype(np.float64))[where]
        t = as_float(operands.targets, np.dtype(np.float64))[where]
        return ValueError(
            f"{self.spec.name} expects {self.spec.domain.expected}; at {where} the prediction "
            f"is {p:g} and the target {t:g}"
        )
