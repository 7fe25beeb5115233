"""The plan of NT-Xent: similarities of a block of anchors at a time, and what they derive."""

from __future__ import annotations

from itertools import accumulate

from fastloss.arrays import Array
from fastloss.arrays.cuda import Place
from fastloss.cuda.plans import (
    MAX_BLOCKS,
    CudaPlan,
    address,
    address_or_null,
    blocks_for,
    scratch,
)
from fastloss.cuda.products import ProductCall, product_kernel, tiles
from fastloss.cuda.similarities import (
    SimilarityCall,
    compute_kernel,
    prepare_kernel,
    project_kernel,
)
from fastloss.dtypes import name_of
from fastloss.spec import Operands, Request, Results, SimilaritySpec

#: Similarities that are in memory at a time.
BLOCK = 2**24


class SimilarityPlan(CudaPlan):
    """NT-Xent."""

    def __init__(self, spec: SimilaritySpec, request: Request, operands: Operands) -> None:
        p, t = operands.predictions, operands.targets
        super().__init__(request, operands, p.shape[:1])
        self.examples, self.entries = n, entries = p.shape
        self.scale = 1.0 / request.options["temperature"]
        name = name_of(p.dtype)
        self.prepare, self.project = prepare_kernel(name), project_kernel(name)
        self.product = product_kernel(self.real.name)
        self.similarities = compute_kernel(self.real.name, self.want.grad)
        grad = operands.grad_out
        new = self.new_strides() if grad is None else grad.strides
        #: Of the embeddings and the gradient: the steps to the next one, and to the next entry.
        self.steps = [(strides[0], strides[1]) for strides in (p.strides, new)]
        self.label_step = t.strides[0]
        self.lay_out_weights(operands)
        self.rows = max(1, min(n, BLOCK // max(n, 1)))
        # What anchors weigh is known once their positives are counted; each leaves its loss.
        self.weight_blocks, self.blocks = blocks_for(n, 1), n
        size = self.real.itemsize
        turned = n * entries if self.want.grad else 0
        #: Bytes of `lives`, `positives`, `units`, `lengths`, `z` and `turned`, in this order.
        self.rooms = [
            8 * self.weight_blocks, 8 * n, size * n * entries, size * n, size * self.rows * n,
            size * turned,
        ]  # fmt: skip

    def compute(self, place: Place, operands: Operands, upstream: float, memory: int) -> Results:
        """Launch the kernels of the loss."""
        loss = place.empty(self.out_shape, self.real, None) if self.want.loss else None
        grad = self.new_gradient(place, self.want.grad, operands.grad_out)
        kept, room = scratch(place, -(-sum(self.rooms) // 8))
        record = self.record(operands, upstream, loss, grad, memory, room)
        self.launch(self.prepare, place, self.weight_blocks, record)
        for first in range(0, self.examples, self.rows):
            last = min(first + self.rows, self.examples)
            self.visit(place, record._replace(first=first, last=last))
        if self.want.grad:
            self.launch(self.project, place, self.weight_blocks, record)
        del kept
        return loss, grad, None

    def visit(self, place: Place, record: SimilarityCall) -> None:
        """Launch the kernels for the anchors first .. last."""
        n, entries, size = self.examples, self.entries, self.real.itemsize
        rows, line = record.last - record.first, entries * size
        anchors = record.units + record.first * line
        self.multiply(
            place, (rows, entries, n), (anchors, line, size), (record.units, size, line),
            (record.z, n * size), add=False,
        )  # fmt: skip
        self.launch(self.similarities, place, min(rows, MAX_BLOCKS), record)
        if not self.want.grad:
            return
        # As the others of all anchors, and as anchors.
        self.multiply(
            place, (n, rows, entries), (record.z, size, n * size), (anchors, line, size),
            (record.turned, line), add=record.first > 0,
        )  # fmt: skip
        self.multiply(
            place, (rows, n, entries), (record.z, n * size, size), (record.units, line, size),
            (record.turned + record.first * line, line), add=True,
        )  # fmt: skip

    def multiply(
        self, place: Place, shape: tuple[int, int, int], a: tuple[int, int, int],
        b: tuple[int, int, int], c: tuple[int, int], *, add: bool,
    ) -> None:  # fmt: skip
        """Launch a product of matrices, divided by the temperature."""
        rows, _, columns = shape
        blocks = min(MAX_BLOCKS, tiles(rows) * tiles(columns))
        self.launch(
            self.product, place, blocks, ProductCall(*shape, self.scale, int(add), *a, *b, *c)
        )

    def record(
        self, operands: Operands, upstream: float, loss: Array | None, grad: Array | None,
        memory: int, room: int,
    ) -> SimilarityCall:  # fmt: skip
        """Return the arguments of the kernels; `room` is where their scratch memory begins."""
        of_x, of_g = self.steps
        t = operands.targets
        summed = self.want.loss and not self.per_example
        lives, positives, units, lengths, z, turned = accumulate(self.rooms[:-1], initial=room)
        return SimilarityCall(
            self.examples, self.entries, address(operands.predictions), *of_x,
            address(t), self.label_step, t.itemsize,
            address_or_null(loss) if self.per_example else 0,
            memory + 8 * self.weight_blocks if summed else 0,
            address_or_null(grad), *of_g,
            lives, positives, units, lengths, z, turned, 0, 0,
            *self.weights(operands, upstream, memory),
        )  # fmt: skip
