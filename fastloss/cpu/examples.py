"""What the kernels over classes share: their arguments, and the frame around their chunks.

A first pass over the examples checks every class index before anything is written, and sums
the weights that a mean divides by. Then the chunks are computed, and their losses summed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastloss.cpu.memory import STORAGE, inline, load_float64, load_index, offset_of
from fastloss.cpu.variant import ClassVariant
from fastloss.dtypes import real_dtype

#: In the place of the size of a class index: the targets are probabilities.
NOT_INDICES = 0

#: Examples that one chunk of the first pass looks at.
SCAN_CHUNK = 16384

#: In the place of an example's number: every index is good.
ALL_GOOD = -1


@inline
def read_index(address, size, signed, layout, i):
    """The class index of example `i`."""
    return load_index(address + offset_of(layout, i, size), size, signed)


@inline
def read_weight(address, layout, i):
    """The float64 of example `i`; 1 where there are no weights."""
    return load_float64(address + offset_of(layout, i, 8), 0) if address != 0 else 1.0


@register_jitable
def scan_chunk(
    c, n, classes, t, t_size, t_signed, t_layout, ignore_index, class_weight, w, w_layout
):
    """(number of the first example whose index is no class or ALL_GOOD, sum of the weights).

    `t_size` NOT_INDICES stands for probability targets, where there is nothing to check.
    """
    first_bad = ALL_GOOD
    total = 0.0
    for i in range(c * SCAN_CHUNK, min(n, c * SCAN_CHUNK + SCAN_CHUNK)):
        weight = read_weight(w, w_layout, i)
        if t_size != NOT_INDICES:
            y = read_index(t, t_size, t_signed, t_layout, i)
            if y == ignore_index:
                weight = 0.0
            elif y < 0 or y >= classes:
                first_bad = i if first_bad == ALL_GOOD else first_bad
            elif class_weight != 0:
                weight *= load_float64(class_weight, y)
        total += weight
    return first_bad, total


class ClassCall(NamedTuple):
    """The arguments of a kernel over classes.

    Arrays are addresses. x are the predictions, t the targets, w the example weights, u the
    upstream gradient, g the gradient, h the hessian; `_layout` is the record of the examples,
    `_step` the bytes from class to class.
    """

    n: int
    classes: int
    lanes: int
    per_chunk: int
    x: int
    x_step: int
    x_layout: int
    t: int
    t_step: int
    t_layout: int
    t_size: int
    t_signed: bool
    ignore_index: int
    class_weight: int  # float64
    class_weight_real: int
    w: int
    w_layout: int
    u: int
    u_layout: int
    outer: float
    keep: float
    spread: float
    z_loss: float
    logit_scale: float
    logit_softcap: float
    loss: int
    g: int
    g_step: int
    g_layout: int
    h: int
    h_step: int
    h_layout: int


@inline
def upstream_of(call, i):
    """What the derivatives of example `i` are multiplied by, its weight aside."""
    return call.outer * read_weight(call.u, call.u_layout, i)


@inline
def target_of(call, i):
    """(class index or -1, weight of the index, weight of the example); ignored: weight 0."""
    weight = read_weight(call.w, call.w_layout, i)
    if call.t_size == NOT_INDICES:
        return np.int64(-1), 0.0, weight
    y = read_index(call.t, call.t_size, call.t_signed, call.t_layout, i)
    if y == call.ignore_index:
        return np.int64(-1), 0.0, 0.0
    return y, call.keep * read_weight(call.class_weight, 0, y), weight


def class_kernel(chunk: Callable[..., Any], variant: ClassVariant) -> Callable[..., Any]:
    """Build a kernel around `chunk(call, first, last)`, which computes those examples.

    It writes their derivatives, and their losses where one per example is wanted, and
    returns the sum of their losses.
    """
    real = real_dtype(variant.predictions).type
    store_real = STORAGE[real.__name__].store
    LOSS, _, _, PER_EXAMPLE = variant.outputs

    def kernel(
        n, classes, lanes, per_chunk, x, x_step, x_layout, t, t_step, t_layout, t_size, t_signed,
        ignore_index, class_weight, class_weight_real, w, w_layout, u, u_layout, upstream, mean,
        keep, spread, z_loss, logit_scale, logit_softcap,
        loss, g, g_step, g_layout, h, h_step, h_layout,
    ):  # fmt: skip
        """Return ALL_GOOD, or the number of the first example whose index is no class."""
        scans = (n + SCAN_CHUNK - 1) // SCAN_CHUNK
        bad = np.empty(scans, np.int64)
        weights = np.empty(scans)
        for c in prange(scans):
            bad[c], weights[c] = scan_chunk(
                c,
                n,
                classes,
                t,
                t_size,
                t_signed,
                t_layout,
                ignore_index,
                class_weight,
                w,
                w_layout,
            )
        for c in range(scans):
            if bad[c] != ALL_GOOD:
                return bad[c]
        denominator = 1.0
        if mean:
            denominator = 0.0
            for c in range(scans):
                denominator += weights[c]
        outer = upstream / denominator if denominator != 0.0 else 0.0

        chunks = (n + per_chunk - 1) // per_chunk
        sums = np.empty(chunks)
        for c in prange(chunks):
            call = ClassCall(
                n, classes, lanes, per_chunk, x, x_step, x_layout, t, t_step, t_layout, t_size,
                t_signed, ignore_index, class_weight, class_weight_real, w, w_layout, u, u_layout,
                outer, keep, spread, z_loss, logit_scale, logit_softcap,
                loss, g, g_step, g_layout, h, h_step, h_layout,
            )  # fmt: skip
            sums[c] = chunk(call, c * per_chunk, min(n, c * per_chunk + per_chunk))
        if LOSS and not PER_EXAMPLE:
            total = 0.0
            for c in range(chunks):
                total += sums[c]
            store_real(loss, 0, real(total / denominator))
        return ALL_GOOD

    return kernel
