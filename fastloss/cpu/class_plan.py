"""The plan of a loss over the classes of one axis, or over a region of several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.axes import axes_of, without
from fastloss.checks import as_float
from fastloss.cpu import (
    row_fours,
    row_lanes,
    row_losses,
    separable,
    separable_flat,
    separable_lanes,
    softmax_flat,
    softmax_lanes,
    softmax_rows,
)
from fastloss.cpu.chunks import examples_per_chunk, whole_tiles
from fastloss.cpu.examples import ARRAYS, SCAN_CHUNK, ClassCall, scan_kernel
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import pack
from fastloss.cpu.softmax_parts import kept
from fastloss.dtypes import FLOATS, name_of
from fastloss.layouts import collapse, layout_record, one_step, permuted, strides_of, walk_of
from fastloss.losses.softmax import link_of
from fastloss.spec import ClassSpec, Operands, Request, RowSpec, SeparableSpec
from fastloss.variant import ClassVariant, class_variant, row_variant

#: Rows shorter than this are not worth what is done once for each of them: for cross-entropy
#: without gaps between the rows, the same with derivatives by a mass on all classes, and with
#: gaps; for a `RowSpec`.
SHORT_BELOW, SHORT_BELOW_OF_MASS, SHORT_BELOW_WITH_GAPS, SHORT_BELOW_OF_FORMULAS = 160, 64, 32, 64

#: Rows from this on are gathered one by one: a tile of them would leave the caches.
LONG_FROM = 8192

_FLOAT64 = np.dtype(np.float64)


class ClassPlan(CpuPlan):
    """A loss over the classes of one axis, or over a region of several."""

    arrays = ARRAYS

    def __init__(self, spec: ClassSpec, request: Request, operands: Operands) -> None:
        p, t = operands.predictions, operands.targets
        axes = axes_of(spec, request.options, p.shape)
        soft = name_of(t.dtype) in FLOATS
        self.soft = soft
        #: Whether the class indices are a row of int64 as they are given.
        self.indices_as_given = t.dtype == np.int64 and t.flags.c_contiguous
        self.weighted = operands.sample_weight is not None or operands.grad_output is not None
        super().__init__(
            request,
            operands,
            without(p.shape, axes),
            as_given=(soft or self.indices_as_given)
            and not (self.weighted or operands.array_options),
        )
        self.name = spec.name
        self.classes = classes = math.prod([p.shape[axis] for axis in axes])
        self.examples = int(np.prod(self.loss_shape, dtype=np.int64))
        options = request.options
        smoothing = options.get("label_smoothing", 0.0)
        scale, cap = options.get("logit_scale", 1.0), options.get("logit_softcap")
        factors = (
            1.0 - smoothing, smoothing / classes,
            options.get("z_loss", 0.0), scale, 0.0 if cap is None else cap,
        )  # fmt: skip
        self.ignore_index = options.get("ignore_index", 0)
        self.divisor = 1.0
        if self.mean:
            self.divisor = float(self.examples) if soft else math.nan
        # Where no array is given for a gradient, it will be a new one in the order of p.
        new = (p.shape, self.new_strides(), p.itemsize)
        wholes = [
            new if a is None else (a.shape, strides_of(a), a.itemsize)
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
        of_examples = [
            (without(shape, axes), without(strides, axes), itemsize)
            for shape, strides, itemsize in wholes
        ]
        without_gaps = in_rows and all(
            layout_record(shape, strides, itemsize * classes) is None
            for shape, strides, itemsize in of_examples
        )
        if isinstance(spec, RowSpec):
            family = family_of_formulas(spec, classes, steps, in_rows, without_gaps)
            rows = without_gaps and family is row_lanes
            self.compute = family.compute_kernel(spec, row_variant(operands, self.outputs, rows))
        else:
            link = link_of(scale, cap)
            variant = class_variant(operands, smoothing, link, self.outputs, self.weighted)
            if isinstance(spec, SeparableSpec):
                family = family_of_separable(classes, in_rows, without_gaps)
                self.compute = family.compute_kernel(spec, variant)
            else:
                family = family_of_cross_entropy(variant, classes, in_rows, without_gaps)
                self.compute = family.compute_kernel(variant)
        self.layouts = [
            self.layout(shape, strides, itemsize if family.ACROSS_EXAMPLES else itemsize * classes)
            for shape, strides, itemsize in of_examples
        ]
        self.prepare = None if soft else scan_kernel()
        self.prepare_chunks = -(-self.examples // SCAN_CHUNK)
        #: The parameters of a row's formulas; one that is an array stands for a class weight.
        self.values = np.array(
            [options.get(option.name, 1.0) for option in spec.parameters], self.real
        )
        self.per_tile = 1
        if family.ACROSS_EXAMPLES:
            self.per_tile = family.examples_per_tile(classes)
            shape, strides, itemsize = of_examples[0]
            neighbours = collapse(shape, strides)[-1:]
            if not without_gaps and neighbours and neighbours[0][1] == itemsize:
                self.per_tile = whole_tiles(self.per_tile, neighbours[0][0])
        self.per_chunk = examples_per_chunk(classes, self.per_tile)
        self.chunks = -(-self.examples // self.per_chunk)
        of_arrays = zip(steps, self.layouts, [self.layout(*row) for row in of_rows], strict=True)
        self.numbers = pack(ClassCall, (
            self.examples, self.classes, self.per_tile, self.per_chunk,
            *[number or 0 for array in of_arrays for number in array],
            self.ignore_index, int(spec.counts_class_weight), int(self.values.ctypes.data),
            *factors,
        ), ARRAYS)  # fmt: skip

    def converted(self, operands: Operands) -> tuple[float, tuple[Array | None, ...]]:
        """Return the divisor, and the inputs as kernels take them."""
        t = operands.targets
        if not (self.soft or self.indices_as_given):
            t = self._as_indices(t)
        weights = self._weights(operands)
        w = weights[2]
        divisor = self.divisor
        if self.mean and self.soft and w is not None:
            divisor = float(w.sum())
        return divisor, (operands.predictions, t, *weights)

    def _weights(self, operands: Operands) -> tuple[Array | None, ...]:
        """Return the class weights in float64 and as the kernel's real, w and u."""
        class_weight = class_weight_real = w = u = None
        if self.weighted:
            w, u = (
                np.ones(self.loss_shape) if array is None else self.as_row(array)
                for array in (operands.sample_weight, operands.grad_output)
            )
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

    def refusal(self, operands: Operands, bad: int) -> IndexError:
        """Return the error for what is no class index."""
        where = tuple(int(i) for i in np.unravel_index(bad, self.loss_shape))
        return IndexError(
            f"{self.name}: the class index at position {where} is {operands.targets[where]}, "
            f"expected 0 <= index < C = {self.classes} or ignore_index = {self.ignore_index}"
        )


