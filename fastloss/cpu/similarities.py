"""NT-Xent, one row of the matrix of similarities after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.ir import least, make_read_record, running_max, running_sum
from fastloss.cpu.loop import with_loop
from fastloss.cpu.memory import (
    STORAGE,
    load_float64,
    load_int64,
    peek_float64,
    peek_int32,
    poke_float64,
)
from fastloss.elementary import exp_normal, inline, jitable
from fastloss.labels import label_of
from fastloss.losses.anchor import (
    FACTS,
    MATRICES,
    NO_ANCHOR,
    Anchor,
    Passes,
    exchange,
    make_anchor,
    positive,
)

#: Terms that are added in the predictions' precision, before float64.
BLOCK = 2048


class SimilarityCall(NamedTuple):
    """The arguments of the kernels.

    Arrays are addresses. z are rows of similarities, over which their derivatives are written,
    `labels` (int32) and `positives` (float64, how many) those of all examples, `factors` (float64)
    what the derivatives are multiplied by, `losses` (float64) where the losses go. `anchors`
    (float64) has the `Anchor` of every example, and `matrices` room for as many rows as z of each
    matrix that the hessian is made of; None where there is none. `block` (int64) has the number of
    the example whose row is the first, and how many rows there are.
    """

    z: int
    labels: int
    positives: int
    factors: int
    losses: int
    anchors: int
    matrices: int
    block: int
    n: int
    per_chunk: int


#: How many of the fields, the first ones, are addresses of arrays.
ARRAYS = 8

#: read_call(record): the arguments that lie at `record`.
read_call = make_read_record("read_call", __name__, SimilarityCall, ARRAYS)


@functools.cache
def compute_kernel(real: str, derivatives: bool) -> Kernel:
    """Return the kernel for rows of this dtype; it may leave the derivatives out."""
    make = functools.partial(_make_compute, real, derivatives)
    return Kernel(make, label_of("similarities", real, derivatives))


def make_passes(name: str, derivatives: bool) -> Passes:
    """Return the passes over a row (address, labels, length, number of the anchor, its label)."""
    _, _, _, peek, poke = STORAGE[name]
    real = np.dtype(name).type
    GRAD = derivatives

    @jitable
    def largest_other(row):
        z, labels, n, _, label = row
        none = real(-np.inf)
        found = none
        for j in range(n):
            found = running_max(found, peek(z, j) if peek_int32(labels, j) != label else none)
        return found

    @with_loop
    def raise_others(row, base):
        z, labels, n, _, label = row
        whole = 0.0
        for start in range(0, n, BLOCK):
            part = real(0)
            for j in range(start, least(n, start + BLOCK)):
                other = peek_int32(labels, j) != label
                e = exp_normal(peek(z, j) - base)
                part = running_sum(part, e if other else real(0))
                poke(z, j, e if other else peek(z, j))
            whole += np.float64(part)
        return whole

    @jitable
    def visit_positives(row, base, others, step):
        z, labels, n, i, label = row
        losses, misses, squares = 0.0, 0.0, 0.0
        for j in range(n):
            if peek_int32(labels, j) == label:
                loss, q = positive(peek(z, j), base, others)
                if j != i:
                    losses += loss
                    misses += q
                    squares += q * q
                if GRAD:
                    poke(z, j, real(-step * q) if j != i else real(0))
        return losses, misses, squares

    @jitable
    def scale_others(row, factor):
        z, labels, n, _, label = row
        for j in range(n):
            v = peek(z, j)
            poke(z, j, v * factor if peek_int32(labels, j) != label else v)

    return Passes(largest_other, raise_others, visit_positives, scale_others)


def _make_compute(name: str, derivatives: bool) -> Callable[..., Any]:
    size, *_, poke = STORAGE[name]
    real = np.dtype(name).type
    anchor = make_anchor(make_passes(name, derivatives), real, derivatives)
    GRAD = derivatives

    @jitable
    def clear(z, n):
        for j in range(n):
            poke(z, j, real(0))

    def compute(record, chunk, slot):
        """Compute a chunk of rows."""
        call = read_call(record)
        start, first, last = read_rows(call, chunk)
        for r in range(first, last):
            i = start + r
            z = call.z + r * call.n * size
            positives, factor = load_float64(call.positives, i), load_float64(call.factors, i)
            loss, about = 0.0, NO_ANCHOR
            if positives > 0.0:
                row = (z, call.labels, call.n, i, peek_int32(call.labels, i))
                loss, about = anchor(row, positives, factor)
            if GRAD and (positives == 0.0 or factor == 0.0):  # also where the loss is nan
                clear(z, call.n)
            poke_float64(call.losses, i, loss)
            if call.anchors != 0:
                for k in range(FACTS):
                    poke_float64(call.anchors, FACTS * i + k, about[k])
        return 0.0

    return compute


@functools.cache
def exchange_kernel(real: str) -> Kernel:
    """Return the kernel that makes, of rows of similarities, those of the hessian's matrices."""
    return Kernel(functools.partial(_make_exchange, real), label_of("exchange", real))


def _make_exchange(name: str) -> Callable[..., Any]:
    _, _, _, peek, poke = STORAGE[name]
    real = np.dtype(name).type

    def exchange_rows(record, chunk, slot):
        """Compute a chunk of rows."""
        call = read_call(record)
        start, first, last = read_rows(call, chunk)
        matrix = load_int64(call.block, 1) * call.n  # entries
        for r in range(first, last):
            i = start + r
            anchor = read_anchor(call, i)
            label = peek_int32(call.labels, i)
            for j in range(call.n):
                place = r * call.n + j
                same = peek_int32(call.labels, j) == label
                made = exchange(peek(call.z, place), same, anchor, read_anchor(call, j))
                for k in range(MATRICES):
                    poke(call.matrices, k * matrix + place, real(made[k] if j != i else 0.0))
        return 0.0

    return exchange_rows


@inline
def read_rows(call, chunk):
    """(number of the block's first example, first and last row of the chunk)."""
    start, rows = load_int64(call.block, 0), load_int64(call.block, 1)
    first = chunk * call.per_chunk
    return start, first, least(rows, first + call.per_chunk)


@inline
def read_anchor(call, i):
    """The `Anchor` of an example."""
    at = FACTS * i
    return Anchor(
        peek_float64(call.anchors, at), peek_float64(call.anchors, at + 1),
        peek_float64(call.anchors, at + 2), peek_float64(call.anchors, at + 3),
    )  # fmt: skip
