"""The plan of NT-Xent: matrix products by NumPy for a block of anchors, rows by Numba."""

from __future__ import annotations

import numpy as np

from fastloss.arrays import Array
from fastloss.checks import as_float, check_overlap
from fastloss.cpu.chunks import examples_per_chunk
from fastloss.cpu.plan import CpuPlan
from fastloss.cpu.record import pack
from fastloss.cpu.similarities import ARRAYS, SimilarityCall, compute_kernel
from fastloss.cpu.threads import launch
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
        self.temperature = request.options["temperature"]
        self.prepare, self.prepare_chunks = None, 0
        self.compute = compute_kernel(self.real.name, self.want.grad)
        per_chunk = examples_per_chunk(max(n, 1))
        self.rows = max(1, min(n, BLOCK // max(n, 1)))
        self.chunks = -(-self.rows // per_chunk)
        self.numbers = pack(SimilarityCall, (n, per_chunk), ARRAYS)

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
        losses = np.empty(self.examples)
        turned = self._visit(units, labels, positives, factors, losses)
        loss = None
        if self.want.loss:
            losses = np.where(weight != 0.0, losses * weight, 0.0)
            loss = losses if self.per_example else np.asarray(losses.sum() / divisor)
            loss = loss.astype(self.real)
        grad = operands.grad_out
        if self.want.grad:
            grad = self.new_gradient() if grad is None else grad
            # A gradient of nothing is 0, also where there is a nan.
            store(across(turned, units, lengths) if factors.any() else np.zeros_like(units), grad)
        return loss, grad, None

    def _visit(
        self, units: Array, labels: Array, positives: Array, factors: Array, losses: Array
    ) -> Array:
        """Fill in the losses; return the gradient by the units, zeros where none is wanted."""
        n, rows = self.examples, self.rows
        memory = np.empty((rows, n), self.real)
        turned = np.zeros_like(units)
        scaled = units * self.real.type(1.0 / self.temperature)
        for first in range(0, n, rows):
            block = slice(first, min(first + rows, n))
            z = memory[: block.stop - first]
            np.matmul(scaled[block], units.T, out=z)
            numbers = np.array([first, len(z)], np.int64)
            arrays = (z, labels, positives, factors, losses, numbers)
            launch(self.chunks, self.address, id(arrays), 1.0, 1.0)
            if self.want.grad:
                # As anchors, and as the others of all anchors.
                turned[block] += z @ scaled
                turned += z.T @ scaled[block]
        return turned


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


def across(turned: Array, units: Array, lengths: Array) -> Array:
    """Return the gradient by the vectors of a gradient by their units: across their directions."""
    along = np.einsum("nd,nd->n", turned, units)[:, None]
    gradient: Array = (turned - along * units) / lengths.astype(units.dtype)
    return gradient


def store(values: Array, out: Array) -> None:
    """Write float32 or float64 numbers into an array of any floating dtype."""
    if not out.dtype.names:
        out[...] = values
        return
    # Bits whose library NumPy does not know: the upper half of a float32, rounded to even.
    bits = values.view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    out.view(np.uint16)[...] = np.where(np.isnan(values), bits >> 16 | 0x40, rounded)
