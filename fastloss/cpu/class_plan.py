"""The plan of a loss over the classes of one axis, or over a region of several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.axes import axes_of, without
from fastloss.checks import as_float
from fastloss.cpu import probabilities, row_losses, softmax_lanes, softmax_rows
from fastloss.cpu.driver import ALL_GOOD
from fastloss.cpu.examples import ARRAYS, SCAN_CHUNK, ClassCall, scan_kernel
from fastloss.cpu.plan import DATA_CELL, NO_CELL, CpuPlan, cell_of, packers
from fastloss.dtypes import FLOATS, name_of
from fastloss.layouts import layout_record, one_step, permuted, walk_of
from fastloss.losses.softmax import link_of
from fastloss.spec import ClassSpec, CrossEntropySpec, Operands, Request, Results, RowSpec
from fastloss.variant import class_variant, row_variant

#: Rows shorter than this do not fill vectors: run across the examples instead.
LANES_BELOW = 64

_FLOAT64 = np.dtype(np.float64)
_pack_addresses, _pack_rest = packers(ClassCall, ARRAYS)
_NO_WEIGHTS: tuple[int, ...] = (NO_CELL,) * 4


class ClassPlan(CpuPlan):
    """A loss over the classes of one axis, or over a region of several."""

    def __init__(self, spec: ClassSpec, request: Request, operands: Operands) -> None:
        p, t = operands.predictions, operands.targets
        axes = axes_of(spec, request.options, p.shape)
        super().__init__(request, operands, without(p.shape, axes))
        self.name = spec.name
        self.classes = classes = math.prod([p.shape[axis] for axis in axes])
        self.examples = int(np.prod(self.loss_shape, dtype=np.int64))
        options = request.options
        smoothing = options.get("label_smoothing", 0.0)
        scale, cap = options.get("logit_scale", 1.0), options.get("logit_softcap")
        self.numbers = (
            1.0 - smoothing, smoothing / classes,
            options.get("z_loss", 0.0), scale, 0.0 if cap is None else cap,
        )  # fmt: skip
        soft = name_of(t.dtype) in FLOATS
        self.soft = soft
        self.ignore_index = options.get("ignore_index", 0)
        self.weighted = operands.sample_weight is not None or operands.grad_output is not None
        # Where no array is given for a gradient, it will be a new one in the order of p.
        new = (p.shape, self.new_strides(), p.itemsize)
        wholes = [
            (a.shape, a.strides, a.itemsize) if a is not None else new
            for a in (p, t if soft else None, operands.grad_out, operands.hess_out)
        ]
        # All arrays walk a row alike: as it lies in the predictions' memory.
        walk = walk_of(p, axes)
        of_rows = [
            (permuted(shape, walk), permuted(strides, walk), itemsize)
            for shape, strides, itemsize in wholes
        ]
        steps = [one_step(*row) for row in of_rows]
        in_rows = all(
            step == itemsize for step, (_, _, itemsize) in zip(steps, wholes, strict=True)
        )
        family = choose_family(spec, classes, in_rows)
        of_examples = [
            (without(shape, axes), without(strides, axes), itemsize)
            for shape, strides, itemsize in wholes
        ]
        self.layouts = [
            self.layout(shape, strides, itemsize if family.ACROSS_EXAMPLES else itemsize * classes)
            for shape, strides, itemsize in of_examples
        ]
        if isinstance(spec, RowSpec):
            self.compute = row_losses.compute_kernel(spec, row_variant(operands, self.outputs))
        else:
            without_gaps = in_rows and all(
                layout_record(shape, strides, itemsize * classes) is None
                for shape, strides, itemsize in of_examples
            )
            rows = family is softmax_lanes and without_gaps
            link = link_of(scale, cap)
            self.compute = family.compute_kernel(
                class_variant(operands, smoothing, link, self.outputs, self.weighted, rows)
            )
        self.prepare = None if soft else scan_kernel()
        self.prepare_chunks = -(-self.examples // SCAN_CHUNK)
        #: The parameters of a row's formulas; one that is an array stands for a class weight.
        self.values = np.array(
            [options.get(option.name, 1.0) for option in spec.parameters], self.real
        )
        self.lanes = softmax_lanes.lanes_per_tile(classes)
        self.per_chunk = family.examples_per_chunk(classes)
        self.chunks = -(-self.examples // self.per_chunk)
        of_arrays = zip(steps, self.layouts, [self.layout(*row) for row in of_rows], strict=True)
        self.rest_of_record = _pack_rest(
            self.examples, self.classes, self.lanes, self.per_chunk,
            *[number or 0 for array in of_arrays for number in array],
            self.ignore_index, int(spec.counts_class_weight), int(self.values.ctypes.data),
            *self.numbers,
        )  # fmt: skip
        #: Whether the class indices are a row of int64 as they are given.
        self.indices_as_given = t.dtype == np.int64 and t.flags.c_contiguous

    def run(self, operands: Operands, upstream: float) -> Results:
        """Compute."""
        loss = np.empty(self.out_shape, self.real) if self.want.loss else None
        grad = self.new_gradient(self.want.grad, operands.grad_out)
        hess = self.new_gradient(self.want.hess, operands.hess_out)
        t = operands.targets
        if not (self.soft or self.indices_as_given):
            t = self._as_indices(t)
        w, weights = None, _NO_WEIGHTS
        if self.weighted or operands.array_options:
            kept = self._weights(operands)
            w, weights = kept[2], tuple([cell_of(array) for array in kept])
        record = _pack_addresses(
            id(operands.predictions) + DATA_CELL, id(t) + DATA_CELL, *weights,
            cell_of(loss), cell_of(grad), cell_of(hess),
        ) + self.rest_of_record  # fmt: skip
        bad = self.launch(record, self._divisor(w), upstream, loss)
        if bad != ALL_GOOD:
            raise self._not_a_class(operands, bad)
        return Results(loss, grad, hess)

    def _weights(self, operands: Operands) -> tuple[Array | None, ...]:
        """Return the class weights in float64 and as the kernel's real, w and u."""
        class_weight = class_weight_real = w = u = None
        if self.weighted:
            w, u = self._as_row(operands.sample_weight), self._as_row(operands.grad_output)
        if operands.array_options:
            (given,) = operands.array_options.values()
            class_weight = np.ascontiguousarray(as_float(given, _FLOAT64))
            class_weight_real = class_weight.astype(self.real, copy=False)
        return class_weight, class_weight_real, w, u

    def _as_indices(self, targets: Array) -> Array:
        """Return the class indices as a row of int64."""
        if targets.dtype == np.uint64:
            # What int64 cannot hold must not turn into a class, or into the ignored one.
            targets = np.minimum(targets, np.uint64(np.iinfo(np.int64).max))
        return np.ascontiguousarray(targets, np.int64)

    def _as_row(self, array: Array | None) -> Array:
        """Return weights as a row of float64, one for each example; 1 where there are none."""
        if array is None:
            return np.ones(self.loss_shape)
        weights = as_float(array, _FLOAT64)
        return np.ascontiguousarray(np.broadcast_to(weights, self.loss_shape))

    def _divisor(self, weights: Array | None) -> float:
        """Return what the sum is divided by; nan where that is for the driver to find out."""
        if not self.mean:
            return 1.0
        if not self.soft:
            return math.nan
        return float(self.examples if weights is None else weights.sum())

    def _not_a_class(self, operands: Operands, bad: int) -> IndexError:
        where = tuple(int(i) for i in np.unravel_index(bad, self.loss_shape))
        return IndexError(
            f"{self.name}: the class index at position {where} is {operands.targets[where]}, "
            f"expected 0 <= index < C = {self.classes} or ignore_index = {self.ignore_index}"
        )


def choose_family(spec: ClassSpec, classes: int, in_rows: bool) -> Any:
    """Return the module that lays kernels over the loss, by the way its classes lie in memory."""
    if not isinstance(spec, CrossEntropySpec):
        return row_losses
    if not spec.from_logits:
        return probabilities
    return softmax_rows if in_rows and classes >= LANES_BELOW else softmax_lanes
