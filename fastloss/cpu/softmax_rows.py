"""Cross-entropy where the classes of an example lie in a row: vectors run along the classes.

Each row is read in blocks that stay in the first-level cache, keeping a running maximum and
a running sum; the gradient then reads the row again, by now from the second-level cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel, label_of
from fastloss.cpu.examples import read_chunk, target_of, upstream_of
from fastloss.cpu.memory import STORAGE, offset_of
from fastloss.cpu.variant import ClassVariant
from fastloss.cpu.vector import running_max, running_sum
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_nonpositive
from fastloss.losses.softmax import class_dot, class_target, example_loss, example_slope

#: Logits that are read twice in a row: 8 KB of float32, a quarter of a first-level cache.
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
    _, load_real, store_real, *_ = STORAGE[real.__name__]
    link, link_slope, link_curvature = variant.link
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs

    @register_jitable(forceinline=True)
    def mass_on(t, class_weight, keep, spread, c):
        """Probability mass on class c of the row whose soft targets are at `t`."""
        y = real(load_t(t, c)) if SOFT else real(0)
        weight = load_real(class_weight, c) if CLASS_WEIGHT else real(1)
        return class_target(y, weight, keep, spread)

    @register_jitable
    def visit(x, t, classes, class_weight, keep, spread, scale, cap):
        """(maximum, sum of exponentials, mass, dot) of a row, in one visit."""
        m = real(-np.inf)
        s, mass, dot = 0.0, 0.0, 0.0
        for first in range(0, classes, BLOCK):
            n = min(BLOCK, classes - first)
            block = x + first * x_size
            largest = real(-np.inf)
            for c in range(n):
                largest = running_max(largest, link(load_x(block, c), scale, cap))
            largest = running_max(m, largest)
            # A row that so far holds only masks has no maximum to measure from.
            new = real(0) if largest == real(-np.inf) else largest
            if first > 0 and new != m:
                s *= math.exp(np.float64(m) - np.float64(new))
                dot += mass * (np.float64(m) - np.float64(new))
            m = new
            part = real(0)
            for c in range(n):
                part = running_sum(part, exp_nonpositive(link(load_x(block, c), scale, cap) - m))
            s += part
            if MASS:
                # In float64: in the gradient, slope p - t of a sure example cancels.
                part_mass, part_dot = 0.0, 0.0
                for c in range(n):
                    p = mass_on(t, class_weight, keep, spread, first + c)
                    shifted = link(load_x(block, c), scale, cap) - m
                    part_mass = running_sum(part_mass, np.float64(p))
                    part_dot = running_sum(part_dot, class_dot(np.float64(p), np.float64(shifted)))
                mass += part_mass
                dot += part_dot
        return m, s, mass, dot

    @register_jitable
    def write_derivatives(
        x, t, classes, class_weight, keep, spread, scale, cap,
        y, onehot, m, s, slope, z_loss, factor, g, h,
    ):  # fmt: skip
        """Write the gradient, and the hessian, of a row."""
        inverse = real(1.0 / s)
        a = real(slope)
        f = real(factor)
        bend = real(2.0 * z_loss)
        if y >= 0:
            at_y = peek_x(x, y)
        for c in range(classes):
            raw = load_x(x, c)
            p = exp_nonpositive(link(raw, scale, cap) - m) * inverse
            by_z = a * p
            if MASS:
                by_z -= mass_on(t, class_weight, keep, spread, c)
            chain = link_slope(raw, scale, cap)
            if GRAD:
                store_x(g, c, by_z * (f * chain))
            if HESS:
                second = a * p * (real(1) - p) + bend * p * p
                bent = second * chain * chain + by_z * link_curvature(raw, scale, cap)
                store_x(h, c, f * bent)
        if y >= 0:
            # The target's own entry in float64: p - 1 cancels.
            p = np.float64(exp_nonpositive(link(at_y, scale, cap) - m)) / s
            by_z = slope * p - onehot
            if MASS:
                by_z -= mass_on(t, class_weight, keep, spread, y)
            chain = link_slope(at_y, scale, cap)
            if GRAD:
                store_x(g, y, real(by_z * chain * factor))
            if HESS:
                second = slope * p * (1.0 - p) + 2.0 * z_loss * p * p
                bent = second * chain * chain + by_z * link_curvature(at_y, scale, cap)
                store_x(h, y, real(bent * factor))

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
        classes = call.classes
        total = 0.0
        for i in range(first, last):
            y, onehot, weight = target_of(call, i)
            g = call.g + offset_of(call.g_layout, i, classes * x_size) if GRAD else call.g
            h = call.h + offset_of(call.h_layout, i, classes * x_size) if HESS else call.h
            if weight == 0.0:
                write_zeros(classes, g, h)
                if PER_EXAMPLE:
                    store_real(call.loss, i, real(0))
                continue
            x = call.x + offset_of(call.x_layout, i, classes * x_size)
            t = call.t + offset_of(call.t_layout, i, classes * t_size) if SOFT else call.t
            m, s, mass, dot = visit(x, t, classes, call.class_weight_real, keep, spread, scale, cap)
            top = np.float64(m)
            log_s = math.log(s)
            if LOSS:
                z_y = np.float64(link(peek_x(x, max(y, 0)), scale, cap))
                value = example_loss(log_s, top, z_y, onehot, mass, dot, call.z_loss) * weight
                if PER_EXAMPLE:
                    store_real(call.loss, i, real(value))
                total += value
            if GRAD or HESS:
                slope = example_slope(log_s, top, onehot, mass, call.z_loss)
                factor = outer * weight * upstream_of(call, i)
                write_derivatives(
                    x, t, classes, call.class_weight_real, keep, spread, scale, cap,
                    y, onehot, m, s, slope, call.z_loss, factor, g, h,
                )  # fmt: skip
        return total

    return softmax_rows
