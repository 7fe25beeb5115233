"""The plan of a loss of the distances between the vectors of an example."""

from __future__ import annotations

import math

import numpy as np

from fastloss.arrays import Array
from fastloss.cpu.chunks import examples_per_chunk
from fastloss.cpu.distances import (
    ARRAYS,
    DistanceCall,
    compute_kernel,
    scan_kernel,
)
from fastloss.cpu.examples import SCAN_CHUNK
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import pack
from fastloss.dtypes import name_of
from fastloss.losses.norms import which_norm
from fastloss.spec import DistanceSpec, Operands, Request
from fastloss.variant import DistanceVariant


class DistancePlan(CpuPlan):
    """A loss of the distances between the vectors of an example."""

    arrays = ARRAYS

    def __init__(self, spec: DistanceSpec, request: Request, operands: Operands) -> None:
        p, t = operands.predictions, operands.targets
        as_given = t.dtype == np.int64 and t.flags.c_contiguous
        as_given = as_given and operands.sample_weight is operands.grad_output is None
        super().__init__(request, operands, p.shape[:-2], as_given=as_given)
        self.name = spec.name
        self.examples = int(np.prod(self.loss_shape, dtype=np.int64))
        options = request.options
        variant = DistanceVariant(
            name_of(p.dtype), which_norm(options["p"]), spec.pairs(options), self.outputs
        )
        self.prepare = scan_kernel()
        self.prepare_chunks = -(-self.examples // SCAN_CHUNK)
        self.compute = compute_kernel(spec, variant)
        #: What the formulas take beside the distances.
        self.values = np.array([options[option.name] for option in spec.parameters], self.real)
        entries = p.shape[-1]
        per_chunk = examples_per_chunk(spec.vectors * entries)
        self.chunks = -(-self.examples // per_chunk)
        new = self.new_strides()
        wheres: list[int] = []
        for array in (p, operands.grad_out, operands.hess_out):
            strides = new if array is None else array.strides
            whole = spec.vectors * entries * p.itemsize
            wheres += [self.layout(self.loss_shape, strides[:-2], whole), *strides[-2:]]
        self.numbers = pack(DistanceCall, (
            self.examples, entries, per_chunk, *wheres, int(self.values.ctypes.data),
            options["p"], options["eps"],
        ), ARRAYS)  # fmt: skip
        self.divisor = math.nan if self.mean else 1.0

    def converted(self, operands: Operands) -> tuple[float, tuple[Array | None, ...]]:
        """Return the divisor, and the inputs as kernels take them."""
        p, t, w, u, *_ = operands
        # A uint64 that int64 cannot hold turns negative, which is refused as well.
        inputs = (np.ascontiguousarray(t, np.int64), self.as_row(w), self.as_row(u))
        return self.divisor, (p, *inputs)

    def refusal(self, operands: Operands, bad: int) -> ValueError:
        """Return the error for a target that is neither 0 nor 1."""
        where = tuple(int(i) for i in np.unravel_index(bad, self.loss_shape))
        return ValueError(
            f"{self.name} expects targets 0 or 1; at {where} the target is "
            f"{operands.targets[where]}"
        )
