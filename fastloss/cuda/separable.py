"""Losses to which each class adds by itself (`SeparableSpec`).

A class index without smoothing looks at one prediction, and writes one derivative that is not 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.examples import ClassCall, targets_of
from fastloss.cuda.group import group_of
from fastloss.cuda.memory import STORAGE
from fastloss.cuda.primitives import WIDE, cuda
from fastloss.cuda.rows import Steps, make_rows, row_parts
from fastloss.cuda.variant import ClassVariant, Mapping, is_lean
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline
from fastloss.labels import label_of
from fastloss.spec import SeparableSpec


@functools.cache
def compute_kernel(spec: SeparableSpec, variant: ClassVariant, mapping: Mapping) -> Kernel:
    """Return the kernel of the loss `spec` for the dtypes, options and outputs of `variant`."""

    def make() -> Callable[..., Any]:
        return make_rows(separable_steps(spec, variant, mapping), variant, mapping)

    label, lean = "separable" + label_of(spec.name, variant, mapping), is_lean(variant, mapping)
    return Kernel(make, ClassCall, mapping.threads, label, lean=lean)


def separable_steps(spec: SeparableSpec, variant: ClassVariant, mapping: Mapping) -> Steps:
    """Return the steps for the dtypes, options and outputs of `variant`."""
    value_of, slope, curvature = inline(spec.value), inline(spec.grad), inline(spec.hess)
    x_size, load_x, store_x, load_wide_x, store_wide_x = STORAGE[variant.predictions]
    t_size, _, _, load_wide_t, _ = STORAGE[variant.targets]
    real: Any = real_dtype(variant.predictions).type
    SOFT, MASS = variant.soft, variant.mass
    LOSS, GRAD, HESS, _ = variant.outputs
    GROUP, WIDE_ROWS = mapping.group, mapping.wide
    LANES = WIDE // x_size
    parts_of = row_parts(x_size, WIDE_ROWS)
    soft_target, mass_on = targets_of(variant)
    total = group_of(GROUP, real).total

    @inline
    def evaluate(call, x, t, n, lane, y, onehot, board, words):
        at_y = load_x(x + max(y, np.int64(0)) * call.x_step)
        part = real(0)
        if LOSS and MASS:
            head, wide, edges = parts_of(x, n)
            for k in range(lane, edges, GROUP):
                c = k if k < head else k + wide * LANES
                mass = mass_on(call, soft_target(call, t, c), c)
                part += mass * value_of(load_x(x + c * call.x_step))
            if WIDE_ROWS:
                chunk = cuda.local.array(LANES, real)
                soft = cuda.local.array(LANES, real)
                for v in range(lane, wide, GROUP):
                    c = head + v * LANES
                    load_wide_x(x + c * x_size, chunk)
                    if SOFT:
                        load_wide_t(t + c * t_size, soft)
                    for k in range(LANES):
                        mass = mass_on(call, soft[k] if SOFT else real(0), c + k)
                        part += mass * value_of(chunk[k])
            part = total(part, board)
        value = np.float64(part)
        if LOSS and onehot != 0.0:
            value += onehot * np.float64(value_of(at_y))
        return value, (at_y,)

    @inline
    def derive(mass, p, factor):
        """(first, second) derivative by a prediction with this mass."""
        d = factor * mass * slope(p)
        return d, factor * mass * curvature(p) if HESS else real(0)

    @inline
    def write(call, x, t, g, h, n, lane, live, y, onehot, factor, state, words):
        (at_y,) = state
        # Where there is no mass, a factor of nan still makes the whole row nan.
        nothing = real(0) * factor if live else real(0)
        head, wide, edges = parts_of(x, n)
        for k in range(lane, edges, GROUP):
            c = k if k < head else k + wide * LANES
            d, dd = nothing, nothing
            mass = mass_on(call, soft_target(call, t, c), c) if MASS else real(0)
            mass += real(onehot) if c == y else real(0)
            if live and (MASS or c == y):
                d, dd = derive(mass, load_x(x + c * call.x_step), factor)
            if GRAD:
                store_x(g + c * call.g_step, d)
            if HESS:
                store_x(h + c * call.h_step, dd)
        if WIDE_ROWS:
            chunk = cuda.local.array(LANES, real)
            soft = cuda.local.array(LANES, real)
            second = cuda.local.array(LANES, real)
            for v in range(lane, wide, GROUP):
                c = head + v * LANES
                if MASS:
                    load_wide_x(x + c * x_size, chunk)
                    if SOFT:
                        load_wide_t(t + c * t_size, soft)
                for k in range(LANES):
                    d, dd = nothing, nothing
                    if MASS:
                        mass = mass_on(call, soft[k] if SOFT else real(0), c + k)
                        d, dd = derive(mass, chunk[k], factor)
                    chunk[k] = d if live else real(0)
                    second[k] = dd if live else real(0)
                if GRAD:
                    store_wide_x(g + c * x_size, chunk)
                if HESS:
                    store_wide_x(h + c * x_size, second)
                place = y - c
                if live and place >= 0 and place < LANES:
                    mass = real(onehot)
                    if MASS:
                        mass += mass_on(call, real(0), y)
                    d, dd = derive(mass, at_y, factor)
                    if GRAD:
                        store_x(g + y * x_size, d)
                    if HESS:
                        store_x(h + y * x_size, dd)

    return Steps(evaluate, write)
