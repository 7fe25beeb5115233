"""The plan of a loss of the distances between the vectors of an example."""

from __future__ import annotations

import numpy as np

from fastloss.arrays import Array
from fastloss.arrays.cuda import Place
from fastloss.cuda.distances import DistanceCall, compute_kernel, refuse_kernel
from fastloss.cuda.driver import THREADS as ADD_THREADS
from fastloss.cuda.options import record_of
from fastloss.cuda.plans import (
    CudaPlan,
    address,
    address_or_null,
    blocks_for,
    on_device,
)
from fastloss.cuda.pointwise import scan_kernel
from fastloss.cuda.refusal import NO_EXAMPLE
from fastloss.dtypes import name_of
from fastloss.losses.norms import which_norm
from fastloss.spec import DistanceSpec, Operands, Request, Results
from fastloss.variant import DistanceVariant


class DistancePlan(CudaPlan):
    """A loss of the distances between the vectors of an example."""

    def __init__(self, spec: DistanceSpec, request: Request, operands: Operands) -> None:
        p, t = operands.predictions, operands.targets
        super().__init__(request, operands, p.shape[:-2])
        self.name = spec.name
        self.examples = int(np.prod(self.loss_shape, dtype=np.int64))
        self.entries = p.shape[-1]
        options = request.options
        self.power, self.eps = options["p"], options["eps"]
        self.parameters = [float(options[option.name]) for option in spec.parameters]
        variant = DistanceVariant(
            name_of(p.dtype), which_norm(self.power), spec.pairs(options), self.outputs
        )
        self.kernel = compute_kernel(spec, variant)
        self.record_type = record_of(DistanceCall, (False,) * len(self.parameters))
        whole = spec.vectors * self.entries * p.itemsize
        new = self.new_strides()
        #: Of predictions, gradient and hessian: the layout of the examples, and the two steps.
        self.wheres: list[tuple[int, int, int]] = []
        for array in (p, operands.grad_out, operands.hess_out):
            strides = new if array is None else array.strides
            layout = self.layout(self.loss_shape, strides[:-2], whole)
            self.wheres.append((layout, strides[-2], strides[-1]))
        self.targets = (
            self.layout(t.shape, t.strides, t.itemsize), t.itemsize, int(t.dtype.kind == "i"),
        )  # fmt: skip
        self.lay_out_weights(operands)
        self.blocks = blocks_for(self.examples, 1)
        if self.mean and on_device(operands.sample_weight)[0] is not None:
            self.weight_blocks = blocks_for(self.examples, 8 * ADD_THREADS)
        self.count = float(self.examples)

    def compute(self, place: Place, operands: Operands, upstream: float, memory: int) -> Results:
        """Launch the kernels of the loss."""
        loss = place.empty(self.out_shape, self.real, None) if self.want.loss else None
        grad = self.new_gradient(place, self.want.grad, operands.grad_out)
        hess = self.new_gradient(place, self.want.hess, operands.hess_out)
        record = self.record(operands, upstream, loss, grad, hess, memory)
        if self.validate:
            self.refuse_other_targets(place, operands, record)
        if self.weight_blocks:
            self.launch(scan_kernel(DistanceCall), place, self.weight_blocks, record)
        self.launch(self.kernel, place, self.blocks, self.record_type(*record, *self.parameters))
        return loss, grad, hess

    def record(
        self, operands: Operands, upstream: float, loss: Array | None, grad: Array | None,
        hess: Array | None, memory: int,
    ) -> DistanceCall:  # fmt: skip
        """Return the arguments of all kernels of a call, but for the formulas' parameters."""
        of_x, of_g, of_h = self.wheres
        return DistanceCall(
            self.examples, self.entries, address(operands.predictions), *of_x,
            address(operands.targets), *self.targets,
            self.power, self.eps, address_or_null(loss), address_or_null(grad), *of_g,
            address_or_null(hess), *of_h,
            memory + 8 * self.weight_blocks, 0, *self.weights(operands, upstream, memory),
        )  # fmt: skip

    def refuse_other_targets(self, place: Place, operands: Operands, record: DistanceCall) -> None:
        """Raise for the first target other than 0 and 1; waits for the device."""
        bad = self.first_refused(place, refuse_kernel(), record, self.examples)
        if bad == NO_EXAMPLE:
            return
        where = tuple(int(i) for i in np.unravel_index(bad, self.loss_shape))
        raise ValueError(
            f"{self.name} expects targets 0 or 1; at {where} the target is "
            f"{self.read_element(operands.targets, where)}"
        )
