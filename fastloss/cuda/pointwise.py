"""The kernels of all element-wise losses: one flat walk over the elements.

Where all arrays lie alike in memory, threads read and write 16 bytes at a time; else element
by element, by the layouts. The formulas are inlined into the loop.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.driver import THREADS as ADD_THREADS
from fastloss.cuda.driver import adder
from fastloss.cuda.group import BOARD, BOARD_DTYPE, block_total
from fastloss.cuda.memory import STORAGE, number_at, offset_of, store_float64
from fastloss.cuda.options import options_of, record_of
from fastloss.cuda.primitives import (
    LARGE,
    WARP,
    WIDE,
    block_count,
    block_number,
    cuda,
    thread_number,
)
from fastloss.cuda.refusal import make_refuse
from fastloss.cuda.variant import PointwiseVariant
from fastloss.cuda.weights import weights_of, with_weights
from fastloss.dtypes import EPS, real_dtype
from fastloss.elementary import inline
from fastloss.fingerprint import fingerprint
from fastloss.labels import label_of
from fastloss.spec import Domain, PointwiseSpec, everything

THREADS = min(8, LARGE) * WARP


@with_weights
class PointwiseCall(NamedTuple):
    """The arguments of an element-wise kernel, but for the options.

    Arrays are addresses. p are the predictions, t the targets, g the gradient, h the hessian;
    `_layout` is the record of each. `sums` and `parts` are scratch memory.
    """

    n: int
    p: int
    p_layout: int
    t: int
    t_layout: int
    loss: int
    g: int
    g_layout: int
    h: int
    h_layout: int
    sums: int
    parts: int


# --- before the loss --------------------------------------------------------------------


@functools.cache
def scan_kernel(record: type = PointwiseCall) -> Kernel:
    """Return the kernel that sums the weights of so many elements, or examples, as `record` has."""
    return Kernel(_make_scan, record, ADD_THREADS, label_of(record.__name__))


def _make_scan() -> Any:
    total = block_total(ADD_THREADS)

    def scan(call):
        """Leave each block's sum of weights in `weight_sums`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        part = 0.0
        start = block_number() * ADD_THREADS + thread_number()
        for i in range(start, call.n, block_count() * ADD_THREADS):
            part += number_at(call.w, call.w_layout, i, call.w_size, call.w_code)
        part = total(part, board)
        if thread_number() == 0:
            store_float64(call.weight_sums + 8 * block_number(), part)

    return scan


@functools.cache
def refuse_kernel(domain: Domain, predictions: str, targets: str) -> Kernel:
    """Return the kernel that looks for the first element outside the domain."""
    label = label_of(domain.valid, predictions, targets)
    make = functools.partial(_make_refuse, domain, predictions, targets)
    return Kernel(make, PointwiseCall, ADD_THREADS, label, fingerprint(domain.valid))


def _make_refuse(domain: Domain, predictions: str, targets: str) -> Any:
    valid = inline(domain.valid)
    p_size, load_p, *_ = STORAGE[predictions]
    t_size, load_t, *_ = STORAGE[targets]
    real: Any = real_dtype(predictions).type
    tolerance = 4.0 * EPS[predictions]

    @inline
    def is_bad(call, i):
        p = real(load_p(call.p + offset_of(call.p_layout, i, p_size)))
        t = real(load_t(call.t + offset_of(call.t_layout, i, t_size)))
        return not valid(p, t, real(tolerance))

    return make_refuse(inline(lambda call: call.n), is_bad)


# --- the loss and its derivatives -------------------------------------------------------


