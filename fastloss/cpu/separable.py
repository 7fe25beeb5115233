"""Losses to which each class adds by itself (`SeparableSpec`), example by example: long rows.

A class index without smoothing looks at one prediction and writes one derivative.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.ir import running_sum
from fastloss.cpu.memory import STORAGE
from fastloss.cpu.rows import ACROSS_EXAMPLES, Steps, make_rows
from fastloss.cpu.separable_examples import make_terms
from fastloss.cpu.softmax_parts import make_mass
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline, jitable
from fastloss.labels import label_of
from fastloss.spec import SeparableSpec
from fastloss.variant import ClassVariant

__all__ = ["ACROSS_EXAMPLES", "compute_kernel"]


@functools.cache
def compute_kernel(spec: SeparableSpec, variant: ClassVariant) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes, options and outputs of `variant`."""
    return Kernel(
        functools.partial(_make, spec, variant), "separable" + label_of(spec.name, variant)
    )


def _make(spec: SeparableSpec, variant: ClassVariant) -> Callable[..., Any]:
    return make_rows(separable_steps(spec, variant), variant)


def separable_steps(spec: SeparableSpec, variant: ClassVariant) -> Steps:
    """Return the steps for the dtypes, options and outputs of `variant`."""
    _, load_x, store_x, peek_x, _ = STORAGE[variant.predictions]
    real = real_dtype(variant.predictions).type
    load_real = STORAGE[real.__name__].load
    mass_beside = make_mass(variant)
    value_of = inline(spec.value)
    term, slopes = make_terms(spec, variant)
    MASS, CLASS_WEIGHT = variant.mass, variant.class_weight
    _, GRAD, HESS, _ = variant.outputs

    @inline
    def mass_on(t, class_weight, keep, spread, c):
        """Probability mass on class c of the row whose soft targets are at `t`."""
        weight = load_real(class_weight, c) if CLASS_WEIGHT else real(1)
        return mass_beside(t, c, weight, keep, spread)

    @jitable
    def row_loss(x, t, classes, class_weight, keep, spread):
        """Loss of the mass beside the class index."""
        total = real(0)
        for c in range(classes):
            mass = mass_on(t, class_weight, keep, spread, c)
            total = running_sum(total, term(real(load_x(x, c)), mass))
        return np.float64(total)

    @inline
    def look(call, x, t, y):
        return 0

    @inline
    def value(call, x, t, y, onehot, state):
        total = 0.0
        if MASS:
            keep, spread = real(call.keep), real(call.spread)
            total = row_loss(x, t, call.classes, call.class_weight_real, keep, spread)
        if onehot != 0.0:
            total += onehot * np.float64(value_of(real(peek_x(x, y))))
        return total

    @jitable
    def write_derivatives(x, t, classes, class_weight, keep, spread, y, onehot, factor, g, h):
        """Write the gradient, and the hessian, of a row."""
        f = real(factor)
        at_y = peek_x(x, max(y, 0))
        for c in range(classes):
            first = second = real(0)
            if MASS:
                mass = mass_on(t, class_weight, keep, spread, c)
                first, second = slopes(real(load_x(x, c)), mass, f)
            if GRAD:
                store_x(g, c, first)
            if HESS:
                store_x(h, c, second)
        if y >= 0:
            mass = real(onehot)
            if MASS:
                mass += mass_on(t, class_weight, keep, spread, y)
            first, second = slopes(real(at_y), mass, f)
            if GRAD:
                store_x(g, y, first)
            if HESS:
                store_x(h, y, second)

    @inline
    def write(call, x, t, y, onehot, state, factor, g, h):
        write_derivatives(
            x, t, call.classes, call.class_weight_real, real(call.keep), real(call.spread),
            y, onehot, factor, g, h,
        )  # fmt: skip

    return Steps(look, value, write)
