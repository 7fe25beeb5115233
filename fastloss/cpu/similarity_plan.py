"""The plan of NT-Xent: matrix products by NumPy for a block of anchors, rows by Numba."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastloss.arrays import Array
from fastloss.checks import as_float, check_overlap
from fastloss.cpu.chunks import examples_per_chunk
from fastloss.cpu.driver import NO_GUARDS
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import pack
from fastloss.cpu.similarities import (
    ARRAYS,
    SimilarityCall,
    compute_kernel,
    exchange_kernel,
)
from fastloss.lazy import lazy
from fastloss.losses.anchor import BEND, FACTS, MATRICES, curvature
from fastloss.spec import Operands, Request, Results, SimilaritySpec

#: Similarities that are in memory at a time.
BLOCK = 2**22


class SimilarityPlan(CpuPlan):
    """NT-Xent."""

    arrays = ARRAYS

    def __init__(self, spec: SimilaritySpec, request: Request, operands: Operands) -> None:
        p = operands.predictions
        super().__init__(request, operands, p.shape[:1], as_given=False)
        # The kernel writes one loss for each example; what becomes of them is decided here.
        self.outputs = self.outputs._replace(loss=False)
        self.examples = n = p.shape[0]
        self.scale = 1.0 / request.options["temperature"]
        self.prepare, self.prepare_chunks = None, 0
        if self.want.hess:
            self.real = np.dtype(np.float64)  # the hessian's parts cancel
        self.compute = compute_kernel(self.real.name, self.want.grad and not self.want.hess)
        per_chunk = examples_per_chunk(max(n, 1))
        matrices = 1 + MATRICES if self.want.hess else 1
        self.rows = max(1, min(n, BLOCK // max(n * matrices, 1)))
        self.chunks = -(-self.rows // per_chunk)
        self.numbers = pack(SimilarityCall, (n, per_chunk), ARRAYS)

    @lazy
    def exchange(self) -> int:
        """As `address`, for the kernel that makes the hessian's matrices."""
        return self.record_of(exchange_kernel(self.real.name), NO_GUARDS)

    def run(self, operands: Operands, upstream: float) -> Results:
        """Compute."""
        check_overlap(operands)
        with np.errstate(all="ignore"):  # nan and inf go their way, as in the kernels
            return self._run(operands, upstream)

    def _run(self, operands: Operands, upstream: float) -> Results:
        units, lengths = normalized(as_float(operands.predictions, self.real))
        labels, positives = matched(operands.targets)
        w, u = self.as_row(operands.sample_weight), self.as_row(operands.grad_output)
        weight = np.where(positives > 0, 1.0 if w is None else w, 0.0)
        divisor = float(weight.sum()) if self.mean else 1.0
        factors = weight if u is None else weight * u
        factors = factors * (upstream / divisor if divisor != 0.0 else 0.0)
        scaled = units * self.real.type(self.scale)
        batch = Batch(units, scaled, labels, positives, factors, np.empty(self.examples))
        turned, bent = self._bend(batch) if self.want.hess else (self._visit(batch), None)
        loss = None
        if self.want.loss:
            losses = np.where(weight != 0.0, batch.losses * weight, 0.0)
            loss = losses if self.per_example else np.asarray(losses.sum() / divisor)
            loss = loss.astype(self.real)
        # Derivatives of nothing are 0, also where there is a nan.
        live = factors.any()
        grad, hess = operands.grad_out, operands.hess_out
        lengths = lengths.astype(self.real)
        if self.want.grad:
            grad = self.new_gradient() if grad is None else grad
            store(across(turned, units) / lengths if live else np.zeros_like(units), grad)
        if bent is not None:
            hess = self.new_hessian() if hess is None else hess
            store(bent / lengths / lengths if live else np.zeros_like(units), hess)
        return loss, grad, hess

    def _visit(self, batch: Batch) -> Array:
        """Fill in the losses; return the gradient by the units, zeros where none is wanted."""
        turned, scaled = np.zeros_like(batch.units), batch.scaled
        for block, z in self._blocks(batch):
            self._launch(self.address, batch, block, z)
            if self.want.grad:
                # As anchors, and as the others of all anchors.
                turned[block] += z @ scaled
                turned += z.T @ scaled[block]
        return turned

    def _bend(self, batch: Batch) -> tuple[Array, Array]:
        """Return the gradient by the units, and the hessian by vectors of length 1."""
        units, anchors = batch.units, np.empty((self.examples, FACTS))
        turned, bent = np.empty_like(units), np.empty_like(units)
        for block, z in self._blocks(batch):
            self._launch(self.address, batch, block, z, anchors)
        squares = anchors[:, -1:]  # (N, 1)
        entries = np.square(units)
        for block, z in self._blocks(batch):
            made = np.empty((MATRICES, *z.shape), self.real)
            self._launch(self.exchange, batch, block, z, anchors, made)
            moved = made @ units  # (MATRICES, rows, D)
            along = np.einsum("krd,rd->kr", moved, units[block])[..., None]
            moved[BEND] = made[BEND] @ entries
            turned[block] = self.scale * moved[0]
            bent[block] = curvature(units[block], self.scale, squares[block], moved, along)
        return turned, bent

    def _blocks(self, batch: Batch) -> Iterator[tuple[slice, Array]]:
        """Go through the anchors: which they are, and their similarities by the temperature."""
        memory = np.empty((self.rows, self.examples), self.real)
        for first in range(0, self.examples, self.rows):
            block = slice(first, min(first + self.rows, self.examples))
            z = memory[: block.stop - first]
            yield block, np.matmul(batch.scaled[block], batch.units.T, out=z)

    def _launch(
        self, address: int, batch: Batch, block: slice, z: Array,
        anchors: Array | None = None, matrices: Array | None = None,
    ) -> None:  # fmt: skip
        numbers = np.array([block.start, len(z)], np.int64)
        arrays = (z, *batch[2:], anchors, matrices, numbers)
        self.launch(address, id(arrays), 1.0, 1.0)


class Batch(NamedTuple):
    """The embeddings at length 1, these by the temperature, and what `SimilarityCall` names."""

    units: Array
    scaled: Array
    labels: Array
    positives: Array
    factors: Array
    losses: Array


def normalized(vectors: Array) -> tuple[Array, Array]:
    """Return the vectors at length 1, and their lengths in float64.

    A vector of zeros stays one, and is infinitely long: its derivatives are 0.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    parts = vectors / np.where(largest == 0, 1, largest)
    lengths = np.sqrt(np.square(parts, dtype=np.float64).sum(axis=1, keepdims=True))
    units = parts / np.where(largest == 0, 1, lengths).astype(vectors.dtype)
    return units, np.where(largest == 0, np.inf, lengths * largest)


def matched(targets: Array) -> tuple[Array, Array]:
    """Return the labels as numbers from 0, and how many others have that of each example."""
    _, labels, counts = np.unique(targets, return_inverse=True, return_counts=True)
    return labels.astype(np.int32), (counts[labels] - 1).astype(np.float64)


def across(turned: Array, units: Array) -> Array:
    """Return what of a gradient by the units is across their directions."""
    along = np.einsum("nd,nd->n", turned, units)[:, None]
    gradient: Array = turned - along * units
    return gradient


def store(values: Array, out: Array) -> None:
    """Write float32 or float64 numbers into an array of any floating dtype."""
    if not out.dtype.names:
        out[...] = values
        return
    # Bits whose library NumPy does not know: the upper half of a float32, rounded to even.
    bits = values.astype(np.float32, copy=False).view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    out.view(np.uint16)[...] = np.where(np.isnan(values), bits >> 16 | 0x40, rounded)
