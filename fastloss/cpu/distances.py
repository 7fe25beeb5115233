"""Losses of the distances between the vectors of an example: one example after the other.

Once over the entries for each distance, then once more for the derivatives, while the vectors lie
in a cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.driver import ALL_GOOD
from fastloss.cpu.examples import SCAN_CHUNK, entry_of
from fastloss.cpu.ir import (
    IN_RECORD,
    allocate,
    least,
    load_tuple,
    make_read_record,
    release,
    running_max,
    running_sum,
)
from fastloss.cpu.memory import (
    STORAGE,
    load_float64,
    load_int64,
    poke_int64,
)
from fastloss.cpu.transfers import BITS, apart, deliver, fetch, offset_of, place
from fastloss.dtypes import real_dtype
from fastloss.elementary import jitable
from fastloss.labels import label_of
from fastloss.losses.norms import NORMS, difference, make_formulas, make_measure
from fastloss.spec import DistanceSpec
from fastloss.variant import DistanceVariant

#: Entries whose terms are added in the predictions' precision, before float64.
BLOCK = 2048

#: The size of the layout record of a vector, in bytes.
LINE_RECORD = 8 * 3


class DistanceCall(NamedTuple):
    """The arguments of a kernel of distances.

    Arrays are addresses. x are the predictions, t the targets (a row of int64), w the example
    weights and u the upstream gradient (rows of float64, or missing), g the gradient, h the
    hessian; `_layout` is the record of the examples, `_role` the bytes from vector to vector and
    `_step` those from entry to entry.
    """

    loss: int
    g: int
    h: int
    x: int
    t: int
    w: int
    u: int
    n: int
    entries: int
    per_chunk: int
    x_layout: int
    x_role: int
    x_step: int
    g_layout: int
    g_role: int
    g_step: int
    h_layout: int
    h_role: int
    h_step: int
    options: int  # a row of the predictions' real: the parameters of the formulas
    p: float
    eps: float


#: How many of the fields, the first ones, are addresses of arrays.
ARRAYS = 7

#: read_call(record): the arguments that lie at `record`.
read_call = make_read_record("read_call", __name__, DistanceCall, ARRAYS)


# --- before anything is written ---------------------------------------------------------


def scan(record, chunk, slot):
    """Sum the weights of a chunk of examples; refuse the first target other than 0 and 1."""
    call = read_call(record)
    first = chunk * SCAN_CHUNK
    last = least(call.n, first + SCAN_CHUNK)
    refused, total = call.n, 0.0
    for i in range(first, last):
        y = load_int64(call.t, i)
        refused = least(refused, call.n if (y == 0) | (y == 1) else i)
        total += entry_of(call.w, i)
    poke_int64(slot, 0, refused if refused < call.n else ALL_GOOD)
    return total


@functools.cache
def scan_kernel() -> Kernel:
    """Return the kernel that looks at the examples before anything is written."""
    return Kernel(lambda: scan, "distances")


# --- the loss and its derivatives -------------------------------------------------------


@functools.cache
def compute_kernel(spec: DistanceSpec, variant: DistanceVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`."""
    return Kernel(functools.partial(_make_compute, spec, variant), label_of(spec.name, variant))


def _make_measure(variant: DistanceVariant) -> Any:
    """Make the function (a, b, n, p, eps) -> (before, after, root); see `norms`."""
    load = STORAGE[variant.predictions].load
    real = real_dtype(variant.predictions).type
    norm = NORMS[variant.norm]
    term = norm.term

    @jitable
    def total(a, b, n, p, eps, before, after):
        before, after = real(before), real(after)
        whole = 0.0
        for start in range(0, n, BLOCK):
            part = real(0)
            for i in range(start, least(n, start + BLOCK)):
                x = difference(real(load(a, i)), real(load(b, i)), eps, before, after)
                part = running_sum(part, term(x, p))
            whole += np.float64(part)
        return whole

    @jitable
    def largest(a, b, n, p, eps, before, after):
        before, after = real(before), real(after)
        found = real(0)
        for i in range(n):
            x = difference(real(load(a, i)), real(load(b, i)), eps, before, after)
            found = running_max(found, abs(x))
        return np.float64(found)

    return make_measure(norm, real, total, largest)


