"""NT-Xent: embeddings at length 1, one row of the matrix of similarities after the other, and back.

The twin of `fastloss.cpu.similarities`, with kernels for what is done there by NumPy. An embedding
is a warp's, a row a block's; the products of matrices in between are in `fastloss.cuda.products`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.driver import adder
from fastloss.cuda.examples import examples_of, outer_factor
from fastloss.cuda.group import BOARD, BOARD_DTYPE, group_of
from fastloss.cuda.memory import STORAGE, load_float64, load_index, store_float64
from fastloss.cuda.primitives import (
    LARGE,
    WARP,
    block_count,
    block_number,
    cuda,
    thread_number,
)
from fastloss.cuda.weights import with_weights
from fastloss.dtypes import real_dtype
from fastloss.elementary import divide, exp_normal, inline, maximum, sqrt
from fastloss.labels import label_of
from fastloss.losses.anchor import (
    FACTS,
    MATRICES,
    NO_ANCHOR,
    Anchor,
    Passes,
    curvature,
    exchange,
    make_anchor,
    positive,
)

#: Threads of a block: for an embedding, and for a row.
THREADS = WARP
ROW_THREADS = min(8, LARGE) * WARP


@with_weights
class SimilarityCall(NamedTuple):
    """The arguments of the kernels.

    Arrays are addresses. x are the embeddings, t the labels, g the gradient, h the hessian; `_step`
    are the bytes from example to example, `_entry` those from entry to entry. The divisor of a mean
    is nan. `loss` is 0 but for losses of examples, and `sums` with them. `scale` is the reciprocal
    of the temperature.

    The rest is scratch memory: `lives` (float64) how many anchors of each block move anything,
    `positives` (float64) how many each example has; in the precision of the losses, `units` and
    `lengths` of the embeddings, the rows `z` of the anchors first .. last, over which their
    derivatives are written, and `turned`, what z makes of the units. For the hessian alone:
    `squares` of the units, the `Anchor` (float64) of each example, the rows of the `matrices` that
    `exchange` makes, and in `turned` what each makes of the units.
    """

    n: int
    entries: int
    x: int
    x_step: int
    x_entry: int
    t: int
    t_step: int
    t_size: int
    loss: int
    sums: int
    g: int
    g_step: int
    g_entry: int
    h: int
    h_step: int
    h_entry: int
    scale: float
    first: int
    last: int
    lives: int
    positives: int
    anchors: int
    units: int
    lengths: int
    z: int
    turned: int
    squares: int
    matrices: int


@inline
def label_at(call, i):
    """The label of an example, as int64; of a uint64 the same bits, for these are compared."""
    return load_index(call.t + i * call.t_step, call.t_size, True)


# --- embeddings -------------------------------------------------------------------------


@functools.cache
def prepare_kernel(predictions: str) -> Kernel:
    """Return the kernel that brings embeddings to length 1 and counts positives."""
    make = functools.partial(_make_prepare, predictions)
    return Kernel(make, SimilarityCall, THREADS, label_of(predictions))


def _make_prepare(predictions: str) -> Callable[..., Any]:
    load = STORAGE[predictions].load
    real: Any = real_dtype(predictions).type
    size, _, store, *_ = STORAGE[real.__name__]
    sum_of, largest_of = group_of(THREADS, np.float64).total, group_of(THREADS, real).largest
    weight_of, upstream_of, *_ = examples_of(False)

    @inline
    def normalize(call, i, lane, board):
        """A vector of zeros stays one, and is infinitely long: its derivatives are 0."""
        x = call.x + i * call.x_step
        largest = real(0)
        for d in range(lane, call.entries, THREADS):
            largest = maximum(largest, abs(real(load(x + d * call.x_entry))))
        largest = largest_of(largest, board)
        empty = largest == real(0)
        scale = real(1) if empty else largest
        squares = 0.0
        for d in range(lane, call.entries, THREADS):
            part = np.float64(divide(real(load(x + d * call.x_entry)), scale))
            squares += part * part
        length = sqrt(sum_of(squares, board))
        divisor = real(1) if empty else real(length)
        first = i * call.entries
        for d in range(lane, call.entries, THREADS):
            unit = divide(divide(real(load(x + d * call.x_entry)), scale), divisor)
            store(call.units + (first + d) * size, unit)
            if call.squares != 0:
                store(call.squares + (first + d) * size, unit * unit)
        if lane == 0:
            whole = math.inf if empty else length * np.float64(scale)
            store(call.lengths + i * size, real(whole))

    @inline
    def count(call, i, lane, board):
        """How many others have the label of example `i`."""
        label = label_at(call, i)
        found = 0.0
        for j in range(lane, call.n, THREADS):
            found += 1.0 if j != i and label_at(call, j) == label else 0.0
        return sum_of(found, board)

    def prepare(call):
        """Prepare the examples of a block; leave the sum of the weights of its anchors."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        lane = thread_number()
        weights, live = 0.0, 0.0
        for i in range(block_number(), call.n, block_count()):
            normalize(call, i, lane, board)
            positives = count(call, i, lane, board)
            if positives > 0.0:
                weight = weight_of(call, i)
                weights += weight
                live += 1.0 if weight * upstream_of(call, i) != 0.0 else 0.0
            if lane == 0:
                store_float64(call.positives + 8 * i, positives)
        if lane == 0:
            store_float64(call.weight_sums + 8 * block_number(), weights)
            store_float64(call.lives + 8 * block_number(), live)

    return prepare


