"""Cross-entropy from logits with one group of threads for each example.

`visit` reads logits once, keeping a running maximum and a running sum; `combine` brings the
threads' parts together; `write` takes the logits again, from where they were kept or from a cache,
and writes the derivatives. Where the classes of an example lie in a row, threads read 16 bytes at a
time, from the first aligned address on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.examples import ClassCall
from fastloss.cuda.group import group_of
from fastloss.cuda.memory import STORAGE
from fastloss.cuda.primitives import WIDE
from fastloss.cuda.rows import Steps, make_rows, row_parts
from fastloss.cuda.softmax_classes import classes_of, floor_of_maximum
from fastloss.cuda.softmax_vectors import unrolled, vectors_of
from fastloss.cuda.variant import ClassVariant, Mapping, is_lean
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, inline, maximum
from fastloss.labels import label_of
from fastloss.losses.softmax import class_dot


@functools.cache
def compute_kernel(variant: ClassVariant, mapping: Mapping) -> Kernel:
    """Return the kernel for the dtypes, options and outputs of `variant`."""

    def make() -> Callable[..., Any]:
        return make_rows(softmax_steps(variant, mapping), variant, mapping)

    label, lean = "softmax" + label_of(variant, mapping), is_lean(variant, mapping)
    return Kernel(make, ClassCall, mapping.threads, label, lean=lean)


def edges_by(mapping: Mapping, lanes: int) -> Callable[..., Any]:
    """Return what makes of a step of one class that of all classes that are not read wide.

    Those are fewer than two loads, or none, or the whole row.
    """

    def over(step):
        if mapping.whole:
            return inline(lambda state, edges, *args: state)
        if mapping.wide:
            steps = unrolled(-(-2 * (lanes - 1) // mapping.group), step)
            return inline(lambda state, edges, *args: steps(state, *args))

        def loop(state, edges, call, *args):
            k = 0
            while k * mapping.group < edges:
                state = step(state, k, call, *args)
                k += 1
            return state

        return inline(loop)

    return over


def softmax_steps(variant: ClassVariant, mapping: Mapping) -> Steps:
    """Return the steps for the dtypes, options and outputs of `variant`."""
    x_size, load_x, store_x, *_ = STORAGE[variant.predictions]
    t_size = STORAGE[variant.targets].itemsize
    real: Any = real_dtype(variant.predictions).type
    linked, soft_target, mass_on, finish, derive = classes_of(variant)
    floor_of = floor_of_maximum(real)
    words_kept, visit_wide, write_wide = vectors_of(variant, mapping)
    MASS = variant.mass
    GRAD, HESS = variant.outputs.grad, variant.outputs.hess
    GROUP, WIDE_ROWS = mapping.group, mapping.wide
    LANES = WIDE // x_size
    PER_LOAD = LANES.bit_length() - 1
    parts_of = row_parts(x_size, WIDE_ROWS, mapping.whole)
    total, largest, _ = group_of(GROUP, real)
    over_edges = edges_by(mapping, LANES)

    @inline
    def visit_one(sums, k, call, x, t, lane, head, wide, edges):
        """The sums with those of the class that is number `k` of this thread outside `wide`."""
        m, s, mass, dot = sums
        k = lane + k * GROUP
        if k < edges:
            c = k if k < head else k + wide * LANES
            z = linked(call, load_x(x + c * call.x_step))
            new = maximum(m, z)
            before, floor = floor_of(m), floor_of(new)
            s = s * exp_normal(m - floor) + exp_normal(z - floor)
            if MASS:
                p = mass_on(call, soft_target(call, t, c), c)
                dot += mass * (before - floor) + class_dot(p, z - floor)
                mass += p
            m = new
        return m, s, mass, dot

    visit_edges = over_edges(visit_one)

    @inline
    def visit(call, x, t, n, lane, words):
        """(maximum, sum of exponentials, mass, dot) of this thread's classes."""
        sums = real(-np.inf), real(0), real(0), real(0)
        head, wide, edges = parts_of(x, n)
        if WIDE_ROWS:
            x_wide, t_wide = x + head * x_size, t + head * t_size
            sums = visit_wide(call, x_wide, t_wide, head, wide, lane, sums, words)
        return visit_edges(sums, edges, call, x, t, lane, head, wide, edges)

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
    def evaluate(call, x, t, n, lane, y, onehot, board, words):
        at_y = load_x(x + max(y, np.int64(0)) * call.x_step)
        m, s, mass, dot = visit(call, x, t, n, lane, words)
        m, s, mass, dot = combine(m, s, mass, dot, board)
        return finish(call, m, s, mass, dot, at_y, onehot)

    @inline
    def write_one(
        count, k, call, x, t, g, h, lane, head, wide, edges, live, y, factor, state, hot
    ):  # fmt: skip
        """Write the derivatives by the class that is number `k` of this thread outside `wide`."""
        _, floor, inverse, slope = state
        k = lane + k * GROUP
        if k < edges:
            c = k if k < head else k + wide * LANES
            target = soft_target(call, t, c)
            target = mass_on(call, target, c) if MASS else real(0)
            target += hot if c == y else real(0)
            raw = load_x(x + c * call.x_step)
            d, dd = derive(call, raw, floor, inverse, slope, target, factor)
            if GRAD:
                store_x(g + c * call.g_step, d if live else real(0))
            if HESS:
                store_x(h + c * call.h_step, dd if live else real(0))
        return count

    write_edges = over_edges(write_one)

    @inline
    def write(call, x, t, g, h, n, lane, live, y, onehot, factor, state, words):
        at_y, floor, inverse, slope = state
        hot = real(onehot)
        head, wide, edges = parts_of(x, n)
        if WIDE_ROWS:
            to = head * x_size
            write_wide(
                call, x + to, t + head * t_size, g + to, h + to, head, wide, lane, live,
                factor, (floor, inverse, slope), words,
            )  # fmt: skip
            # The target's own entry once more, rather than a comparison for each class.
            place = y - head
            mine = place >= 0 and place < wide * LANES and (place >> PER_LOAD) & (GROUP - 1) == lane
            if live and mine:
                target = mass_on(call, real(0), y) if MASS else real(0)
                d, dd = derive(call, at_y, floor, inverse, slope, target + hot, factor)
                if GRAD:
                    store_x(g + to + place * x_size, d)
                if HESS:
                    store_x(h + to + place * x_size, dd)
        write_edges(
            0, edges, call, x, t, g, h, lane, head, wide, edges, live, y, factor, state, hot
        )  # fmt: skip

    return Steps(evaluate, write, words_kept)