@functools.cache
def compute_kernel(
    spec: PointwiseSpec, variant: PointwiseVariant, *, wide: bool, plain: bool
) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`.

    `plain`: all arrays lie in the same order without gaps, and there are no arrays of
    weights or options; `wide`: such arrays are read 16 bytes at a time.
    """
    formulas = [spec.value, spec.grad, spec.hess, spec.domain.valid if spec.domain else None]
    label = label_of(spec.name, *formulas, variant, wide, plain)
    make = functools.partial(_make_compute, spec, variant, wide, plain)
    record = record_of(PointwiseCall, variant.array_options, bits=True)
    lean = plain and variant.predictions != "float64"
    return Kernel(make, record, THREADS, label, fingerprint(*formulas), lean=lean)


def _make_compute(spec: PointwiseSpec, variant: PointwiseVariant, wide: bool, plain: bool) -> Any:
    value, grad = inline(spec.value), inline(spec.grad)
    hess = inline(spec.hess or spec.grad)
    valid = inline(spec.domain.valid if spec.domain else everything)
    p_size, load_p, store_p, load_wide_p, store_wide_p = STORAGE[variant.predictions]
    t_size, load_t, _, load_wide_t, _ = STORAGE[variant.targets]
    real: Any = real_dtype(variant.predictions).type
    real_size, _, store_real, _, store_wide_real = STORAGE[real.__name__]
    constants = variant.constants or (None,) * len(spec.options)
    options_at = options_of(PointwiseCall, variant.array_options, real, constants)
    tolerance = 4.0 * EPS[variant.predictions]
    CHECKED, WEIGHTED = spec.domain is not None, variant.weighted
    LOSS, GRAD, HESS, PER_ELEMENT = variant.outputs
    SUMMED = LOSS and not PER_ELEMENT
    LANES, REALS = WIDE // p_size, WIDE // real_size
    # Targets of another dtype than the predictions are read one by one.
    WIDE_TARGETS = wide and variant.targets == variant.predictions
    block_sum, add = block_total(THREADS), adder(THREADS)
    weight_of, upstream_of = weights_of(plain)

    @inline
    def offset(layout, i, itemsize):
        return i * itemsize if plain else offset_of(layout, i, itemsize)

    @inline
    def element(call, p, t, i, outer):
        """(loss, gradient, hessian) of one element."""
        options = options_at(call, i)
        weight, factor = real(1), real(outer)
        if WEIGHTED:
            w = weight_of(call, i)
            weight, factor = real(w), real(outer * w * upstream_of(call, i))
        v, d, dd = real(0), real(0), real(0)
        if LOSS:
            v = real(value(p, t, *options)) * weight
        if GRAD:
            d = real(grad(p, t, *options)) * factor
        if HESS:
            dd = real(hess(p, t, *options)) * factor
        if CHECKED and not valid(p, t, real(tolerance)):
            v, d, dd = real(math.nan), real(math.nan), real(math.nan)
        if WEIGHTED and weight == real(0):
            v, d, dd = real(0), real(0), real(0)
        return v, d, dd

    @inline
    def single(call, i, outer):
        """Compute and write element `i`; return its loss."""
        p = real(load_p(call.p + offset(call.p_layout, i, p_size)))
        t = real(load_t(call.t + offset(call.t_layout, i, t_size)))
        v, d, dd = element(call, p, t, i, outer)
        if PER_ELEMENT:
            store_real(call.loss + i * real_size, v)
        if GRAD:
            store_p(call.g + offset(call.g_layout, i, p_size), d)
        if HESS:
            store_p(call.h + offset(call.h_layout, i, p_size), dd)
        return np.float64(v)

    def pointwise(call):
        """Compute the elements of a block; leave the sum of their losses in `sums`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        outer = 0.0
        if GRAD or HESS:
            divisor = call.divisor
            if divisor != divisor:
                divisor = add(call.weight_sums, call.weight_count, board)
            outer = call.upstream / divisor if divisor != 0.0 else 0.0
        total = 0.0
        stride = block_count() * THREADS
        head, chunks = np.int64(0), np.int64(0)
        if wide:
            head = min(call.n, ((-call.p) & (WIDE - 1)) // p_size)
            chunks = (call.n - head) // LANES
            predictions = cuda.local.array(LANES, real)
            targets = cuda.local.array(LANES, real)
            second = cuda.local.array(LANES, real)
            losses = cuda.local.array(REALS, real)
            c = block_number() * THREADS + thread_number()
            while c < chunks:
                first = head + c * LANES
                # The mean of a chunk, in its own precision: their sum might leave the range.
                mean = real(0)
                load_wide_p(call.p + first * p_size, predictions)
                if WIDE_TARGETS:
                    load_wide_t(call.t + first * t_size, targets)
                else:
                    for k in range(LANES):
                        targets[k] = real(load_t(call.t + (first + k) * t_size))
                for k in range(LANES):
                    v, d, dd = element(call, predictions[k], targets[k], first + k, outer)
                    mean += v * real(1 / LANES)
                    if PER_ELEMENT:
                        losses[k % REALS] = v
                        if k % REALS == REALS - 1:
                            store_wide_real(call.loss + (first + k + 1) * real_size - WIDE, losses)
                    predictions[k] = d
                    second[k] = dd
                if SUMMED:
                    total += np.float64(mean) * LANES
                if GRAD:
                    store_wide_p(call.g + first * p_size, predictions)
                if HESS:
                    store_wide_p(call.h + first * p_size, second)
                c += stride
        k = block_number() * THREADS + thread_number()
        while k < call.n - chunks * LANES:
            total += single(call, k if k < head else k + chunks * LANES, outer)
            k += stride
        if SUMMED:
            total = block_sum(total, board)
            if thread_number() == 0:
                store_float64(call.sums + 8 * block_number(), total)

    return pointwise
