"""The kernel of all element-wise losses: one flat walk over the elements.

Elements are walked in chunks of a fixed size, whatever the number of threads, and each chunk
in tiles that stay in the first-level cache. The formulas are inlined into the tile's loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel, kernel, vector_math
from fastloss.cpu.fingerprint import fingerprint
from fastloss.cpu.memory import STORAGE, deliver, fetch, inline, keep_alive, load_int64, place
from fastloss.cpu.variant import PointwiseVariant
from fastloss.cpu.vector import mix_tuple, read_tuple, running_sum
from fastloss.dtypes import EPS, real_dtype
from fastloss.spec import PointwiseSpec

TILE = 1024
CHUNK = 16 * TILE

#: In the place of an element's number: all are in the loss's domain.
ALL_GOOD = -1

#: The buffer of one operand's tile, in bytes.
LINE = 8 * TILE


@functools.cache
def pointwise_kernel(spec: PointwiseSpec, variant: PointwiseVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes and outputs of `variant`."""
    vector_math()
    valid = spec.domain.valid if spec.domain else None
    digest = fingerprint(spec.value, spec.grad, spec.hess, valid)
    return kernel(functools.partial(_make, spec, variant), digest)


def everything(prediction, target, tolerance):
    """The domain of a loss that accepts all values."""
    return True


def _make(spec: PointwiseSpec, variant: PointwiseVariant) -> Callable[..., Any]:
    value, grad = inline(spec.value), inline(spec.grad)
    hess = inline(spec.hess or spec.grad)
    valid = inline(spec.domain.valid if spec.domain else everything)
    p_size, load_p, store_p, *_ = STORAGE[variant.predictions]
    t_size, load_t, *_ = STORAGE[variant.targets]
    real = real_dtype(variant.predictions).type
    real_size, load_real, store_real, *_ = STORAGE[real.__name__]
    n_options = len(spec.options)
    where = tuple(0 if is_array else None for is_array in variant.array_options)
    tolerance = 4.0 * EPS[variant.predictions]
    CHECKED, WEIGHTED = spec.domain is not None, variant.weighted
    LOSS, GRAD, HESS, PER_ELEMENT = variant.outputs

    @register_jitable
    def first_invalid(start, n, p, t):
        """Number of the first element outside the domain, or ALL_GOOD."""
        bad = 0
        for i in range(n):
            if not valid(real(load_p(p, i)), real(load_t(t, i)), real(tolerance)):
                bad += 1
        if bad > 0:
            for i in range(n):
                if not valid(real(load_p(p, i)), real(load_t(t, i)), real(tolerance)):
                    return start + i
        return ALL_GOOD

    @register_jitable
    def tile(n, p, t, w, u, values, lines, scale, loss, g, h):
        """Compute `n` elements that lie in rows; return the sum of their losses."""
        total = 0.0
        for i in range(n):
            prediction = real(load_p(p, i))
            target = real(load_t(t, i))
            options = mix_tuple(values, lines, i, where)
            weight, factor = real(1), scale
            if WEIGHTED:
                weight = load_real(w, i)
                factor = scale * weight * load_real(u, i)
            if LOSS:
                v = real(value(prediction, target, *options))
                if WEIGHTED:
                    v = v * weight if weight != real(0) else real(0)
                if PER_ELEMENT:
                    store_real(loss, i, v)
                else:
                    total = running_sum(total, np.float64(v))
            if GRAD:
                d = factor * real(grad(prediction, target, *options))
                if WEIGHTED:
                    d = d if weight != real(0) else real(0)
                store_p(g, i, d)
            if HESS:
                d = factor * real(hess(prediction, target, *options))
                if WEIGHTED:
                    d = d if weight != real(0) else real(0)
                store_p(h, i, d)
        return total

    def pointwise(
        n, p, p_layout, t, t_layout, w, w_layout, u, u_layout, upstream, mean,
        options, option_lines, loss, g, g_layout, h, h_layout,
    ):  # fmt: skip
        """Return ALL_GOOD, or the number of the first element outside the domain."""
        chunks = (n + CHUNK - 1) // CHUNK
        if CHECKED:
            first = np.full(chunks, ALL_GOOD)
            for c in prange(chunks):
                buffer = np.empty(2 * LINE, np.uint8)
                b = buffer.ctypes.data
                for start in range(c * CHUNK, min(n, c * CHUNK + CHUNK), TILE):
                    if first[c] == ALL_GOOD:
                        m = min(TILE, n - start)
                        p_line = fetch(p, p_layout, start, m, p_size, b)
                        t_line = fetch(t, t_layout, start, m, t_size, b + LINE)
                        first[c] = first_invalid(start, m, p_line, t_line)
                keep_alive(buffer)
            for c in range(chunks):
                if first[c] != ALL_GOOD:
                    return first[c]

        denominator = np.float64(n) if mean else 1.0
        if WEIGHTED:
            weights = np.zeros(chunks)
            for c in prange(chunks):
                buffer = np.empty(LINE, np.uint8)
                for start in range(c * CHUNK, min(n, c * CHUNK + CHUNK), TILE):
                    m = min(TILE, n - start)
                    line = fetch(w, w_layout, start, m, real_size, buffer.ctypes.data)
                    part = 0.0
                    for i in range(m):
                        part = running_sum(part, np.float64(load_real(line, i)))
                    weights[c] += part
                keep_alive(buffer)
            denominator = weights.sum() if mean else 1.0
        scale = real(upstream / denominator) if denominator != 0.0 else real(0)

        sums = np.zeros(chunks)
        for c in prange(chunks):
            buffer = np.empty((6 + n_options) * LINE, np.uint8)
            b = buffer.ctypes.data
            addresses = np.zeros(n_options + 1, np.int64)
            for start in range(c * CHUNK, min(n, c * CHUNK + CHUNK), TILE):
                m = min(TILE, n - start)
                for k in range(n_options):
                    address = load_int64(option_lines, 2 * k)
                    if address != 0:
                        layout = load_int64(option_lines, 2 * k + 1)
                        buffer_k = b + (6 + k) * LINE
                        addresses[k] = fetch(address, layout, start, m, real_size, buffer_k)
                values = read_tuple(options, where, real(0))
                lines = read_tuple(addresses.ctypes.data, where, 0)
                p_line = fetch(p, p_layout, start, m, p_size, b)
                t_line = fetch(t, t_layout, start, m, t_size, b + LINE)
                w_line = fetch(w, w_layout, start, m, real_size, b + 2 * LINE) if WEIGHTED else w
                u_line = fetch(u, u_layout, start, m, real_size, b + 3 * LINE) if WEIGHTED else u
                g_line = place(g, g_layout, start, m, p_size, b + 4 * LINE) if GRAD else g
                h_line = place(h, h_layout, start, m, p_size, b + 5 * LINE) if HESS else h
                loss_line = loss + start * real_size if PER_ELEMENT else loss
                sums[c] += tile(
                    m, p_line, t_line, w_line, u_line, values, lines, scale,
                    loss_line, g_line, h_line,
                )  # fmt: skip
                if GRAD:
                    deliver(g_line, g, g_layout, start, m, p_size, b + 4 * LINE)
                if HESS:
                    deliver(h_line, h, h_layout, start, m, p_size, b + 5 * LINE)
            keep_alive(buffer)
            keep_alive(addresses)
        if LOSS and not PER_ELEMENT:
            total = 0.0
            for c in range(chunks):
                total += sums[c]
            store_real(loss, 0, real(total / denominator))
        return ALL_GOOD

    return pointwise
