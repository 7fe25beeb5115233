"""What the plans of the CPU have in common: addresses, layouts, outputs, the launch.

A plan holds the kernels and every argument of them that stays the same from call to call; a
run adds the arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.checks import as_float, check_overlap, real_of
from fastloss.cpu.compile import Kernel
from fastloss.cpu.driver import ALL_GOOD, MAYBE_SHARED, NO_GUARDS, Guards, Launch
from fastloss.cpu.record import DATA, ITEMS, address_of, pack, shared_within
from fastloss.cpu.threads import launcher
from fastloss.layouts import (
    broadcast_strides,
    c_strides,
    layout_record,
    memory_order,
    permuted,
)
from fastloss.lazy import lazy
from fastloss.reuse import array_maker
from fastloss.spec import Operands, Request, Results
from fastloss.variant import Outputs

#: Makes None: in C, because small calls notice.
_nothing: Callable[[], Any] = type(None)


class CpuPlan:
    """What the plans have in common; the subclasses choose the kernels."""

    prepare: Kernel | None
    prepare_chunks: int
    compute: Kernel
    chunks: int
    #: Whether `compute` looks for what is to be refused, where nobody sees what it has written.
    checks = False
    #: How many arrays the kernels' record begins with, and its packed numbers.
    arrays: int
    numbers: bytes
    #: Bytes of memory for what `prepare` leaves to `compute`.
    scratch = 0
    #: What the sum of the losses is divided by where nothing has to be converted; nan for the
    #: sum of the weights.
    divisor: float

    def __init__(
        self, request: Request, operands: Operands, loss_shape: tuple[int, ...], as_given: bool
    ) -> None:
        self.want = request.want
        self.real = real_of(operands.predictions)
        self.per_example = request.reduction == "none"
        self.mean = request.reduction == "mean"
        self.loss_shape = loss_shape
        self.out_shape = loss_shape if self.per_example else ()
        self.shape = operands.predictions.shape
        self.dtype = operands.predictions.dtype
        self.memory_order = memory_order(operands.predictions)
        #: These make the arrays that results are written to, and None of what is not wanted.
        self.new_loss = array_maker(self.out_shape, self.real) if request.want.loss else _nothing
        new_gradient = array_maker(self.shape, self.dtype, self.memory_order)
        self.new_gradient = new_gradient if request.want.grad else _nothing
        self.new_hessian = new_gradient if request.want.hess else _nothing
        self.outputs = Outputs(
            request.want.loss,
            request.want.grad,
            request.want.hess,
            self.per_example and request.want.loss,
        )
        #: Whether kernels take all inputs as they are given.
        self.as_given = as_given
        p, t, _, _, grad, hess, _ = operands
        #: Whether the driver looks if the gradient's memory is its own.
        self.guarded = as_given and grad is not None and hess is None
        self.guards = NO_GUARDS
        if self.guarded and grad is not None:
            in_place = grad.strides == p.strides
            self.guards = (*shared_within(grad, p), *shared_within(grad, t), int(in_place))
        #: The order in which a kernel walks the axes of the layouts; None for C order.
        self.walk_order: tuple[int, ...] | None = None
        #: What kernels find by its address.
        self._kept: list[Any] = []

    def run(self, operands: Operands, upstream: float) -> Results:
        """Compute."""
        p, t, _, _, grad, hess, _ = operands
        if (grad is not None and not (self.guarded and grad.flags.writeable)) or hess is not None:
            check_overlap(operands)
        results = loss, grad, hess = (
            self.new_loss(),
            self.new_gradient() if grad is None else grad,
            self.new_hessian() if hess is None else hess,
        )
        arrays: tuple[Array | None, ...]
        if self.as_given:
            divisor, arrays = self.divisor, (loss, grad, hess, p, t, None, None, None, None)
        else:
            divisor, inputs = self.converted(operands)
            arrays = (loss, grad, hess, *inputs)
        bad = self.launch(self.address, id(arrays), divisor, upstream)
        if bad == MAYBE_SHARED:
            check_overlap(operands)
            bad = self.launch(self.address_unguarded, id(arrays), divisor, upstream)
        if bad != ALL_GOOD:
            raise self.refusal(operands, bad)
        return results

    def run_at(
        self, predictions: Any, targets: Any, results: tuple[Any, Any, Any] | None = None
    ) -> tuple[Any, Any, Any] | None:
        """Compute from a `stand_in` of each array, both taken as given; return the results.

        They are new, or those given: dense, and apart from each other and all else. None if a
        target is refused, by when they may be written: `run` has the words for it.
        """
        loss, grad, hess = results = results or (
            self.new_loss(), self.new_gradient(), self.new_hessian(),
        )  # fmt: skip
        arrays = (loss, grad, hess, predictions, targets, None, None, None, None)
        bad = self.launch(self.address, id(arrays), self.divisor, 1.0)
        return results if bad == ALL_GOOD else None

    def converted(self, operands: Operands) -> tuple[float, tuple[Array | None, ...]]:
        """Return what the sum of the losses is divided by, and the inputs as kernels take them.

        They stand in the order of the kernels' record; what else must live on follows.
        """
        raise NotImplementedError

    def refusal(self, operands: Operands, bad: int) -> Exception:
        """Return the error for the element or example of this number."""
        raise NotImplementedError

    @lazy
    def launch(self) -> Callable[[int, int, float, float], int]:
        """What calls the driver."""
        return launcher(self.chunks)

    @lazy
    def address(self) -> int:
        """Where the record of the driver and the kernels lies, as long as the plan lives."""
        return self.record_of(self.compute, self.guards)

    @lazy
    def address_unguarded(self) -> int:
        """The same, of a record that lets `out` share memory."""
        return self.record_of(self.compute, NO_GUARDS)

    def record_of(self, compute: Kernel, guards: Guards) -> int:
        """Return the address of a record that lives as long as the plan."""
        header = Launch(
            0 if self.prepare is None else self.prepare.address, self.prepare_chunks,
            compute.address, self.chunks, int(self.checks),
            self.real.itemsize if self.outputs.loss and not self.per_example else 0,
            *guards, self.arrays, ITEMS, id(None), DATA, self.scratch,
        )  # fmt: skip
        record = pack(Launch, header) + self.numbers
        self._kept.append(record)
        return address_of(record)

    def layout(self, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int:
        """Return the address of a layout record that lives as long as the plan, or 0."""
        record = layout_record(
            permuted(shape, self.walk_order), permuted(strides, self.walk_order), itemsize
        )
        if record is None:
            return 0
        self._kept.append(record)
        return int(record.ctypes.data)

    def broadcast_layout(self, array: Array | None, dtype: np.dtype[Any]) -> int:
        """Return the layout of an array, once read as `dtype`, broadcast to the loss."""
        itemsize = dtype.itemsize
        if array is None or array.dtype != dtype:
            # Where it has to be converted, the copy lies in C order.
            shape = () if array is None else array.shape
            strides = c_strides(shape, itemsize)
        else:
            shape, strides = array.shape, array.strides
        return self.layout(
            self.loss_shape, broadcast_strides(shape, strides, self.loss_shape), itemsize
        )

    def as_row(self, array: Array | None) -> Array | None:
        """Return weights as a row of float64, one for each example; None where there are none."""
        if array is None:
            return None
        weights = as_float(array, np.dtype(np.float64))
        return np.ascontiguousarray(np.broadcast_to(weights, self.loss_shape))

    def new_strides(self) -> tuple[int, ...]:
        """Return the strides of a new gradient."""
        order = self.memory_order
        packed = c_strides(permuted(self.shape, order), self.dtype.itemsize)
        return packed if order is None else permuted(packed, tuple(np.argsort(order)))
