"""The kernels of all element-wise losses: one flat walk over the elements.

Elements are walked in chunks of a fixed size, whatever the number of threads, and each chunk
in tiles that stay in the first-level cache, unless it can be done in one go. The formulas are
inlined into the loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.driver import ALL_GOOD
from fastloss.cpu.float_bits import nan_unless
from fastloss.cpu.ir import (
    IN_ARRAY,
    IN_RECORD,
    allocate,
    bits_of,
    least,
    load_tuple,
    make_read_record,
    mix_tuple,
    release,
    running_sum,
)
from fastloss.cpu.loop import for_each, with_loop
from fastloss.cpu.memory import STORAGE, load_float64, load_int64, peek_int64, poke_int64
from fastloss.cpu.signs import keep_signs, kept_bytes, kept_sign
from fastloss.cpu.transfers import BITS, apart, deliver, fetch, place
from fastloss.dtypes import EPS, real_dtype
from fastloss.elementary import inline, jitable
from fastloss.fingerprint import fingerprint
from fastloss.labels import label_of
from fastloss.spec import Domain, Formula, PointwiseSpec, everything
from fastloss.variant import PointwiseVariant

TILE = 1024
CHUNK = 16 * TILE

#: The buffer of one operand's tile, in bytes.
LINE = 8 * TILE


class PointwiseCall(NamedTuple):
    """The arguments of an element-wise kernel.

    Arrays are addresses. p are the predictions, t the targets, w the weights, u the upstream
    gradient, g the gradient, h the hessian; `_layout` is the record of each. `options` are
    the options' values, `option_lines` the (address, layout) pairs of those that are arrays.
    """

    loss: int
    g: int
    h: int
    p: int
    t: int
    w: int
    u: int
    option_lines: int
    n: int
    options: int
    p_layout: int
    t_layout: int
    w_layout: int
    u_layout: int
    g_layout: int
    h_layout: int


#: How many of the fields, the first ones, are addresses of arrays.
ARRAYS = 8

#: The entry of the record that says where the scratch memory is.
SCRATCH = ARRAYS + 1

#: read_call(record): the arguments that lie at `record`.
read_call = make_read_record("read_call", __name__, PointwiseCall, ARRAYS)


# --- before anything is written ---------------------------------------------------------


def prepare_kernel(domain: Domain | None, variant: PointwiseVariant, summed: bool) -> Kernel | None:
    """Return the kernel that looks for values outside the domain and, if `summed`, sums weights.

    It knows nothing of the loss: one serves all of them, whatever they return.
    """
    if domain is not None:
        p, t = variant.predictions, variant.targets
        return _prepare_kernel(domain.valid, p, t, summed, variant.signs)
    real = real_dtype(variant.predictions).name
    return _prepare_kernel(None, real, real, True, False) if summed else None


@functools.cache
def _prepare_kernel(
    valid: Formula | None, predictions: str, targets: str, summed: bool, signs: bool
) -> Kernel:
    parts = valid, predictions, targets, summed, signs
    make = functools.partial(_make_prepare, *parts)
    return Kernel(make, label_of(*parts), fingerprint(valid))


def _make_search(domain: Formula | None, predictions: str, targets: str) -> tuple[Any, Any]:
    """Make what says of one element if it is valid, and what looks through rows for the others."""
    within = inline(domain or everything)
    load_p, load_t = STORAGE[predictions].load, STORAGE[targets].load
    real = real_dtype(predictions).type
    tolerance = 4.0 * EPS[predictions]

    @inline
    def valid(prediction, target):
        return within(prediction, target, real(tolerance))

    @jitable
    def first_invalid(p, t, n):
        """Index of the first element outside the domain, or ALL_GOOD."""
        bad = False
        for i in range(n):
            bad |= not valid(real(load_p(p, i)), real(load_t(t, i)))
        if bad:
            for i in range(n):
                if not valid(real(load_p(p, i)), real(load_t(t, i))):
                    return i
        return ALL_GOOD

    return valid, first_invalid


def _make_prepare(
    valid: Formula | None, predictions: str, targets: str, summed: bool, signs: bool
) -> Callable[..., Any]:
    _, first_invalid = _make_search(valid, predictions, targets)
    real = real_dtype(predictions).type
    real_size, load_real, *_ = STORAGE[real.__name__]
    p_bits, t_bits = BITS[STORAGE[predictions].itemsize], BITS[STORAGE[targets].itemsize]
    real_bits = BITS[real_size]
    CHECKED, SUMMED, SIGNS = valid is not None, summed, signs

    def prepare(record, chunk, slot):
        call = read_call(record)
        b = allocate(2 * LINE)
        refused = ALL_GOOD
        total = 0.0
        for start in range(chunk * CHUNK, least(call.n, chunk * CHUNK + CHUNK), TILE):
            n = least(TILE, call.n - start)
            if CHECKED and refused == ALL_GOOD:
                p = fetch(call.p, call.p_layout, start, n, b, p_bits)
                t = fetch(call.t, call.t_layout, start, n, b + LINE, t_bits)
                bad = first_invalid(p, t, n)
                refused = start + bad if bad != ALL_GOOD else ALL_GOOD
                if SIGNS:
                    kept = peek_int64(record, SCRATCH) + kept_bytes(start)
                    keep_signs(t, n, kept, b + LINE, t_bits)
            if SUMMED:
                w = fetch(call.w, call.w_layout, start, n, b, real_bits)
                for i in range(n):
                    total = running_sum(total, np.float64(load_real(w, i)))
        release(b)
        poke_int64(slot, 0, refused)
        return total

    return prepare


# --- the loss and its derivatives -------------------------------------------------------


@functools.cache
def compute_kernel(spec: PointwiseSpec, variant: PointwiseVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`."""
    valid = spec.domain.valid if spec.domain and variant.checked else None
    formulas = (spec.value, spec.grad, spec.hess, valid)
    digest = fingerprint(*formulas)
    label = label_of(spec.name, *formulas, variant)
    return Kernel(functools.partial(_make_compute, spec, variant, digest == ""), label, digest)


