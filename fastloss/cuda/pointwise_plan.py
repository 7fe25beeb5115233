"""The plan of an element-wise loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.arrays.cuda import Place
from fastloss.cuda.driver import THREADS as ADD_THREADS
from fastloss.cuda.options import bits_of, record_of
from fastloss.cuda.plans import (
    CudaPlan,
    address,
    address_or_null,
    blocks_for,
    itemsize_of,
    number_code,
    on_device,
)
from fastloss.cuda.pointwise import (
    THREADS,
    PointwiseCall,
    compute_kernel,
    refuse_kernel,
    scan_kernel,
)
from fastloss.cuda.primitives import WIDE
from fastloss.cuda.refusal import NO_EXAMPLE
from fastloss.cuda.variant import PointwiseVariant
from fastloss.dtypes import name_of
from fastloss.spec import Operands, Option, PointwiseSpec, Request, Results

#: Wide loads that a thread does, where there are enough elements for every block.
PER_THREAD = 4


def constants_of(options: Iterable[Option], given: Iterable[Any]) -> tuple[float | None, ...]:
    """Return the values of options that a kernel is compiled for: the special ones, and flags."""
    return tuple(
        value if isinstance(value, bool) or value in option.constants else None
        for option, value in zip(options, given, strict=True)
    )


class PointwisePlan(CudaPlan):
    """An element-wise loss."""

    def __init__(self, spec: PointwiseSpec, request: Request, operands: Operands) -> None:
        p, t = operands.predictions, operands.targets
        super().__init__(request, operands, p.shape)
        if request.want.hess and spec.hess is None:
            raise TypeError(f"{spec.name} was made without a hessian; pass hess= to pointwise_loss")
        self.spec = spec
        arrays = operands.array_options
        weight, _ = on_device(operands.sample_weight)
        self.array_options = tuple(option.name in arrays for option in spec.options)
        given = [request.options.get(option.name) for option in spec.options]
        self.variant = variant = PointwiseVariant(
            name_of(p.dtype),
            name_of(t.dtype),
            operands.sample_weight is not None or operands.grad_output is not None,
            self.array_options,
            self.outputs,
            constants_of(spec.options, given),
        )
        # Along the memory of the predictions, so that arrays in Fortran order are contiguous.
        self.walk_order = self.memory_order
        self.layouts = [
            0 if a is None else self.layout(a.shape, a.strides, a.itemsize)
            for a in (p, t, operands.grad_out, operands.hess_out)
        ]
        self.lay_out_weights(operands)
        self.option_layouts = {name: self.broadcast_layout(a) for name, a in arrays.items()}
        self.numbers = bits_of([0.0 if value is None else value for value in given], self.real)
        plain = not any(self.layouts) and not arrays and weight is operands.grad_output is None
        self.computes = {
            wide: compute_kernel(spec, variant, wide=wide, plain=plain)
            for wide in ((False, True) if plain else (False,))
        }
        self.record_type = record_of(PointwiseCall, self.array_options, bits=True)
        self.size, self.predictions_size = p.size, p.itemsize
        self.blocks = blocks_for(p.size, THREADS * PER_THREAD * WIDE // p.itemsize)
        if self.mean and weight is not None:
            self.weight_blocks = blocks_for(p.size, 8 * ADD_THREADS)
        self.count = float(p.size)

    def compute(
        self, place: Place, operands: Operands, upstream: float, memory: int
    ) -> Results:  # fmt: skip
        """Launch the kernels of the loss."""
        loss = self.new_loss(place) if self.want.loss else None
        grad = self.new_gradient(place, self.want.grad, operands.grad_out)
        hess = self.new_gradient(place, self.want.hess, operands.hess_out)
        record = self.record(operands, upstream, loss, grad, hess, memory)
        if self.validate and self.spec.domain is not None:
            self.refuse_outside_domain(place, operands, record)
        if self.weight_blocks:
            self.launch(scan_kernel(), place, self.weight_blocks, record)
        numbers = self.option_fields(operands)
        kernel = self.computes[self.is_wide(record)]
        self.launch(kernel, place, self.blocks, self.record_type(*record, *numbers))
        return loss, grad, hess

    def new_loss(self, place: Place) -> Array:
        """Return the array that the loss is written to, in the order of the walk."""
        strides = None
        if self.walk_order is not None and self.per_example:
            strides = self.new_strides_of(self.real.itemsize)
        return place.empty(self.out_shape, self.real, strides)

    def record(
        self, operands: Operands, upstream: float, loss: Array | None, grad: Array | None,
        hess: Array | None, memory: int,
    ) -> PointwiseCall:  # fmt: skip
        """Return the arguments of all kernels of a call, but for the options."""
        p_layout, t_layout, g_layout, h_layout = self.layouts
        return PointwiseCall(
            self.size, address(operands.predictions), p_layout,
            address(operands.targets), t_layout,
            address_or_null(loss), address_or_null(grad), g_layout,
            address_or_null(hess), h_layout, memory + 8 * self.weight_blocks, 0,
            *self.weights(operands, upstream, memory),
        )  # fmt: skip

    def option_fields(self, operands: Operands) -> list[int]:
        """Return the arguments that the options are."""
        if not operands.array_options:
            return self.numbers
        fields: list[int] = []
        for option, number in zip(self.spec.options, self.numbers, strict=True):
            array = operands.array_options.get(option.name)
            if array is None:
                fields.append(number)
            else:
                layout = self.option_layouts[option.name]
                fields += [address(array), layout, itemsize_of(array), number_code(array)]
        return fields

    def is_wide(self, record: PointwiseCall) -> bool:
        """Whether the addresses of this call allow wide loads and stores."""
        if True not in self.computes:
            return False
        others = [a for a in (record.g, record.h) if a]
        if self.variant.targets == self.variant.predictions:
            others.append(record.t)
        if self.per_example and record.loss:
            # What lies before the first boundary of the predictions is written one by one.
            head = -record.p % WIDE // self.predictions_size
            if (record.loss + head * self.real.itemsize) % WIDE:
                return False
        return all((a - record.p) % WIDE == 0 for a in others)

    def refuse_outside_domain(
        self, place: Place, operands: Operands, record: PointwiseCall
    ) -> None:
        """Raise for the first element outside the domain; waits for the device."""
        domain = self.spec.domain
        assert domain is not None
        kernel = refuse_kernel(domain, self.variant.predictions, self.variant.targets)
        bad = self.first_refused(place, kernel, record, self.size)
        if bad == NO_EXAMPLE:
            return
        where = self.position(bad)
        p = self.read_element(operands.predictions, where)
        t = self.read_element(operands.targets, where)
        raise ValueError(
            f"{self.spec.name} expects {domain.expected}; at {where} the prediction is "
            f"{float(p):g} and the target {float(t):g}"
        )

    def position(self, number: int) -> tuple[int, ...]:
        """Return the index of the element with this number in the walk."""
        order = self.walk_order or tuple(range(len(self.shape)))
        walked = np.unravel_index(number, tuple(self.shape[axis] for axis in order))
        return tuple(int(walked[order.index(axis)]) for axis in range(len(order)))