@functools.cache
def project_kernel(predictions: str, hess: bool) -> Kernel:
    """Return the kernel that makes derivatives by the embeddings of what they are made of."""
    make = functools.partial(_make_project, predictions, hess)
    return Kernel(make, SimilarityCall, THREADS, label_of(predictions, hess))


def _make_project(predictions: str, hess: bool) -> Callable[..., Any]:
    store = STORAGE[predictions].store
    real: Any = real_dtype(predictions).type
    size, load, *_ = STORAGE[real.__name__]
    sum_of = group_of(THREADS, np.float64).total
    outer_of, add = outer_factor(THREADS), adder(THREADS)
    HESS = hess

    @inline
    def moved(call, k, i, d):
        """Entry d of what the matrix number k makes of the units, for example i."""
        return real(load(call.turned + ((k * call.n + i) * call.entries + d) * size))

    @inline
    def unit(call, i, d):
        return real(load(call.units + (i * call.entries + d) * size))

    @inline
    def along(call, k, i, lane, board):
        """The part in the direction of the embedding."""
        part = 0.0
        for d in range(lane, call.entries, THREADS):
            part += np.float64(moved(call, k, i, d)) * np.float64(unit(call, i, d))
        return real(sum_of(part, board))

    @inline
    def bend(call, i, lane, board, live, length, slope):
        """Write the hessian of an example."""
        squares = load_float64(call.anchors + 8 * (FACTS * i + FACTS - 1))
        beside = (
            slope, along(call, 1, i, lane, board), real(0),
            along(call, 3, i, lane, board), along(call, 4, i, lane, board),
        )  # fmt: skip
        for d in range(lane, call.entries, THREADS):
            parts = (
                moved(call, 0, i, d), moved(call, 1, i, d), moved(call, 2, i, d),
                moved(call, 3, i, d), moved(call, 4, i, d),
            )  # fmt: skip
            value = real(curvature(unit(call, i, d), call.scale, squares, parts, beside))
            value = divide(divide(value, length), length)
            store(call.h + i * call.h_step + d * call.h_entry, value if live else real(0))

    def project(call):
        """Leave of the gradient what is across the direction of the embedding."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        lane = thread_number()
        # Derivatives of nothing are 0, also where there is a nan.
        live = outer_of(call, board) != 0.0
        live = add(call.lives, call.weight_count, board) != 0.0 and live
        for i in range(block_number(), call.n, block_count()):
            length = real(load(call.lengths + i * size))
            slope = along(call, 0, i, lane, board)
            for d in range(lane, call.entries, THREADS):
                across = moved(call, 0, i, d) - slope * unit(call, i, d)
                value = divide(real(call.scale) * across, length)
                store(call.g + i * call.g_step + d * call.g_entry, value if live else real(0))
            if HESS:
                bend(call, i, lane, board, live, length, slope)

    return project


# --- rows -------------------------------------------------------------------------------


@functools.cache
def compute_kernel(real: str, derivatives: bool, hess: bool) -> Kernel:
    """Return the kernel for rows of this dtype.

    It may leave the derivatives out, and for the hessian leave the `Anchor` of each example.
    """
    make = functools.partial(_make_compute, real, derivatives, hess)
    return Kernel(make, SimilarityCall, ROW_THREADS, label_of(real, derivatives, hess))


def make_passes(name: str, derivatives: bool, hess: bool) -> Passes:
    """Return the passes over a row (arguments, address, anchor, its label, thread, board)."""
    size, load, store, *_ = STORAGE[name]
    real: Any = np.dtype(name).type
    sum_of, largest_of = (
        group_of(ROW_THREADS, np.float64).total,
        group_of(ROW_THREADS, real).largest,
    )
    GRAD, HESS = derivatives, hess

    @inline
    def largest_other(row):
        call, z, _, label, lane, board = row
        found = real(-math.inf)
        for j in range(lane, call.n, ROW_THREADS):
            if label_at(call, j) != label:
                found = maximum(found, real(load(z + j * size)))
        return largest_of(found, board)

    @inline
    def raise_others(row, base):
        call, z, _, label, lane, board = row
        part = 0.0
        for j in range(lane, call.n, ROW_THREADS):
            if label_at(call, j) != label:
                e = exp_normal(real(load(z + j * size)) - base)
                part += np.float64(e)
                store(z + j * size, e)
        return sum_of(part, board)

    @inline
    def visit_positives(row, base, others, step):
        call, z, i, label, lane, board = row
        losses, misses, squares = 0.0, 0.0, 0.0
        for j in range(lane, call.n, ROW_THREADS):
            if label_at(call, j) == label:
                loss, q = positive(real(load(z + j * size)), base, others)
                if j != i:
                    losses += loss
                    misses += q
                    squares += q * q
                if GRAD:
                    store(z + j * size, real(-step * q) if j != i else real(0))
        squares = sum_of(squares, board) if HESS else 0.0
        return sum_of(losses, board), sum_of(misses, board), squares

    @inline
    def scale_others(row, factor):
        call, z, _, label, lane, _ = row
        for j in range(lane, call.n, ROW_THREADS):
            if label_at(call, j) != label:
                store(z + j * size, real(load(z + j * size)) * factor)

    return Passes(largest_other, raise_others, visit_positives, scale_others)


def _make_compute(name: str, derivatives: bool, hess: bool) -> Callable[..., Any]:
    size, _, store, *_ = STORAGE[name]
    real: Any = np.dtype(name).type
    anchor = make_anchor(make_passes(name, derivatives, hess), real, derivatives)
    weight_of, upstream_of, *_ = examples_of(False)
    outer_of = outer_factor(ROW_THREADS)
    GRAD, HESS = derivatives, hess

    @inline
    def clear(call, z, lane):
        for j in range(lane, call.n, ROW_THREADS):
            store(z + j * size, real(0))

    def similarities(call):
        """Compute the rows of a block; leave the loss of each."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        lane = thread_number()
        outer = outer_of(call, board) if GRAD or HESS else 0.0
        for i in range(call.first + block_number(), call.last, block_count()):
            z = call.z + (i - call.first) * call.n * size
            positives = load_float64(call.positives + 8 * i)
            weight = weight_of(call, i) if positives > 0.0 else 0.0
            factor = outer * weight * upstream_of(call, i) if GRAD or HESS else 0.0
            loss, about = 0.0, NO_ANCHOR
            if positives > 0.0:
                row = (call, z, i, label_at(call, i), lane, board)
                loss, about = anchor(row, positives, factor)
            if GRAD and (positives == 0.0 or factor == 0.0):  # also where the loss is nan
                clear(call, z, lane)
            if lane == 0:
                value = loss * weight if weight != 0.0 else 0.0
                if call.loss != 0:
                    store(call.loss + i * size, real(value))
                elif call.sums != 0:
                    store_float64(call.sums + 8 * i, value)
                if HESS:
                    for k in range(FACTS):
                        store_float64(call.anchors + 8 * (FACTS * i + k), about[k])

    return similarities