def _place(is_array: bool, constant: float | None) -> int:
    """Return where a kernel finds the value of an option."""
    if constant is not None:
        return bits_of(constant)
    return IN_ARRAY if is_array else IN_RECORD


def _make_compute(spec: PointwiseSpec, variant: PointwiseVariant, own: bool) -> Callable[..., Any]:
    value, grad = inline(spec.value), inline(spec.grad)
    hess = inline(spec.hess or spec.grad)
    p_size, load_p, store_p, *_ = STORAGE[variant.predictions]
    real = real_dtype(variant.predictions).type
    t_size, load_t, *_ = STORAGE[variant.targets]
    real_size, load_real, store_real, peek_real, _ = STORAGE[real.__name__]
    n_options = len(spec.options)
    where = tuple(map(_place, variant.array_options, variant.constants))
    addresses_of = (IN_RECORD,) * n_options
    OPTION_ARRAYS = any(variant.array_options)
    p_bits, t_bits, real_bits = BITS[p_size], BITS[t_size], BITS[real_size]
    WEIGHTED, CHECKED, SIGNS = variant.weighted, variant.checked, variant.signs
    domain = spec.domain.valid if spec.domain else None
    valid, first_invalid = _make_search(domain, variant.predictions, variant.targets)
    LOSS, GRAD, HESS, PER_ELEMENT = variant.outputs
    REDUCED = LOSS and not PER_ELEMENT
    # Losses are; and whatever there is, if it is checked: what an invalid value adds to the sum is
    # nan, and where the sum is nan the values are searched. Not in somebody's formulas: LLVM would
    # report a loop that it cannot make vectors of as told.
    SUMMED = (REDUCED or CHECKED) and own
    IN_LOOP = CHECKED and (SUMMED or REDUCED)
    BEFORE = CHECKED and not IN_LOOP
    # Whether nothing but how the arrays lie asks for tiles.
    WHOLE = not (BEFORE or OPTION_ARRAYS or (REDUCED and not SUMMED))

    @inline
    def element(i, p, t, w, u, values, lines, scale, loss, g, h):
        """Compute an element of rows; where it is SUMMED, return the first thing found."""
        prediction = real(load_p(p, i))
        target = kept_sign(t, i, real(0)) if SIGNS else real(load_t(t, i))
        options = mix_tuple(values, lines, i, where)
        weight, factor, found = real(1), scale, real(0)
        if WEIGHTED:
            weight = load_real(w, i)
            factor = scale * weight * load_real(u, i)
        if LOSS:
            found = real(value(prediction, target, *options))
            if WEIGHTED:
                found = found * weight if weight != real(0) else real(0)
        if GRAD:
            d = factor * real(grad(prediction, target, *options))
            if WEIGHTED:
                d = d if weight != real(0) else real(0)
            store_p(g, i, d)
            found = found if LOSS else d
        if HESS:
            d = factor * real(hess(prediction, target, *options))
            if WEIGHTED:
                d = d if weight != real(0) else real(0)
            store_p(h, i, d)
            found = found if LOSS or GRAD else d
        if IN_LOOP:
            found = nan_unless(valid(prediction, target), found)
        if PER_ELEMENT or (REDUCED and not SUMMED):
            store_real(loss, i, found)
        if SUMMED:
            return found

    @inline
    def loss_at(i, loss):
        return peek_real(loss, i)

    @with_loop
    def tile(n, p, t, w, u, values, lines, scale, loss, g, h):
        """Compute `n` elements that lie in rows; return the sum of their losses, if any."""
        rows = p, t, w, u, values, lines, scale, loss, g, h
        if SUMMED:
            return for_each(n, element, rows)
        for_each(n, element, rows)
        return for_each(n, loss_at, (loss,)) if REDUCED else 0.0

    @inline
    def in_rows(call):
        """Whether all arrays lie in memory as their elements are numbered."""
        layouts = call.p_layout | call.t_layout | call.g_layout | call.h_layout
        return layouts | call.w_layout | call.u_layout == 0

    def compute(record, chunk, slot):
        call = read_call(record)
        scale = real(load_float64(slot, 0))
        b = allocate((7 + n_options) * LINE + 8 * n_options)
        losses = b + (6 + n_options) * LINE
        addresses = losses + LINE
        values = load_tuple(call.options, where, real(0))
        total, refused = 0.0, ALL_GOOD
        step = TILE
        if WHOLE and in_rows(call) and call.g != call.p and call.h != call.p:
            step = CHUNK
        for start in range(chunk * CHUNK, least(call.n, chunk * CHUNK + CHUNK), step):
            n = least(step, call.n - start)
            if OPTION_ARRAYS:
                for k in range(n_options):
                    address = load_int64(call.option_lines, 2 * k)
                    if address != 0:
                        layout = load_int64(call.option_lines, 2 * k + 1)
                        line = b + (6 + k) * LINE
                        poke_int64(addresses, k, fetch(address, layout, start, n, line, real_bits))
            lines = load_tuple(addresses, addresses_of, 0)
            p = fetch(call.p, call.p_layout, start, n, b, p_bits)
            if SIGNS:
                t = peek_int64(record, SCRATCH) + kept_bytes(start)
            else:
                t = fetch(call.t, call.t_layout, start, n, b + LINE, t_bits)
            # Of a single tile, the results may be written where the caller sees them.
            if BEFORE or (IN_LOOP and call.n <= TILE):
                bad = first_invalid(p, t, n)
                if bad != ALL_GOOD:
                    refused = start + bad
                    break
            w, u, g, h = call.w, call.u, call.g, call.h
            if WEIGHTED:
                w = fetch(w, call.w_layout, start, n, b + 2 * LINE, real_bits)
                u = fetch(u, call.u_layout, start, n, b + 3 * LINE, real_bits)
            if GRAD:
                g = place(g, call.g_layout, start, n, b + 4 * LINE, p_bits)
            if HESS:
                h = place(h, call.h_layout, start, n, b + 5 * LINE, p_bits)
            if (GRAD and g == p) or (HESS and h == p):
                p = apart(p, n, b, p_bits)
            loss = call.loss + start * real_size if PER_ELEMENT else losses
            part = tile(n, p, t, w, u, values, lines, scale, loss, g, h)
            if IN_LOOP and part != part:
                bad = first_invalid(p, t, n)
                if bad != ALL_GOOD:
                    refused = start + bad
                    break
            total += part
            if GRAD:
                deliver(g, call.g, call.g_layout, start, n, b + 4 * LINE, p_bits)
            if HESS:
                deliver(h, call.h, call.h_layout, start, n, b + 5 * LINE, p_bits)
        if CHECKED:
            poke_int64(slot, 1 + chunk, refused)
        release(b)
        return total

    return compute
