"""Cross-entropy where the classes of an example lie in a row: vectors run along the classes.

A row is read in blocks that stay in the first-level cache, keeping a running maximum and a
running sum. While the exponentials of one block are computed, the maximum of the next is
found, so that memory is never idle. The exponentials are kept, in the gradient itself where
they fit, each block measured from the maximum known by then; one factor per block makes the
derivatives of them while the row is still in the second-level cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import entry_of, read_chunk, target_of
from fastloss.cpu.ir import allocate, least, release, running_max, running_sum
from fastloss.cpu.memory import STORAGE, offset_of
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_nonpositive, inline
from fastloss.labels import label_of
from fastloss.losses.softmax import (
    SOFTCAPPED,
    class_dot,
    class_target,
    example_loss,
    example_slope,
)
from fastloss.variant import ClassVariant

#: Logits of one block: 8 KB of float32, a quarter of a first-level cache.
BLOCK = 2048

#: Logits that make one chunk worth a thread's while.
CHUNK = 32768

#: Whether neighbours in a kernel's loops are examples; else they are classes.
ACROSS_EXAMPLES = False


def examples_per_chunk(classes: int) -> int:
    """Return how many rows one chunk holds; it must not depend on the number of threads."""
    return max(1, CHUNK // classes)


@functools.cache
def compute_kernel(variant: ClassVariant) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""
    return Kernel(functools.partial(_make, variant), label_of(variant))


def _make(variant: ClassVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, peek_x, _ = STORAGE[variant.predictions]
    t_size, load_t, *_ = STORAGE[variant.targets]
    real = real_dtype(variant.predictions).type
    size, load_real, store_real, peek, poke = STORAGE[real.__name__]
    link, link_slope, link_curvature = variant.link
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    KEEP = GRAD or HESS
    # The softcap's slope depends on the logit, which must then outlive its exponential.
    RAW = variant.link is SOFTCAPPED
    # The exponentials of a row lie in its gradient, until they become it.
    IN_GRADIENT = GRAD and not HESS and not RAW and x_size == size
    ONE_FACTOR = IN_GRADIENT and not MASS

    @inline
    def mass_on(t, class_weight, keep, spread, c):
        """Probability mass on class c of the row whose soft targets are at `t`."""
        y = real(load_t(t, c)) if SOFT else real(0)
        weight = load_real(class_weight, c) if CLASS_WEIGHT else real(1)
        return class_target(y, weight, keep, spread)

    @register_jitable
    def largest_of(x, first, n, largest):
        """Maximum of the logits first .. n, and of `largest`."""
        for c in range(first, n):
            largest = running_max(largest, real(load_x(x, c)))
        return largest

    @register_jitable
    def exponentials(x, e, first, n, m, scale, cap):
        """Keep the exponentials of the logits first .. n; return their sum."""
        s = real(0)
        for c in range(first, n):
            value = exp_nonpositive(link(load_x(x, c), scale, cap) - m)
            s = running_sum(s, value)
            if KEEP:
                store_real(e, c, value)
        return s

    @register_jitable
    def exponentials_and_largest(x, e, n, m, scale, cap, ahead):
        """The sum of the exponentials of n logits, and the maximum of those at `ahead`."""
        s, largest = real(0), real(-np.inf)
        for c in range(n):
            value = exp_nonpositive(link(load_x(x, c), scale, cap) - m)
            s = running_sum(s, value)
            largest = running_max(largest, real(load_x(ahead, c)))
            if KEEP:
                store_real(e, c, value)
        return s, largest

    @register_jitable
    def weigh(x, t, class_weight, keep, spread, n, m, scale, cap):
        """(probability mass of a block, its product with the logits)."""
        # In float64: in the gradient, slope p - t of a sure example cancels.
        mass, dot = 0.0, 0.0
        for c in range(n):
            p = mass_on(t, class_weight, keep, spread, c)
            shifted = link(load_x(x, c), scale, cap) - m
            mass = running_sum(mass, np.float64(p))
            dot = running_sum(dot, class_dot(np.float64(p), np.float64(shifted)))
        return mass, dot

    @inline
    def derivatives(p, mass, raw, slope, bend, factor, scale, cap):
        """(gradient, hessian) of a class of probability p that has the target `mass`."""
        by_z = slope * p - mass
        chain = link_slope(raw, scale, cap) if RAW else scale
        if not HESS:
            return by_z * (factor * chain), by_z
        bent = (slope * p * (type(p)(1) - p) + bend * p * p) * chain * chain
        if RAW:
            bent += by_z * link_curvature(raw, scale, cap)
        return by_z * (factor * chain), bent * factor

    @register_jitable
    def scale_in_place(g, n, coefficient):
        """Turn the exponentials of a block into its gradient, where that is a multiple."""
        for c in range(n):
            poke(g, c, peek(g, c) * coefficient)

    @register_jitable
    def write_derivatives(
        x, t, class_weight, keep, spread, e, n, inverse, slope, bend, factor, scale, cap, g, h
    ):
        """Write the gradient, and the hessian, of a block."""
        for c in range(n):
            mass = mass_on(t, class_weight, keep, spread, c) if MASS else real(0)
            raw = load_x(x, c) if RAW else real(0)
            p = peek(e, c) * inverse
            by_x, by_xx = derivatives(p, mass, raw, slope, bend, factor, scale, cap)
            if GRAD:
                store_x(g, c, by_x)
            if HESS:
                store_x(h, c, by_xx)

    @register_jitable
    def write_zeros(classes, g, h):
        for c in range(classes):
            if GRAD:
                store_x(g, c, real(0))
            if HESS:
                store_x(h, c, real(0))

    def softmax_rows(record, chunk, slot):
        """Compute a chunk of rows; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        keep, spread = real(call.keep), real(call.spread)
        bend = 2.0 * call.z_loss
        classes = call.classes
        blocks = (classes + BLOCK - 1) // BLOCK
        block = least(classes, BLOCK)
        row = 0 if IN_GRADIENT or not KEEP else classes
        tops = allocate((blocks + row) * size)  # (blocks,), what each block is measured from
        e = tops + blocks * size  # (C,), exponentials
        coming = real(-np.inf)  # maximum of the block that comes next, if it is ...
        prepared = np.int64(-1)  # ... the first of this row
        total = 0.0
        for i in range(first, last):
            y, onehot, weight = target_of(call, i, SOFT)
            g = call.g + offset_of(call.g_layout, i, classes * x_size) if GRAD else call.g
            h = call.h + offset_of(call.h_layout, i, classes * x_size) if HESS else call.h
            if weight == 0.0:
                write_zeros(classes, g, h)
                if PER_EXAMPLE:
                    store_real(call.loss, i, real(0))
                continue
            x = call.x + offset_of(call.x_layout, i, classes * x_size)
            t = call.t + offset_of(call.t_layout, i, classes * t_size) if SOFT else call.t
            raw_at_y = peek_x(x, y if y > 0 else 0)
            if IN_GRADIENT:
                e = g
            if prepared != i:
                coming = largest_of(x, 0, block, real(-np.inf))
            raw_top = real(-np.inf)
            m = real(0)
            s, mass, dot = 0.0, 0.0, 0.0
            for b in range(blocks):
                start = b * BLOCK
                n = least(BLOCK, classes - start)
                raw_top = running_max(raw_top, coming)
                # A row that so far holds only masks has no maximum to measure from.
                new = real(0) if raw_top == real(-np.inf) else link(raw_top, scale, cap)
                if b > 0 and new != m:
                    if s != 0.0:
                        s *= math.exp(np.float64(m) - np.float64(new))
                    dot += mass * (np.float64(m) - np.float64(new))
                m = new
                poke(tops, b, m)
                here, e_here = x + start * x_size, e + start * size
                if MASS:
                    part_mass, part_dot = weigh(
                        here, t + start * t_size, call.class_weight_real + start * size,
                        keep, spread, n, m, scale, cap,
                    )  # fmt: skip
                    mass += part_mass
                    dot += part_dot
                if b + 1 < blocks:
                    ahead, n_ahead = here + BLOCK * x_size, least(BLOCK, classes - start - BLOCK)
                else:
                    prepared = i + 1
                    n_ahead = block if prepared < last else np.int64(0)
                    ahead = call.x + offset_of(
                        call.x_layout, prepared * least(n_ahead, 1), classes * x_size
                    )
                both = least(n, n_ahead)
                part, coming = exponentials_and_largest(here, e_here, both, m, scale, cap, ahead)
                if both < n:
                    part += exponentials(here, e_here, both, n, m, scale, cap)
                if both < n_ahead:
                    coming = largest_of(ahead, both, n_ahead, coming)
                s += np.float64(part)
            top = np.float64(m)
            log_s = math.log(s)
            z_y = link(raw_at_y, scale, cap)
            if LOSS:
                value = example_loss(log_s, top, np.float64(z_y), onehot, mass, dot, call.z_loss)
                value *= weight
                if PER_EXAMPLE:
                    store_real(call.loss, i, real(value))
                total += value
            if KEEP:
                slope = example_slope(log_s, top, onehot, mass, call.z_loss)
                factor = outer * weight * entry_of(call.u, i)
                for b in range(blocks):
                    start = b * BLOCK
                    n = least(BLOCK, classes - start)
                    # A block of masks alone is measured from 0, which may lie above m.
                    behind = min(np.float64(peek(tops, b)) - top, 0.0)
                    inverse = 1.0 / s
                    if behind != 0.0:
                        inverse *= math.exp(behind)
                    if ONE_FACTOR:
                        coefficient = real(slope * inverse * (factor * call.logit_scale))
                        scale_in_place(g + start * size, n, coefficient)
                    else:
                        # With e for g, LLVM sees that the two never collide.
                        at_g = e if IN_GRADIENT else g
                        write_derivatives(
                            x + start * x_size, t + start * t_size,
                            call.class_weight_real + start * size, keep, spread,
                            e + start * size, n, real(inverse), real(slope), real(bend),
                            real(factor), scale, cap, at_g + start * x_size, h + start * x_size,
                        )  # fmt: skip
                if y >= 0:
                    # The target's own entry in float64: p - 1 cancels.
                    p = np.float64(exp_nonpositive(z_y - m)) / s
                    if MASS:
                        onehot += mass_on(t, call.class_weight_real, keep, spread, y)
                    by_x, by_xx = derivatives(
                        p, onehot, np.float64(raw_at_y), slope, bend, factor,
                        np.float64(scale), np.float64(cap),
                    )  # fmt: skip
                    if GRAD:
                        store_x(g, y, real(by_x))
                    if HESS:
                        store_x(h, y, real(by_xx))
        release(tops)
        return total

    return softmax_rows
