"""The plan of a loss over the classes of one axis, or over a region of several."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from fastloss.arrays import Array
from fastloss.arrays.cuda import Place
from fastloss.axes import axes_of, without
from fastloss.cuda import (
    row_losses,
    separable,
    softmax_rows,
    softmax_tiles,
    softmax_vectors,
)
from fastloss.cuda.driver import THREADS
from fastloss.cuda.examples import (
    FEW,
    NOT_INDICES,
    ClassCall,
    refuse_kernel,
    scan_kernel,
)
from fastloss.cuda.plans import (
    CudaPlan,
    address,
    address_or_null,
    blocks_for,
    itemsize_of,
    number_code,
    on_device,
)
from fastloss.cuda.primitives import LARGE, WARP, WIDE
from fastloss.cuda.refusal import NO_EXAMPLE
from fastloss.cuda.variant import Mapping
from fastloss.dtypes import FLOATS, name_of
from fastloss.layouts import collapse, one_step, permuted, record_of_dimensions, walk_of
from fastloss.losses.softmax import link_of
from fastloss.spec import (
    ClassSpec,
    CrossEntropySpec,
    Operands,
    Request,
    Results,
    RowSpec,
    SeparableSpec,
)
from fastloss.variant import class_variant, row_variant


class ClassPlan(CudaPlan):
    """A loss over the classes of one axis, or over a region of several."""

    def __init__(self, spec: ClassSpec, request: Request, operands: Operands) -> None:
        p, t = operands.predictions, operands.targets
        axes = axes_of(spec, request.options, p.shape)
        super().__init__(request, operands, without(p.shape, axes))
        self.name = spec.name
        self.itemsize = p.itemsize
        self.classes = classes = math.prod([p.shape[axis] for axis in axes])
        self.examples = int(np.prod(self.loss_shape, dtype=np.int64))
        options = request.options
        smoothing = options.get("label_smoothing", 0.0)
        scale, cap = options.get("logit_scale", 1.0), options.get("logit_softcap")
        self.numbers = (
            1.0 - smoothing, smoothing / classes,
            options.get("z_loss", 0.0), scale, 0.0 if cap is None else cap,
        )  # fmt: skip
        self.soft = soft = name_of(t.dtype) in FLOATS
        index_size = NOT_INDICES if soft else t.itemsize
        #: The parameters of a row's formulas; one that is an array stands for a class weight.
        self.parameters = [float(options.get(option.name, 1.0)) for option in spec.parameters]
        self.counts_class_weight = int(spec.counts_class_weight)
        self.indices = (index_size, int(t.dtype.kind == "i"), options.get("ignore_index", 0))
        new = (p.shape, self.new_strides(), p.itemsize)
        self.wholes = [
            (a.shape, a.strides, a.itemsize) if a is not None else new
            for a in (p, t if soft else None, operands.grad_out, operands.hess_out)
        ]
        # All arrays walk a row alike: as it lies in the predictions' memory.
        walk = walk_of(p, axes)
        of_rows = [
            (permuted(shape, walk), permuted(strides, walk), itemsize)
            for shape, strides, itemsize in self.wholes
        ]
        self.steps = [one_step(*row) for row in of_rows]
        strided = None in self.steps
        self.rows = [self.layout_of_row(*row) if strided else 0 for row in of_rows]
        self.layouts = [
            self.layout(without(shape, axes), without(strides, axes), itemsize * classes)
            for shape, strides, itemsize in self.wholes
        ]
        if not soft:
            self.layouts[1] = self.layout(t.shape, t.strides, t.itemsize)
        self.lay_out_weights(operands)
        in_rows = all(
            step == size for step, (_, _, size) in zip(self.steps, self.wholes, strict=True)
        )
        arrays = (on_device(operands.sample_weight)[0], operands.grad_output)
        weighted = any(array is not None for array in arrays)
        plain = not (any(self.layouts) or operands.array_options or weighted)
        mapping = mapping_for(classes, self.examples, in_rows, plain)._replace(strided=strided)
        softmax = isinstance(spec, CrossEntropySpec)
        variant: Any
        if isinstance(spec, RowSpec):
            variant = row_variant(operands, self.outputs)
        else:
            variant = class_variant(operands, smoothing, link_of(scale, cap), self.outputs)
        self.tiles = (
            softmax and in_rows and softmax_tiles.suits(variant, mapping, classes, self.itemsize)
        )
        if self.tiles:
            mapping = mapping._replace(threads=softmax_tiles.THREADS, group=1)
        elif softmax and in_rows and softmax_vectors.allows_turns(variant):
            mapping = with_turns(mapping, classes, self.itemsize, self.outputs.grad)
        self.whole = self.tiles or mapping.whole
        narrow = mapping._replace(loads=1, whole=False)
        compute_kernel: Any = softmax_rows.compute_kernel
        if isinstance(spec, RowSpec):
            compute_kernel = functools.partial(row_losses.compute_kernel, spec)
        elif isinstance(spec, SeparableSpec):
            compute_kernel = functools.partial(separable.compute_kernel, spec)
        #: The kernel for arrays that allow wide loads, if there is one, and for any others.
        self.computes = {False: compute_kernel(variant, narrow)}
        if in_rows and self.may_be_wide(axes):
            wide = mapping._replace(wide=True)
            if self.tiles:
                compute_kernel = functools.partial(softmax_tiles.compute_kernel, classes=classes)
            self.computes[True] = compute_kernel(variant, wide)
        at_once = mapping.threads // mapping.group
        if self.tiles:
            at_once = softmax_tiles.rows_of_tile(classes, self.itemsize)
        self.blocks = blocks_for(self.examples, at_once)
        # What a mean divides by is known, or the weights are summed first, or by the kernel itself.
        if self.mean and not (soft and arrays[0] is None):
            self.counted = plain and not soft and 0 < self.examples <= FEW
            self.weight_blocks = 1 if self.counted else blocks_for(self.examples, 8 * THREADS)
        self.count = float(self.examples) if soft else 0.0

    def layout_of_row(
        self, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int
    ) -> int:  # fmt: skip
        """Return the layout record of a row, also of one that lies in one piece."""
        merged = collapse(shape, strides) or [(1, itemsize)]
        return self.keep_on_device(record_of_dimensions(merged))

    def may_be_wide(self, axes: tuple[int, ...]) -> bool:
        """Whether the rows of all arrays begin alike, as far as their strides tell.

        And like those of a new array, which has no gaps: rows of whole loads all begin aligned.
        """
        _, first_strides, itemsize = self.wholes[0]
        return all(
            size == itemsize
            and all(
                (step - first) % WIDE == 0
                for a, (step, first) in enumerate(zip(strides, first_strides, strict=True))
                if a not in axes and self.shape[a] > 1
            )
            for _, strides, size in self.wholes
        )

    def compute(self, place: Place, operands: Operands, upstream: float, memory: int) -> Results:
        """Launch the kernels of the loss."""
        loss = place.empty(self.out_shape, self.real, None) if self.want.loss else None
        grad = self.new_gradient(place, self.want.grad, operands.grad_out)
        hess = self.new_gradient(place, self.want.hess, operands.hess_out)
        record = self.record(operands, upstream, loss, grad, hess, memory)
        if self.validate and not self.soft:
            self.refuse_bad_indices(place, operands, record)
        if self.weight_blocks and not self.counted:
            self.launch(scan_kernel(), place, self.weight_blocks, record)
        wide = self.is_wide(record)
        kernel = self.computes[wide]
        self.launch(kernel, place, self.blocks, kernel.record(*record, *self.parameters))
        return loss, grad, hess

    def is_wide(self, record: ClassCall) -> bool:
        """Whether the addresses of this call allow wide loads and stores."""
        if True not in self.computes or (self.whole and record.x % WIDE):
            return False
        others = [record.t] if self.soft else []
        others += [a for a in (record.g, record.h) if a]
        return all((a - record.x) % WIDE == 0 for a in others)

    def record(
        self, operands: Operands, upstream: float, loss: Array | None, grad: Array | None,
        hess: Array | None, memory: int,
    ) -> ClassCall:  # fmt: skip
        """Return the arguments of all kernels of a call."""
        x_lies, t_lies, g_lies, h_lies = zip(
            [step or 0 for step in self.steps], self.layouts, self.rows, strict=True
        )
        class_weight = next(iter(operands.array_options.values()), None)
        return ClassCall(
            self.examples, self.classes,
            address(operands.predictions), *x_lies,
            address(operands.targets), *t_lies, *self.indices,
            address_or_null(class_weight),
            0 if class_weight is None else class_weight.strides[0],
            itemsize_of(class_weight), number_code(class_weight), self.counts_class_weight,
            *self.numbers,
            address_or_null(loss), address_or_null(grad), *g_lies,
            address_or_null(hess), *h_lies, memory + 8 * self.weight_blocks, 0,
            *self.weights(operands, upstream, memory),
        )  # fmt: skip

    def refuse_bad_indices(self, place: Place, operands: Operands, record: ClassCall) -> None:
        """Raise for the first index that is no class; waits for the device."""
        bad = self.first_refused(place, refuse_kernel(), record, self.examples)
        if bad == NO_EXAMPLE:
            return
        where = tuple(int(i) for i in np.unravel_index(bad, self.loss_shape))
        raise IndexError(
            f"{self.name}: the class index at position {where} is "
            f"{self.read_element(operands.targets, where)}, expected "
            f"0 <= index < C = {self.classes} or ignore_index = {self.indices[2]}"
        )


#: Examples too few for one thread each.
FEW_EXAMPLES = 256


def mapping_for(classes: int, examples: int, in_rows: bool, plain: bool) -> Mapping:
    """Return how threads are laid over the examples; `wide` is decided later."""
    if not in_rows and (examples >= FEW_EXAMPLES or classes <= 64 * WARP):
        # Neighbouring threads read neighbouring examples, unless these are too few to go round.
        few = classes > WARP and examples < 256 * WARP
        return Mapping(4 * WARP, WARP if few else 1, False, plain)
    for up_to, threads, group in ROWS:
        if classes <= up_to:
            return Mapping(threads, group, False, plain)
    return Mapping(LARGE * WARP, LARGE * WARP, False, plain)


def with_turns(mapping: Mapping, classes: int, itemsize: int, derivatives: bool) -> Mapping:
    """Return the mapping for rows of which a thread reads several times 16 bytes at a time.

    What is only read is best read by few threads in many turns. What is written, too, is read
    again: from registers while a warp or a block can hold it, else from the first-level cache.
    """
    row = classes * itemsize
    loads, whole = -(-row // WIDE), row % WIDE == 0
    turns = 4 if not derivatives else 1 if loads <= IN_REGISTERS else 2
    # As large a block as there are registers for.
    most = LARGE // 2
    if derivatives and itemsize < 8:
        most = 2 * LARGE if whole else LARGE
    least = 1 if whole else LEAST
    group = min(most * WARP, max(least, power_of_2(-(-loads // (LOADS * turns)))))
    threads = 4 * WARP if group <= WARP else group
    return mapping._replace(threads=threads, group=group, loads=LOADS, whole=whole)


def power_of_2(number: int) -> int:
    """Return the least power of two that is not less."""
    return 1 << (number - 1).bit_length()


#: Loads that a thread has under way; loads of a row whose gradient is written from registers;
#: threads that share a row, at least, where each reads its share of what is beside whole loads.
LOADS, IN_REGISTERS, LEAST = 4, 32 * WARP, min(4, WARP)

#: (classes up to, threads of a block, threads of an example); beyond, a whole large block.
ROWS: tuple[tuple[int, int, int], ...] = (
    (WARP // 2, 4 * WARP, 1),
    (4 * WARP, 4 * WARP, max(2, WARP // 4)),
    (64 * WARP, 4 * WARP, WARP),
    (256 * WARP, min(8, LARGE) * WARP, min(8, LARGE) * WARP),
)