def _make_compute(spec: DistanceSpec, variant: DistanceVariant) -> Callable[..., Any]:
    distances_of, value_of, pairs_of, gradient, curvature = make_formulas(spec, variant)
    size, load, store, *_ = STORAGE[variant.predictions]
    real = real_dtype(variant.predictions).type
    _, _, store_real, *_ = STORAGE[real.__name__]
    measure = _make_measure(variant)
    bits = BITS[size]
    where = (IN_RECORD,) * len(spec.parameters)
    PAIRS, TRIPLE, TURNS = variant.pairs, spec.vectors == 3, spec.ordered
    VECTORS = spec.vectors
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs

    @jitable
    def write(n, p, eps, x0, x1, x2, g0, g1, g2, h0, h1, h2, pairs):
        """Write the derivatives, given the pairs of all distances."""
        for i in range(n):
            a, b, c = real(load(x0, i)), real(load(x1, i)), real(load(x2, i))
            if GRAD:
                of_a, of_b, of_c = gradient(a, b, c, pairs, p, eps)
                store(g0, i, of_a)
                store(g1, i, of_b)
                if TRIPLE:
                    store(g2, i, of_c)
            if HESS:
                of_a, of_b, of_c = curvature(a, b, c, pairs, p, eps)
                store(h0, i, of_a)
                store(h1, i, of_b)
                if TRIPLE:
                    store(h2, i, of_c)

    @jitable
    def write_zeros(n, g0, g1, g2, h0, h1, h2):
        for i in range(n):
            if GRAD:
                store(g0, i, real(0))
                store(g1, i, real(0))
                store(g2, i, real(0))
            if HESS:
                store(h0, i, real(0))
                store(h1, i, real(0))
                store(h2, i, real(0))

    @jitable
    def example(call, x0, x1, x2, target, factor, g0, g1, g2, h0, h1, h2):
        """Compute the derivatives of one example; return its loss."""
        n, p, eps = call.entries, real(call.p), real(call.eps)
        options = load_tuple(call.options, where, real(0))
        near = far = third = measure(x0, x2 if TURNS and target == 1 else x1, n, p, eps)
        if PAIRS > 1:
            far = measure(x0, x1 if TURNS and target == 1 else x2, n, p, eps)
        if TURNS and target == 1:  # memory is slow to be read in another order than its own
            near, far = far, near
        if PAIRS > 2:
            third = measure(x1, x2, n, p, eps)
        distances = distances_of(near, far, third)
        if GRAD or HESS:
            pairs = pairs_of(near, far, third, distances, target, options, factor)
            write(n, p, eps, x0, x1, x2, g0, g1, g2, h0, h1, h2, pairs)
        return value_of(distances, target, options) if LOSS else 0.0

    @jitable
    def line_record(address, n, step):
        """Write the layout record of a vector's entries; return its address."""
        poke_int64(address, 0, 1)
        poke_int64(address, 1, n)
        poke_int64(address, 2, step)
        return address

    @jitable
    def own(x, g, h, n, buffer):
        """The address of a vector that the results may be written over."""
        if (GRAD and g == x) or (HESS and h == x):
            return apart(x, n, buffer, bits)
        return x

    def compute(record, chunk, slot):
        """Compute a chunk of examples; return the sum of their losses."""
        call = read_call(record)
        outer = load_float64(slot, 0)
        n, whole = call.entries, VECTORS * call.entries * size
        first = chunk * call.per_chunk
        line = 8 * n
        memory = allocate(3 * LINE_RECORD + 9 * line)
        x_line = line_record(memory, n, call.x_step)
        g_line = line_record(memory + LINE_RECORD, n, call.g_step)
        h_line = line_record(memory + 2 * LINE_RECORD, n, call.h_step)
        bx = memory + 3 * LINE_RECORD
        bg, bh = bx + 3 * line, bx + 6 * line
        total = 0.0
        for i in range(first, least(call.n, first + call.per_chunk)):
            y, weight = load_int64(call.t, i), entry_of(call.w, i)
            role = 2 if TURNS and y == 1 else 1
            # Of two vectors the second stands for the third as well.
            other = 3 - role if TRIPLE else 1
            x = call.x + offset_of(call.x_layout, i, whole)
            g = call.g + offset_of(call.g_layout, i, whole) if GRAD else call.g
            h = call.h + offset_of(call.h_layout, i, whole) if HESS else call.h
            g0 = place(g, g_line, 0, n, bg, bits) if GRAD else g
            g1 = place(g + role * call.g_role, g_line, 0, n, bg + line, bits) if GRAD else g
            g2 = place(g + other * call.g_role, g_line, 0, n, bg + 2 * line, bits) if GRAD else g
            h0 = place(h, h_line, 0, n, bh, bits) if HESS else h
            h1 = place(h + role * call.h_role, h_line, 0, n, bh + line, bits) if HESS else h
            h2 = place(h + other * call.h_role, h_line, 0, n, bh + 2 * line, bits) if HESS else h
            loss = 0.0
            if weight == 0.0:
                write_zeros(n, g0, g1, g2, h0, h1, h2)
            else:
                x0 = own(fetch(x, x_line, 0, n, bx, bits), g0, h0, n, bx)
                x1 = fetch(x + role * call.x_role, x_line, 0, n, bx + line, bits)
                x1 = own(x1, g1, h1, n, bx + line)
                x2 = x1
                if TRIPLE:
                    x2 = fetch(x + other * call.x_role, x_line, 0, n, bx + 2 * line, bits)
                    x2 = own(x2, g2, h2, n, bx + 2 * line)
                factor = outer * weight * entry_of(call.u, i)
                loss = weight * example(call, x0, x1, x2, y, factor, g0, g1, g2, h0, h1, h2)
            total += loss
            if PER_EXAMPLE:
                store_real(call.loss, i, real(loss))
            if GRAD:
                deliver(g0, g, g_line, 0, n, bg, bits)
                deliver(g1, g + role * call.g_role, g_line, 0, n, bg + line, bits)
                if TRIPLE:
                    deliver(g2, g + other * call.g_role, g_line, 0, n, bg + 2 * line, bits)
            if HESS:
                deliver(h0, h, h_line, 0, n, bh, bits)
                deliver(h1, h + role * call.h_role, h_line, 0, n, bh + line, bits)
                if TRIPLE:
                    deliver(h2, h + other * call.h_role, h_line, 0, n, bh + 2 * line, bits)
        release(memory)
        return total

    return compute
