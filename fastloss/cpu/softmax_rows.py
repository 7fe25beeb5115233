"""Cross-entropy of one example after the other: vectors run along its classes.

The exponentials of a row are taken and summed as it is read. They are kept, in the gradient
itself where they fit; one factor makes the derivatives of them while the row is still in the
second-level cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.examples import entry_of, make_write_zeros, read_chunk, target_of
from fastloss.cpu.ir import allocate, least, release, running_max, running_sum
from fastloss.cpu.loop import with_loop
from fastloss.cpu.memory import STORAGE
from fastloss.cpu.rows import ACROSS_EXAMPLES, make_transfers
from fastloss.cpu.softmax_parts import (
    TINY,
    has_one_factor,
    has_raw,
    kept,
    make_derivatives,
    make_is_sound,
    make_link,
    make_mass,
    sound_sums,
)
from fastloss.cpu.transfers import BITS, offset_of
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, jitable
from fastloss.labels import label_of
from fastloss.losses.softmax import class_dot, example_loss, example_slope, label_loss
from fastloss.variant import ClassVariant

__all__ = ["ACROSS_EXAMPLES", "compute_kernel"]

#: Logits of one block, whose exponentials are added in the predictions' precision.
BLOCK = 2048


@functools.cache
def compute_kernel(variant: ClassVariant) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""
    return Kernel(functools.partial(_make, variant), label_of(variant))


def _make(variant: ClassVariant) -> Callable[..., Any]:
    x_size, load_x, store_x, peek_x, _ = STORAGE[variant.predictions]
    t_size = STORAGE[variant.targets].itemsize
    real = real_dtype(variant.predictions).type
    size, load_real, store_real, *_ = STORAGE[real.__name__]
    x_bits, t_bits = BITS[x_size], BITS[t_size]
    linked, mass_on = make_link(variant), make_mass(variant)
    is_sound = make_is_sound(variant)
    LEAST, LARGEST = (math.log(s) for s in sound_sums(variant))
    fetch_row, place_row, deliver_rows = make_transfers(variant)
    derivatives, write_zeros = make_derivatives(variant), make_write_zeros(variant)
    SOFT, MASS, CLASS_WEIGHT = variant.soft, variant.mass, variant.class_weight
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    KEEP, RAW, GATHERED = kept(variant), has_raw(variant), variant.gathered
    # The exponentials of a row lie in its gradient, until they become it.
    FITTING = GRAD and not HESS and not RAW and x_size == size
    ONE_FACTOR = FITTING and has_one_factor(variant)

    @jitable
    def largest_of(x, n, scale, cap):
        """What the largest of n logits is linked to; the links are increasing."""
        largest = real(-np.inf)
        for c in range(n):
            largest = running_max(largest, real(load_x(x, c)))
        return linked(largest, scale, cap)

    @with_loop
    def exponentials(x, e, n, shift, scale, cap):
        """Keep the exponentials of n logits; return their sum."""
        s = real(0)
        for c in range(n):
            value = exp_normal(linked(load_x(x, c), scale, cap) - shift)
            s = running_sum(s, value)
            if KEEP:
                store_real(e, c, value)
        return s

    @jitable
    def weigh(call, x, t, start, n, shift, scale, cap):
        """(probability mass of a block, its product with the logits)."""
        # In float64: in the gradient, slope p - t of a sure example cancels.
        keep, spread = real(call.keep), real(call.spread)
        mass, dot = 0.0, 0.0
        for c in range(n):
            weight = load_real(call.class_weight_real, start + c) if CLASS_WEIGHT else real(1)
            p = np.float64(mass_on(t, c, weight, keep, spread))
            z = linked(load_x(x, c), scale, cap) - shift
            mass = running_sum(mass, p)
            dot = running_sum(dot, class_dot(p, np.float64(z)))
        return mass, dot

    @jitable
    def visit(call, x, t, e, shift, scale, cap):
        """(sum of the exponentials of a row, probability mass, its product with the logits)."""
        s, mass, dot = 0.0, 0.0, 0.0
        for start in range(0, call.classes, BLOCK):
            n = least(BLOCK, call.classes - start)
            here = x + start * x_size
            s += np.float64(exponentials(here, e + start * size, n, shift, scale, cap))
            if MASS:
                part = weigh(call, here, t + start * t_size, start, n, shift, scale, cap)
                mass += part[0]
                dot += part[1]
        return s, mass, dot

    @jitable
    def multiply(e, n, coefficient, g):
        """Write the gradient of a row where that is a multiple of the exponentials."""
        for c in range(n):
            store_x(g, c, load_real(e, c) * coefficient)

    @jitable
    def write_derivatives(call, x, t, e, inverse, slope, bend, factor, scale, cap, g, h):
        """Write the gradient, and the hessian, of a row."""
        keep, spread = real(call.keep), real(call.spread)
        for c in range(call.classes):
            weight = load_real(call.class_weight_real, c) if CLASS_WEIGHT else real(1)
            mass = mass_on(t, c, weight, keep, spread) if MASS else real(0)
            raw = load_x(x, c) if RAW else real(0)
            p = load_real(e, c) * inverse
            by_x, by_xx = derivatives(p, mass, raw, slope, bend, factor, scale, cap)
            if GRAD:
                store_x(g, c, by_x)
            if HESS:
                store_x(h, c, by_xx)

    @jitable
    def write_label(call, y, p, label, raw, slope, factor, g, h):
        """Write the entry of the class index, in float64: p - 1 cancels."""
        if MASS:
            weight = load_real(call.class_weight_real, y) if CLASS_WEIGHT else real(1)
            label += mass_on(call.t, y, weight, real(call.keep), real(call.spread))
        by_x, by_xx = derivatives(
            p, label, np.float64(raw), slope, 2.0 * call.z_loss, factor,
            np.float64(call.logit_scale), np.float64(call.logit_softcap),
        )  # fmt: skip
        if GRAD:
            store_x(g, y, real(by_x))
        if HESS:
            store_x(h, y, real(by_xx))

    def softmax_rows(record, chunk, slot):
        """Compute a chunk of rows; return the sum of their losses."""
        call, outer, first, last = read_chunk(record, chunk, slot)
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        classes = call.classes
        # In place, the logits must outlive a look at their exponentials.
        in_gradient = FITTING and call.g != call.x
        scratch = allocate(classes * size if KEEP and not in_gradient else 0)
        # A buffer for the classes of one example of each array.
        line = 8 * classes if GATHERED else 0
        x_buffer = allocate(4 * line)
        t_buffer, g_buffer, h_buffer = x_buffer + line, x_buffer + 2 * line, x_buffer + 3 * line
        # Logits of this size cannot be measured from 0, whatever the others are.
        highest = real(LARGEST + 1.0)
        lowest = real(LEAST - 1.0 - math.log(np.float64(classes)))
        total = 0.0
        suspicious = False
        for i in range(first, last):
            y, onehot, weight = target_of(call, i, SOFT)
            g_there = call.g + offset_of(call.g_layout, i, classes * x_size) if GRAD else call.g
            h_there = call.h + offset_of(call.h_layout, i, classes * x_size) if HESS else call.h
            g = place_row(g_there, call.g_row, classes, g_buffer) if GRAD else g_there
            h = place_row(h_there, call.h_row, classes, h_buffer) if HESS else h_there
            if weight == 0.0:
                write_zeros(classes, g, h)
                deliver_rows(call, g, g_there, g_buffer, h, h_there, h_buffer)
                if PER_EXAMPLE:
                    store_real(call.loss, i, real(0))
                continue
            x = call.x + offset_of(call.x_layout, i, classes * x_size)
            x = fetch_row(x, call.x_row, classes, x_buffer, x_bits)
            t = call.t + offset_of(call.t_layout, i, classes * t_size) if SOFT else call.t
            t = fetch_row(t, call.t_row, classes, t_buffer, t_bits) if SOFT else t
            raw_at_y = peek_x(x, y if y > 0 else 0)
            e = g if in_gradient else scratch
            shift, top = real(0), real(0)
            s, mass, dot = 0.0, 0.0, 0.0
            if suspicious:  # the row before was: look at the maximum first
                top = largest_of(x, classes, scale, cap)
            if top <= highest and top >= lowest:
                s, mass, dot = visit(call, x, t, e, shift, scale, cap)
            if not is_sound(s):
                if not suspicious:
                    top = largest_of(x, classes, scale, cap)
                # A row of masks only has no maximum to measure from.
                shift = real(0) if top == real(-np.inf) else top
                s, mass, dot = visit(call, x, t, e, shift, scale, cap)
            suspicious = shift != real(0)
            z_y = linked(raw_at_y, scale, cap)
            e_y = np.float64(exp_normal(z_y - shift))
            log_s = math.log(s)
            if LOSS:
                nll = 0.0
                if not SOFT:
                    direct = -math.log(e_y / s)
                    far = label_loss(log_s, np.float64(shift), np.float64(z_y))
                    nll = far if e_y < TINY else direct
                value = example_loss(
                    s, nll, log_s, np.float64(shift), onehot, mass, dot, call.z_loss
                )
                value *= weight
                if PER_EXAMPLE:
                    store_real(call.loss, i, real(value))
                total += value
            if KEEP:
                slope = example_slope(log_s, np.float64(shift), onehot, mass, call.z_loss)
                factor = outer * weight * entry_of(call.u, i)
                if ONE_FACTOR:
                    multiply(e, classes, real(slope / s * (factor * call.logit_scale)), g)
                else:
                    write_derivatives(
                        call, x, t, e, real(1.0 / s), real(slope), real(2.0 * call.z_loss),
                        real(factor), scale, cap, g, h,
                    )  # fmt: skip
                if y >= 0:
                    write_label(call, y, e_y / s, onehot, raw_at_y, slope, factor, g, h)
                deliver_rows(call, g, g_there, g_buffer, h, h_there, h_buffer)
        release(x_buffer)
        release(scratch)
        return total

    return softmax_rows
