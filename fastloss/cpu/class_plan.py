"""The plan of a loss over the classes of one axis, or over a region of several."""

from __future__ import annotations

import math

import numpy as np

from fastloss.arrays import Array
from fastloss.axes import axes_of, without
from fastloss.checks import as_float
from fastloss.cpu.arrangement import Arrangement, Strided
from fastloss.cpu.chunks import examples_per_chunk, whole_tiles
from fastloss.cpu.examples import ARRAYS, SCAN_CHUNK, ClassCall, scan_kernel
from fastloss.cpu.families import family_of
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import pack
from fastloss.dtypes import FLOATS, name_of
from fastloss.layouts import strides_of, walk_of
from fastloss.losses.softmax import link_of
from fastloss.spec import ClassSpec, CrossEntropySpec, Operands, Request, RowSpec
from fastloss.variant import ClassVariant, RowVariant, class_variant, row_variant

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
        # Where no array is given for a gradient, it will be a new one in the order of p.
        new = Strided(p.shape, self.new_strides(), p.itemsize)
        wholes = [
            new if a is None else Strided(a.shape, strides_of(a), a.itemsize)
            for a in (p, t if soft else None, operands.grad_out, operands.hess_out)
        ]
        # All arrays walk a row alike: as it lies in the predictions' memory.
        lie = Arrangement(wholes, axes, walk_of(p, axes))
        self.classes, self.examples = lie.classes, lie.examples
        options = request.options
        smoothing = options.get("label_smoothing", 0.0)
        scale, cap = options.get("logit_scale", 1.0), options.get("logit_softcap")
        factors = (
            1.0 - smoothing, smoothing / lie.classes,
            options.get("z_loss", 0.0), scale, 0.0 if cap is None else cap,
        )  # fmt: skip
        self.ignore_index = options.get("ignore_index", 0)
        self.divisor = 1.0
        if self.mean:
            self.divisor = float(lie.examples) if soft else math.nan
        variant: RowVariant | ClassVariant
        if isinstance(spec, RowSpec):
            variant = row_variant(operands, self.outputs)
        else:
            link = link_of(scale, cap)
            variant = class_variant(operands, smoothing, link, self.outputs, self.weighted)
        family = family_of(spec, variant, lie)
        if not family.ACROSS_EXAMPLES:
            variant = variant._replace(gathered=not lie.in_rows)
        elif isinstance(variant, RowVariant):
            variant = variant._replace(rows=lie.without_gaps)
        of_loss = () if isinstance(spec, CrossEntropySpec) else (spec,)
        self.compute = family.compute_kernel(*of_loss, variant)
        self.prepare = None if soft else scan_kernel()
        self.prepare_chunks = -(-self.examples // SCAN_CHUNK)
        #: The parameters of a row's formulas; one that is an array stands for a class weight.
        self.values = np.array(
            [options.get(option.name, 1.0) for option in spec.parameters], self.real
        )
        self.per_tile = 1
        if family.ACROSS_EXAMPLES:
            self.per_tile = family.examples_per_tile(lie.classes)
            if not lie.without_gaps and lie.apart == p.itemsize:
                self.per_tile = whole_tiles(self.per_tile, lie.run)
        self.per_chunk = examples_per_chunk(lie.classes, self.per_tile)
        self.chunks = -(-lie.examples // self.per_chunk)
        unit = 1 if family.ACROSS_EXAMPLES else lie.classes
        places = [
            (step or 0, self.layout(s, b, size * unit), self.layout(*row))
            for step, (s, b, size), row in zip(lie.steps, lie.firsts, lie.rows, strict=True)
        ]
        self.numbers = pack(ClassCall, (
            lie.examples, lie.classes, self.per_tile, self.per_chunk,
            *[number for place in places for number in place],
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