def family_of_formulas(
    spec: RowSpec, classes: int, steps: list[int | None], in_rows: bool, without_gaps: bool
) -> Any:
    """Return the module that lays kernels over formulas, by the way their classes lie."""
    if spec.classes == row_fours.CLASSES and without_gaps:
        return row_fours
    by_rows = classes >= (SHORT_BELOW_OF_FORMULAS if in_rows else LONG_FROM)
    return row_losses if by_rows or None in steps else row_lanes


def family_of_separable(classes: int, in_rows: bool, without_gaps: bool) -> Any:
    """Return the module that lays kernels over a `SeparableSpec`, by the way its classes lie."""
    if in_rows and classes >= (SHORT_BELOW if without_gaps else SHORT_BELOW_WITH_GAPS):
        return separable
    return separable_flat if without_gaps else separable_lanes


def family_of_cross_entropy(
    variant: ClassVariant, classes: int, in_rows: bool, without_gaps: bool
) -> Any:
    """Return the module that lays kernels over a cross-entropy, by the way its classes lie."""
    short = SHORT_BELOW_WITH_GAPS
    if without_gaps:
        by_mass = variant.mass and kept(variant)
        short = SHORT_BELOW_OF_MASS if by_mass else SHORT_BELOW
    if in_rows and classes >= short:
        return softmax_rows
    return softmax_flat if without_gaps else softmax_lanes