# --- the hessian ------------------------------------------------------------------------


@functools.cache
def exchange_kernel(real: str) -> Kernel:
    """Return the kernel that makes, of rows of similarities, those of the hessian's matrices."""
    make = functools.partial(_make_exchange, real)
    return Kernel(make, SimilarityCall, ROW_THREADS, label_of(real))


def _make_exchange(name: str) -> Callable[..., Any]:
    size, load, store, *_ = STORAGE[name]
    real: Any = np.dtype(name).type

    @inline
    def anchor_of(call, i):
        """The `Anchor` of an example."""
        at = call.anchors + 8 * FACTS * i
        return Anchor(
            load_float64(at), load_float64(at + 8), load_float64(at + 16), load_float64(at + 24)
        )

    def exchange_rows(call):
        """Compute the rows of a block."""
        matrix = (call.last - call.first) * call.n  # entries
        for i in range(call.first + block_number(), call.last, block_count()):
            anchor, label = anchor_of(call, i), label_at(call, i)
            for j in range(thread_number(), call.n, ROW_THREADS):
                place = (i - call.first) * call.n + j
                same = label_at(call, j) == label
                z = real(load(call.z + place * size))
                made = exchange(z, same, anchor, anchor_of(call, j))
                for k in range(MATRICES):
                    value = real(made[k]) if j != i else real(0)
                    store(call.matrices + (k * matrix + place) * size, value)

    return exchange_rows
