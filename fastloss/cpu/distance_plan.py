"""The plan of a loss of the distances between the vectors of an example."""

from __future__ import annotations

import math

import numpy as np

from fastloss.arrays import Array
from fastloss.checks import as_float
from fastloss.cpu.distances import (
    ARRAYS,
    DistanceCall,
    compute_kernel,
    examples_per_chunk,
    scan_kernel,
)
from fastloss.cpu.driver import ALL_GOOD
from fastloss.cpu.examples import SCAN_CHUNK
from fastloss.cpu.plan import DATA_CELL, CpuPlan, cell_of, packers
from fastloss.dtypes import name_of
from fastloss.losses.norms import which_norm
from fastloss.spec import DistanceSpec, Operands, Request, Results
from fastloss.variant import DistanceVariant

_FLOAT64 = np.dtype(np.float64)
_pack_addresses, _pack_rest = packers(DistanceCall, ARRAYS)


class DistancePlan(CpuPlan):
    """A loss of the distances between the vectors of an example."""

    def __init__(self, spec: DistanceSpec, request: Request, operands: Operands) -> None:
        p = operands.predictions
        super().__init__(request, operands, p.shape[:-2])
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
        self.rest_of_record = _pack_rest(
            self.examples, entries, per_chunk, *wheres, int(self.values.ctypes.data),
            options["p"], options["eps"],
        )  # fmt: skip

    def run(self, operands: Operands, upstream: float) -> Results:
        """Compute."""
        loss = np.empty(self.out_shape, self.real) if self.want.loss else None
        grad = self.new_gradient(self.want.grad, operands.grad_out)
        hess = self.new_gradient(self.want.hess, operands.hess_out)
        t = operands.targets
        if t.dtype != np.int64 or not t.flags.c_contiguous:
            # A uint64 that int64 cannot hold turns negative, which is refused as well.
            t = np.ascontiguousarray(t, np.int64)
        w, u = self._as_row(operands.sample_weight), self._as_row(operands.grad_output)
        record = _pack_addresses(
            id(operands.predictions) + DATA_CELL, id(t) + DATA_CELL, cell_of(w), cell_of(u),
            cell_of(loss), cell_of(grad), cell_of(hess),
        ) + self.rest_of_record  # fmt: skip
        bad = self.launch(record, math.nan if self.mean else 1.0, upstream, loss)
        if bad != ALL_GOOD:
            where = tuple(int(i) for i in np.unravel_index(bad, self.loss_shape))
            raise ValueError(
                f"{self.name} expects targets 0 or 1; at {where} the target is "
                f"{operands.targets[where]}"
            )
        return Results(loss, grad, hess)

    def _as_row(self, array: Array | None) -> Array | None:
        """Return weights as a row of float64, one for each example; None where there are none."""
        if array is None:
            return None
        weights = as_float(array, _FLOAT64)
        return np.ascontiguousarray(np.broadcast_to(weights, self.loss_shape))
