"""What the kernels over classes share: their arguments, and the pass over the class indices.

The twin of `fastloss.cpu.examples`. A bad class index is no error here: its row is nan.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cuda.compile import Kernel
from fastloss.cuda.driver import THREADS, adder
from fastloss.cuda.group import BOARD, BOARD_DTYPE, block_total
from fastloss.cuda.memory import STORAGE, load_index, number_at, offset_of, store_float64
from fastloss.cuda.primitives import block_count, block_number, cuda, thread_number
from fastloss.cuda.refusal import make_refuse
from fastloss.cuda.variant import ClassVariant
from fastloss.cuda.weights import weights_of, with_weights
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline
from fastloss.losses.softmax import class_target

#: In the place of the size of a class index: the targets are probabilities.
NOT_INDICES = 0


@with_weights
class ClassCall(NamedTuple):
    """The arguments of a kernel over classes.

    Arrays are addresses. x are the predictions, t the targets, g the gradient, h the hessian;
    `_layout` is the record of the examples, `_step` the bytes from class to class, `_row` the
    record of the classes of one example where there is no such step, `_code` the dtype for
    `number_at`. Examples 0 .. last are computed. `sums` and `parts` are scratch memory.
    """

    last: int
    classes: int
    x: int
    x_step: int
    x_layout: int
    x_row: int
    t: int
    t_step: int
    t_layout: int
    t_row: int
    t_size: int
    t_signed: int
    ignore_index: int
    class_weight: int
    class_weight_step: int
    class_weight_size: int
    class_weight_code: int
    counts_class_weight: int
    keep: float
    spread: float
    z_loss: float
    logit_scale: float
    logit_softcap: float
    loss: int
    g: int
    g_step: int
    g_layout: int
    g_row: int
    h: int
    h_step: int
    h_layout: int
    h_row: int
    sums: int
    parts: int


class Examples(NamedTuple):
    """How a kernel reads what belongs to an example, functions of (arguments, number)."""

    #: The weight of the example.
    weight: Callable[..., Any]
    #: The upstream gradient of the example.
    upstream: Callable[..., Any]
    #: The class index of the example.
    index: Callable[..., Any]
    #: (class index or -1, weight of the index, weight of the example); ignored: weight 0. The
    #: weight of an index that is no class is nan, and with it the row.
    target: Callable[..., Any]
    #: (layout, number, itemsize) -> the bytes from the first example to this one.
    offset: Callable[..., Any]


@inline
def weight_of_class(call, c):
    """The weight of class `c`."""
    if call.class_weight == 0:
        return 1.0
    address = call.class_weight + c * call.class_weight_step
    return number_at(address, 0, np.int64(0), call.class_weight_size, call.class_weight_code)


@inline
def is_class(call, y):
    """Whether a class index is one."""
    return y >= 0 and y < call.classes


@functools.cache
def examples_of(plain: bool) -> Examples:
    """Return how examples are read; `plain`: they lie in rows and there are no arrays of weights.

    A plain kernel has no calls in it, and needs half the registers.
    """

    @inline
    def offset(layout, i, itemsize):
        return i * itemsize if plain else offset_of(layout, i, itemsize)

    weight_of, upstream_of = weights_of(plain)

    @inline
    def index_of(call, i):
        address = call.t + offset(call.t_layout, i, call.t_size)
        return load_index(address, call.t_size, call.t_signed != 0)

    @inline
    def target_of(call, i):
        weight = weight_of(call, i)
        if call.t_size == NOT_INDICES:
            return np.int64(-1), 0.0, weight
        y = index_of(call, i)
        if y == call.ignore_index:
            return np.int64(-1), 0.0, 0.0
        if not is_class(call, y):
            return np.int64(-1), math.nan, weight
        return y, call.keep if plain else call.keep * weight_of_class(call, y), weight

    return Examples(weight_of, upstream_of, index_of, target_of, offset)


@functools.cache
def targets_of(variant: ClassVariant) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the functions that find the soft target of a class, and with it the mass on it."""
    load = STORAGE[variant.targets].load
    real: Any = real_dtype(variant.predictions).type
    SOFT, CLASS_WEIGHT = variant.soft, variant.class_weight

    @inline
    def soft_target(call, t, c):
        return real(load(t + c * call.t_step)) if SOFT else real(0)

    @inline
    def mass_on(call, y, c):
        weight = real(weight_of_class(call, c)) if CLASS_WEIGHT else real(1)
        return class_target(y, weight, real(call.keep), real(call.spread))

    return soft_target, mass_on


#: Examples so few that every block of a plain kernel counts them all, which spares a launch.
FEW = 1024


@functools.cache
def counter(threads: int) -> Any:
    """Return the function that sums the weights of few examples, with the whole block.

    All blocks come to the same sum; the first leaves it where `finish` finds it.
    """
    index_of, total = examples_of(True).index, block_total(threads)

    @inline
    def count(call, board):
        part = 0.0
        i = thread_number()
        while i < call.last:
            if index_of(call, i) != call.ignore_index:
                part += call.w_number
            i += threads
        divisor = total(part, board)
        if block_number() == 0 and thread_number() == 0:
            store_float64(call.weight_sums, divisor)
        return divisor

    return count


@functools.cache
def outer_factor(threads: int, counts: bool = False, derivatives: bool = True) -> Any:
    """Return the function that finds the factor of all derivatives, with the whole block.

    `counts`: it sums the weights of few examples itself, where `weight_count` is 0; that is all it
    does without derivatives.
    """
    add, count = adder(threads), counter(threads)

    @inline
    def outer(call, board):
        divisor = call.divisor
        if divisor != divisor:
            if counts and call.weight_count == 0:
                divisor = count(call, board)
            elif derivatives:
                divisor = add(call.weight_sums, call.weight_count, board)
        return call.upstream / divisor if divisor != 0.0 else 0.0

    return outer


# --- before the kernels over classes ----------------------------------------------------


@functools.cache
def scan_kernel() -> Kernel:
    """Return the kernel that sums the weights of the examples."""
    return Kernel(_make_scan, ClassCall, THREADS, "")


def _make_scan() -> Any:
    total = block_total(THREADS)
    weight_of, _, index_of, *_ = examples_of(False)

    def scan(call):
        """Leave each block's sum of weights in `weight_sums`."""
        board = cuda.shared.array(BOARD, BOARD_DTYPE)
        part = 0.0
        start = block_number() * THREADS + thread_number()
        for i in range(start, call.last, block_count() * THREADS):
            weight = weight_of(call, i)
            if call.t_size != NOT_INDICES:
                y = index_of(call, i)
                if y == call.ignore_index:
                    weight = 0.0
                elif is_class(call, y):
                    by_class = weight_of_class(call, y) if call.counts_class_weight != 0 else 1.0
                    weight = weight * by_class if weight != 0.0 else 0.0
            part += weight
        part = total(part, board)
        if thread_number() == 0:
            store_float64(call.weight_sums + 8 * block_number(), part)

    return scan


@functools.cache
def refuse_kernel() -> Kernel:
    """Return the kernel that looks for the first index that is no class."""
    return Kernel(_make_refuse, ClassCall, THREADS, "classes")


def _make_refuse() -> Any:
    index_of = examples_of(False).index

    @inline
    def is_bad(call, i):
        y = index_of(call, i)
        return y != call.ignore_index and not is_class(call, y)

    return make_refuse(inline(lambda call: call.last), is_bad)
