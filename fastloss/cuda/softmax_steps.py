"""One example of a cross-entropy from logits, computed by a group of threads.

`visit` reads logits once, keeping a running maximum and a running sum; `combine` brings the
threads' parts together; `write` reads the logits again, by now from a cache, and writes the
derivatives. Where the classes of an example lie in a row, threads read 16 bytes at a time,
from the first aligned address on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.examples import targets_of
from fastloss.cuda.group import group_of
from fastloss.cuda.memory import STORAGE
from fastloss.cuda.primitives import WIDE, cuda
from fastloss.cuda.rows import Steps, row_parts
from fastloss.cuda.variant import ClassVariant, Mapping
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, inline, log, maximum
from fastloss.losses.softmax import (
    class_dot,
    example_loss,
    example_slope,
    label_loss,
)


class SoftmaxSteps(NamedTuple):
    """The steps of one example; x, t, g and h are the addresses of its first class.

    `visit`, `combine` and `finish` are those that `evaluate` of `Steps` is made of.
    """

    visit: Callable[..., Any]
    combine: Callable[..., Any]
    logit_at: Callable[..., Any]
    finish: Callable[..., Any]
    derive: Callable[..., Any]
    linked: Callable[..., Any]
    mass_on: Callable[..., Any]
    steps: Steps


@functools.cache
def softmax_steps(variant: ClassVariant, mapping: Mapping) -> SoftmaxSteps:
    """Return the steps for the dtypes, options and outputs of `variant`."""
    x_size, load_x, store_x, load_wide_x, store_wide_x = STORAGE[variant.predictions]
    t_size, _, _, load_wide_t, _ = STORAGE[variant.targets]
    real: Any = real_dtype(variant.predictions).type
    link, link_slope, link_curvature = variant.link
    SOFT, MASS = variant.soft, variant.mass
    GRAD, HESS = variant.outputs.grad, variant.outputs.hess
    GROUP, WIDE_ROWS = mapping.group, mapping.wide
    LANES = WIDE // x_size
    parts_of = row_parts(x_size, WIDE_ROWS)
    soft_target, mass_on = targets_of(variant)
    total, largest, _ = group_of(GROUP, real)

    @inline
    def floor_of(m):
        """What exponentials are measured from: the maximum, 0 if there are masks only."""
        return real(0) if m == real(-np.inf) else m

    @inline
    def linked(call, raw):
        return link(raw, real(call.logit_scale), real(call.logit_softcap))

    @inline
    def visit(call, x, t, first, n, lane):
        """(maximum, sum of exponentials, mass, dot) of this thread's classes of first .. n."""
        m, s, mass, dot = real(-np.inf), real(0), real(0), real(0)
        head, wide, edges = parts_of(x, n)
        for k in range(lane, edges, GROUP):
            c = k if k < head else k + wide * LANES
            z = linked(call, load_x(x + c * call.x_step))
            new = maximum(m, z)
            before, floor = floor_of(m), floor_of(new)
            s = s * exp_normal(m - floor) + exp_normal(z - floor)
            if MASS:
                p = mass_on(call, soft_target(call, t, c), first + c)
                dot += mass * (before - floor) + class_dot(p, z - floor)
                mass += p
            m = new
        if WIDE_ROWS:
            chunk = cuda.local.array(LANES, real)
            soft = cuda.local.array(LANES, real)
            for v in range(lane, wide, GROUP):
                c = head + v * LANES
                load_wide_x(x + c * x_size, chunk)
                new = m
                for k in range(LANES):
                    chunk[k] = linked(call, chunk[k])
                    new = maximum(new, chunk[k])
                before, floor = floor_of(m), floor_of(new)
                s *= exp_normal(m - floor)
                for k in range(LANES):
                    s += exp_normal(chunk[k] - floor)
                if MASS:
                    if SOFT:
                        load_wide_t(t + c * t_size, soft)
                    dot += mass * (before - floor)
                    for k in range(LANES):
                        y = soft[k] if SOFT else real(0)
                        p = mass_on(call, y, first + c + k)
                        dot += class_dot(p, chunk[k] - floor)
                        mass += p
                m = new
        return m, s, mass, dot

    @inline
    def combine(m, s, mass, dot, board):
        """The same of the whole group."""
        whole = largest(m, board)
        floor = floor_of(whole)
        s = total(s * exp_normal(m - floor), board)
        if MASS:
            dot = total(dot + mass * (floor_of(m) - floor), board)
            mass = total(mass, board)
        return whole, s, mass, dot

    @inline
    def logit_at(call, x, y):
        """The logit of class `y` as given; that of the first class where there is none."""
        return load_x(x + max(y, np.int64(0)) * call.x_step)

    @inline
    def finish(call, m, s, mass, dot, at_y, onehot):
        """(loss, what `write` needs to know) of the example."""
        floor, log_s = floor_of(m), log(s)
        hot, z_loss = real(onehot), real(call.z_loss)
        nll = label_loss(log_s, floor, linked(call, at_y))
        loss = example_loss(s, nll, log_s, floor, hot, mass, dot, z_loss)
        slope = real(example_slope(log_s, floor, hot, mass, z_loss))
        return np.float64(loss), (at_y, floor, real(1) / s, slope)

    @inline
    def evaluate(call, x, t, n, lane, y, onehot, board):
        at_y = logit_at(call, x, y)
        m, s, mass, dot = visit(call, x, t, np.int64(0), n, lane)
        m, s, mass, dot = combine(m, s, mass, dot, board)
        return finish(call, m, s, mass, dot, at_y, onehot)

    @inline
    def derive(call, raw, floor, inverse, slope, hot, factor):
        """(first, second) derivative by the logit `raw`, of which `hot` is the target."""
        scale, cap = real(call.logit_scale), real(call.logit_softcap)
        p = exp_normal(link(raw, scale, cap) - floor) * inverse
        by_z = slope * p - hot
        chain = link_slope(raw, scale, cap)
        second = real(0)
        if HESS:
            bend = real(call.z_loss) + real(call.z_loss)
            second = slope * p * (real(1) - p) + bend * p * p
            second = factor * (second * chain * chain + by_z * link_curvature(raw, scale, cap))
        return by_z * (factor * chain), second

    @inline
    def write(call, x, t, g, h, first, n, lane, live, y, onehot, factor, state):
        at_y, floor, inverse, slope = state
        hot = real(onehot)
        head, wide, edges = parts_of(x, n)
        for k in range(lane, edges, GROUP):
            c = k if k < head else k + wide * LANES
            target = soft_target(call, t, c)
            target = mass_on(call, target, first + c) if MASS else real(0)
            target += hot if first + c == y else real(0)
            raw = load_x(x + c * call.x_step)
            d, dd = derive(call, raw, floor, inverse, slope, target, factor)
            if GRAD:
                store_x(g + c * call.g_step, d if live else real(0))
            if HESS:
                store_x(h + c * call.h_step, dd if live else real(0))
        if WIDE_ROWS:
            chunk = cuda.local.array(LANES, real)
            soft = cuda.local.array(LANES, real)
            second = cuda.local.array(LANES, real)
            for v in range(lane, wide, GROUP):
                c = head + v * LANES
                load_wide_x(x + c * x_size, chunk)
                if SOFT:
                    load_wide_t(t + c * t_size, soft)
                at_target = real(0)
                for k in range(LANES):
                    target = soft[k] if SOFT else real(0)
                    target = mass_on(call, target, first + c + k) if MASS else real(0)
                    d, dd = derive(call, chunk[k], floor, inverse, slope, target, factor)
                    chunk[k] = d if live else real(0)
                    second[k] = dd if live else real(0)
                if GRAD:
                    store_wide_x(g + c * x_size, chunk)
                if HESS:
                    store_wide_x(h + c * x_size, second)
                # The target's own entry once more, rather than a comparison for each class.
                place = y - first - c
                if live and place >= 0 and place < LANES:
                    at_target = mass_on(call, real(0), y) if MASS else real(0)
                    d, dd = derive(call, at_y, floor, inverse, slope, at_target + hot, factor)
                    if GRAD:
                        store_x(g + (c + place) * x_size, d)
                    if HESS:
                        store_x(h + (c + place) * x_size, dd)

    return SoftmaxSteps(
        visit, combine, logit_at, finish, derive, linked, mass_on, Steps(evaluate, write)
    )  # fmt: skip
