"""Losses of the distances between the vectors of an example: a warp for each example.

The twin of `fastloss.cpu.distances`. Every thread reads its share of the entries for each distance,
and again for the derivatives; the warp brings the sums together. A block is one warp, for how often
a sum is taken depends on the numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.driver import THREADS as ADD_THREADS
from fastloss.cuda.examples import examples_of, outer_factor
from fastloss.cuda.group import BOARD, BOARD_DTYPE, group_of
from fastloss.cuda.memory import STORAGE, offset_of, store_float64
from fastloss.cuda.options import options_of, record_of
from fastloss.cuda.primitives import WARP, block_count, block_number, cuda, thread_number
from fastloss.cuda.refusal import make_refuse
from fastloss.cuda.weights import with_weights
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline, maximum
from fastloss.labels import label_of
from fastloss.losses.norms import NORMS, difference, make_formulas, make_measure
from fastloss.spec import DistanceSpec
from fastloss.variant import DistanceVariant

THREADS = WARP


@with_weights
class DistanceCall(NamedTuple):
    """The arguments of a kernel of distances, but for the parameters of the formulas.

    Arrays are addresses. x are the predictions, t the targets, g the gradient, h the hessian;
    `_layout` is the record of the examples, `_role` the bytes from vector to vector, `_step` those
    from entry to entry. `sums` and `parts` are scratch memory.
    """

    n: int
    entries: int
    x: int
    x_layout: int
    x_role: int
    x_step: int
    t: int
    t_layout: int
    t_size: int
    t_signed: int
    p: float
    eps: float
    loss: int
    g: int
    g_layout: int
    g_role: int
    g_step: int
    h: int
    h_layout: int
    h_role: int
    h_step: int
    sums: int
    parts: int


@functools.cache
def refuse_kernel() -> Kernel:
    """Return the kernel that looks for the first target other than 0 and 1."""
    return Kernel(_make_refuse, DistanceCall, ADD_THREADS, "distances")


def _make_refuse() -> Any:
    index_of = examples_of(False).index

    @inline
    def is_bad(call, i):
        y = index_of(call, i)
        return y != 0 and y != 1

    return make_refuse(inline(lambda call: call.n), is_bad)


@functools.cache
def compute_kernel(spec: DistanceSpec, variant: DistanceVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`."""
    record = record_of(DistanceCall, (False,) * len(spec.parameters))
    make = functools.partial(_make_compute, spec, variant)
    return Kernel(make, record, THREADS, label_of(spec.name, variant))


def _make_measure(variant: DistanceVariant) -> Any:
    """Make the function (a, b, (n, step, lane, board), p, eps) -> (before, after, root)."""
    load = STORAGE[variant.predictions].load
    real: Any = real_dtype(variant.predictions).type
    norm = NORMS[variant.norm]
    term = norm.term
    sum_of, largest_of = group_of(THREADS, np.float64).total, group_of(THREADS, real).largest

    @inline
    def total(a, b, where, p, eps, before, after):
        n, step, lane, board = where
        before, after = real(before), real(after)
        part = real(0)
        for c in range(lane, n, THREADS):
            one, other = real(load(a + c * step)), real(load(b + c * step))
            part += term(difference(one, other, eps, before, after), p)
        return sum_of(np.float64(part), board)

    @inline
    def largest(a, b, where, p, eps, before, after):
        n, step, lane, board = where
        before, after = real(before), real(after)
        found = real(0)
        for c in range(lane, n, THREADS):
            one, other = real(load(a + c * step)), real(load(b + c * step))
            found = maximum(found, abs(difference(one, other, eps, before, after)))
        return np.float64(largest_of(found, board))

    return make_measure(norm, real, total, largest)


def _make_compute(spec: DistanceSpec, variant: DistanceVariant) -> Callable[..., Any]:
    distances_of, value_of, pairs_of, gradient, curvature = make_formulas(spec, variant)
    size, load, store, *_ = STORAGE[variant.predictions]
    real: Any = real_dtype(variant.predictions).type
    real_size, _, store_real, *_ = STORAGE[real.__name__]
    measure = _make_measure(variant)
    options_at = options_of(DistanceCall, (False,) * len(spec.parameters), real)
    weight_of, upstream_of, index_of, *_ = examples_of(False)
    outer_of = outer_factor(THREADS)
    PAIRS, VECTORS, TURNS = variant.pairs, spec.vectors, spec.ordered
    TRIPLE = VECTORS == 3
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    DERIVATIVES = GRAD or HESS

    @inline
    def put(address, role, other, of_role, values, live):
        """Store an entry of each vector; zeros where the example is not live."""
        a, b, c = values
        store(address, a if live else real(0))
        store(address + role * of_role, b if live else real(0))
        if TRIPLE:
            store(address + other * of_role, c if live else real(0))

    def distances(call):
        """Compute the examples of a block; leave the sum of their losses in `sums`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        lane = thread_number()
        outer = outer_of(call, board) if DERIVATIVES else 0.0
        p, eps = real(call.p), real(call.eps)
        options = options_at(call, 0)
        whole = VECTORS * call.entries * size
        total = 0.0
        for i in range(block_number(), call.n, block_count()):
            y, weight = index_of(call, i), weight_of(call, i)
            live = weight != 0.0
            bad = math.nan if y != 0 and y != 1 else 0.0
            role = np.int64(2) if TURNS and y == 1 else np.int64(1)
            # Of two vectors the second stands for the third as well.
            other = 3 - role if TRIPLE else np.int64(1)
            n = call.entries if live else np.int64(0)
            x0 = call.x + offset_of(call.x_layout, i, whole)
            x1, x2 = x0 + role * call.x_role, x0 + other * call.x_role
            where = (n, call.x_step, lane, board)
            near = far = third = measure(x0, x1, where, p, eps)
            if PAIRS > 1:
                far = measure(x0, x2, where, p, eps)
            if PAIRS > 2:
                third = measure(x1, x2, where, p, eps)
            found = distances_of(near, far, third)
            if LOSS and lane == 0:
                value = value_of(found, y, options) * weight + bad if live else 0.0
                total += value
                if PER_EXAMPLE:
                    store_real(call.loss + i * real_size, real(value))
            if DERIVATIVES:
                factor = outer * weight * upstream_of(call, i) + bad
                pairs = pairs_of(near, far, third, found, y, options, factor)
                g, h = call.g, call.h
                if GRAD:
                    g = call.g + offset_of(call.g_layout, i, whole)
                if HESS:
                    h = call.h + offset_of(call.h_layout, i, whole)
                for k in range(lane, call.entries, THREADS):
                    at = k * call.x_step
                    a, b = real(load(x0 + at)), real(load(x1 + at))
                    c = real(load(x2 + at)) if TRIPLE else b
                    # Both before either is written: one of them may lie over the predictions.
                    d, dd = (a, a, a), (a, a, a)
                    if GRAD:
                        d = gradient(a, b, c, pairs, p, eps)
                    if HESS:
                        dd = curvature(a, b, c, pairs, p, eps)
                    if GRAD:
                        put(g + k * call.g_step, role, other, call.g_role, d, live)
                    if HESS:
                        put(h + k * call.h_step, role, other, call.h_role, dd, live)
        if LOSS and not PER_EXAMPLE and lane == 0:
            store_float64(call.sums + 8 * block_number(), total)

    return distances
