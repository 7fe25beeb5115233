"""The plan of NT-Xent: similarities of a block of anchors at a time, and what they derive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from fastloss.arrays.cuda import Place
from fastloss.cuda.compile import Kernel
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
    exchange_kernel,
    prepare_kernel,
    project_kernel,
)
from fastloss.dtypes import name_of
from fastloss.lazy import lazy
from fastloss.losses.anchor import BEND, FACTS, MATRICES
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
        hess = self.want.hess
        self.prepare, self.project = prepare_kernel(name), project_kernel(name, hess)
        self.product = product_kernel(self.real.name)
        self.similarities = compute_kernel(self.real.name, self.want.grad and not hess, hess)
        outs = (operands.grad_out, operands.hess_out)
        given = [p.strides, *(self.new_strides() if out is None else out.strides for out in outs)]
        #: From one to the next, and from entry to entry: embeddings, gradient, hessian.
        self.steps = [(strides[0], strides[1]) for strides in given]
        self.label_step = t.strides[0]
        self.lay_out_weights(operands)
        matrices = MATRICES if hess else 0
        self.rows = max(1, min(n, BLOCK // max(n * (1 + matrices), 1)))
        # What anchors weigh is known once their positives are counted; each leaves its loss.
        self.weight_blocks, self.blocks = blocks_for(n, 1), n
        size = self.real.itemsize
        turned = max(matrices, 1) if self.want.grad else 0
        units = size * n * entries
        #: Bytes of `lives` and what follows in the arguments; multiples of 8 before float64.
        self.rooms = [
            8 * self.weight_blocks, 8 * n, 8 * FACTS * n * hess, units, size * n,
            size * self.rows * n, turned * units, units * hess, matrices * size * self.rows * n,
        ]  # fmt: skip

    def compute(self, place: Place, operands: Operands, upstream: float, memory: int) -> Results:
        """Launch the kernels of the loss."""
        loss = place.empty(self.out_shape, self.real, None) if self.want.loss else None
        grad = self.new_gradient(place, self.want.grad, operands.grad_out)
        hess = self.new_gradient(place, self.want.hess, operands.hess_out)
        kept, room = scratch(place, -(-sum(self.rooms) // 8))
        record = self.record(operands, upstream, (loss, grad, hess), memory, room)
        self.launch(self.prepare, place, self.weight_blocks, record)
        for block in self.blocks_of(place, record):
            self.launch(self.similarities, place, min(block.last - block.first, MAX_BLOCKS), block)
            if self.want.grad and not self.want.hess:
                self.turn(place, block)
        if self.want.hess:  # what all anchors are has to be known
            for block in self.blocks_of(place, record):
                self.bend(place, block)
        if self.want.grad:
            self.launch(self.project, place, self.weight_blocks, record)
        del kept
        return loss, grad, hess

    def blocks_of(self, place: Place, record: SimilarityCall) -> Iterator[SimilarityCall]:
        """Go through the anchors, first .. last at a time, whose similarities stand in z."""
        n, entries, size = self.examples, self.entries, self.real.itemsize
        line = entries * size
        for first in range(0, n, self.rows):
            last = min(first + self.rows, n)
            anchors = record.units + first * line
            self.multiply(
                place, (last - first, entries, n), (anchors, line, size),
                (record.units, size, line), (record.z, n * size), scale=self.scale,
            )  # fmt: skip
            yield record._replace(first=first, last=last)

    def turn(self, place: Place, block: SimilarityCall) -> None:
        """Add what the anchors' derivatives make of the units."""
        n, entries, size = self.examples, self.entries, self.real.itemsize
        rows, line = block.last - block.first, entries * size
        anchors = block.units + block.first * line
        # As the others of all anchors, and as anchors.
        self.multiply(
            place, (n, rows, entries), (block.z, size, n * size), (anchors, line, size),
            (block.turned, line), add=block.first > 0,
        )  # fmt: skip
        self.multiply(
            place, (rows, n, entries), (block.z, n * size, size), (block.units, line, size),
            (block.turned + block.first * line, line), add=True,
        )  # fmt: skip

    def bend(self, place: Place, block: SimilarityCall) -> None:
        """Launch the kernels of what the hessian is made of."""
        n, entries, size = self.examples, self.entries, self.real.itemsize
        rows, line = block.last - block.first, entries * size
        self.launch(self.exchange, place, min(rows, MAX_BLOCKS), block)
        for k in range(MATRICES):
            self.multiply(
                place, (rows, n, entries), (block.matrices + k * rows * n * size, n * size, size),
                (block.squares if k == BEND else block.units, line, size),
                (block.turned + (k * n + block.first) * line, line),
            )  # fmt: skip

    @lazy
    def exchange(self) -> Kernel:
        """The kernel that makes the hessian's matrices."""
        return exchange_kernel(self.real.name)

    def multiply(
        self, place: Place, shape: tuple[int, int, int], a: tuple[int, int, int],
        b: tuple[int, int, int], c: tuple[int, int], *, scale: float = 1.0, add: bool = False,
    ) -> None:  # fmt: skip
        """Launch a product of matrices."""
        rows, _, columns = shape
        blocks = min(MAX_BLOCKS, tiles(rows) * tiles(columns))
        self.launch(self.product, place, blocks, ProductCall(*shape, scale, int(add), *a, *b, *c))

    def record(
        self, operands: Operands, upstream: float, results: Results, memory: int, room: int
    ) -> SimilarityCall:
        """Return the arguments of the kernels; `room` is where their scratch memory begins."""
        loss, grad, hess = results
        of_x, of_g, of_h = self.steps
        t = operands.targets
        summed = self.want.loss and not self.per_example
        starts = accumulate(self.rooms[:-1], initial=room)
        rooms = [start if size else 0 for start, size in zip(starts, self.rooms, strict=True)]
        return SimilarityCall(
            self.examples, self.entries, address(operands.predictions), *of_x,
            address(t), self.label_step, t.itemsize,
            address_or_null(loss) if self.per_example else 0,
            memory + 8 * self.weight_blocks if summed else 0,
            address_or_null(grad), *of_g, address_or_null(hess), *of_h, self.scale, 0, 0,
            *rooms, *self.weights(operands, upstream, memory),
        )  # fmt: skip
