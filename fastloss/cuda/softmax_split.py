"""Cross-entropy from logits with several blocks for each example.

For examples too few to fill the device, or so long that those in work at a time do not stay
in the second-level cache. One kernel leaves the sums of each part of an example in scratch
memory, the next adds them up and writes the derivatives; they take turns over as many
examples as the cache holds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.examples import ClassCall, examples_of, outer_factor
from fastloss.cuda.group import BOARD, BOARD_DTYPE
from fastloss.cuda.memory import STORAGE, load_float64, store_float64
from fastloss.cuda.primitives import LARGE, WARP, block_number, cuda, thread_number
from fastloss.cuda.softmax_steps import softmax_steps
from fastloss.cuda.variant import ClassVariant, Mapping, is_lean
from fastloss.dtypes import real_dtype
from fastloss.elementary import exp_normal, inline, maximum
from fastloss.labels import label_of

THREADS = LARGE * WARP

#: Numbers that a block leaves behind: maximum, sum, mass, dot, the target's logit.
NUMBERS = 5

#: Classes of one part, at least, and parts of an example, at most.
SPAN, MOST_PARTS = 16 * THREADS, 32

#: Bytes of logits between the two kernels: about half of the second-level cache of an A100,
#: the rest is for the gradient on its way out.
IN_CACHE = 20 * 2**20


def parts_for(classes: int) -> int:
    """Return how many blocks share an example."""
    return max(1, min(MOST_PARTS, -(-classes // SPAN)))


def examples_in_cache(classes: int, itemsize: int) -> int:
    """Return how many examples the two kernels take at a time."""
    return max(1, IN_CACHE // (classes * itemsize))


@functools.cache
def visit_kernel(variant: ClassVariant, mapping: Mapping) -> Kernel:
    """Return the kernel that reads the logits once."""
    make = functools.partial(_make_visit, variant, mapping)
    lean = is_lean(variant, mapping)
    return Kernel(make, ClassCall, THREADS, label_of(variant, mapping), lean=lean)


@functools.cache
def compute_kernel(variant: ClassVariant, mapping: Mapping) -> Kernel:
    """Return the kernel that ends what `visit_kernel` began."""
    make = functools.partial(_make_compute, variant, mapping)
    lean = is_lean(variant, mapping)
    return Kernel(make, ClassCall, THREADS, label_of(variant, mapping), lean=lean)


@inline
def part_of(call):
    """(example, first class, classes) of this block; `splits` blocks share an example."""
    i = call.first + block_number() // call.splits
    # Parts begin at multiples of 64 classes, so that all begin aligned if the first does.
    span = ((call.classes + call.splits - 1) // call.splits + 63) // 64 * 64
    first = min(block_number() % call.splits * span, call.classes)
    return i, first, min(span, call.classes - first)


def _make_visit(variant: ClassVariant, mapping: Mapping) -> Callable[..., Any]:
    visit, combine, logit_at, *_ = softmax_steps(variant, mapping)
    _, _, _, target_of, offset_of = examples_of(mapping.plain)
    x_size, t_size = STORAGE[variant.predictions].itemsize, STORAGE[variant.targets].itemsize
    SOFT = variant.soft

    def softmax_visit(call):
        """Leave the sums of one part of an example in `parts`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        i, first, n = part_of(call)
        y, _, _ = target_of(call, i)
        x = call.x + offset_of(call.x_layout, i, call.classes * x_size)
        t = call.t
        if SOFT:
            t = call.t + offset_of(call.t_layout, i, call.classes * t_size) + first * t_size
        m, s, mass, dot = visit(call, x + first * x_size, t, first, n, thread_number())
        m, s, mass, dot = combine(m, s, mass, dot, board)
        if thread_number() == 0:
            part = call.parts + 8 * NUMBERS * block_number()
            store_float64(part, np.float64(m))
            store_float64(part + 8, np.float64(s))
            store_float64(part + 16, np.float64(mass))
            store_float64(part + 24, np.float64(dot))
            store_float64(part + 32, np.float64(logit_at(call, x, y)))

    return softmax_visit


def _make_compute(variant: ClassVariant, mapping: Mapping) -> Callable[..., Any]:
    parts_of_example = softmax_steps(variant, mapping)
    finish, write = parts_of_example.finish, parts_of_example.steps.write
    _, upstream_of, _, target_of, offset_of = examples_of(mapping.plain)
    x_size, t_size = STORAGE[variant.predictions].itemsize, STORAGE[variant.targets].itemsize
    real: Any = real_dtype(variant.predictions).type
    real_size, _, store_real, *_ = STORAGE[real.__name__]
    SOFT = variant.soft
    LOSS, GRAD, HESS, PER_EXAMPLE = variant.outputs
    DERIVATIVES = GRAD or HESS
    outer_of = outer_factor(THREADS)

    @inline
    def floor_of(m):
        return real(0) if m == real(-np.inf) else m

    @inline
    def add_up(parts, count):
        """(maximum, sum of exponentials, mass, dot) of an example out of its parts."""
        m = real(-np.inf)
        for k in range(count):
            m = maximum(m, real(load_float64(parts + 8 * NUMBERS * k)))
        floor = floor_of(m)
        s, mass, dot = real(0), real(0), real(0)
        for k in range(count):
            part = parts + 8 * NUMBERS * k
            top, part_mass = real(load_float64(part)), real(load_float64(part + 16))
            s += real(load_float64(part + 8)) * exp_normal(top - floor)
            mass += part_mass
            dot += real(load_float64(part + 24)) + part_mass * (floor_of(top) - floor)
        return m, s, mass, dot

    def softmax_split(call):
        """Write the loss of an example, or the derivatives of a part of it."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        outer = outer_of(call, board) if DERIVATIVES else 0.0
        i, first, n = part_of(call)
        y, onehot, weight = target_of(call, i)
        live = weight != 0.0
        parts = call.parts + 8 * NUMBERS * (block_number() // call.splits * call.splits)
        m, s, mass, dot = add_up(parts, call.splits)
        at_y = real(load_float64(parts + 32))
        value, state = finish(call, m, s, mass, dot, at_y, onehot)
        if LOSS and first == 0 and thread_number() == 0:
            value = value * weight if live else 0.0
            if PER_EXAMPLE:
                store_real(call.loss + i * real_size, real(value))
            else:
                store_float64(call.sums + 8 * i, value)
        if DERIVATIVES:
            begin = first * x_size
            x = call.x + offset_of(call.x_layout, i, call.classes * x_size) + begin
            t, g, h = call.t, call.g, call.h
            if SOFT:
                t = call.t + offset_of(call.t_layout, i, call.classes * t_size) + first * t_size
            if GRAD:
                g = call.g + offset_of(call.g_layout, i, call.classes * x_size) + begin
            if HESS:
                h = call.h + offset_of(call.h_layout, i, call.classes * x_size) + begin
            factor = real(outer * weight * upstream_of(call, i) + (onehot - onehot))
            write(
                call, x, t, g, h, first, n, thread_number(), live, y, onehot, factor, state
            )  # fmt: skip

    return softmax_split
