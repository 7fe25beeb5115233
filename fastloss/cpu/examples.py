"""What the kernels over classes share: their arguments, and the pass that prepares them.

It looks at every class index before anything is written, and sums the weights that a mean
divides by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.driver import ALL_GOOD
from fastloss.cpu.ir import make_read_record
from fastloss.cpu.memory import inline, load_float64, load_index, offset_of, poke_int64

#: In the place of the size of a class index: the targets are probabilities.
NOT_INDICES = 0

#: Examples that one chunk of `scan` looks at.
SCAN_CHUNK = 16384


@inline
def read_index(address, size, signed, layout, i):
    """The class index of example `i`."""
    return load_index(address + offset_of(layout, i, size), size, signed != 0)


@inline
def read_weight(address, layout, i):
    """The float64 of example `i`; 1 where there are no weights."""
    return load_float64(address + offset_of(layout, i, 8), 0) if address != 0 else 1.0


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
    t_signed: int
    ignore_index: int
    class_weight: int  # float64
    class_weight_real: int
    w: int
    w_layout: int
    u: int
    u_layout: int
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


_read_call = make_read_record(ClassCall)


@inline
def read_call(record):
    """The arguments that lie at `record`."""
    return _read_call(record)


@inline
def upstream_of(call, i):
    """The upstream gradient of example `i`."""
    return read_weight(call.u, call.u_layout, i)


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


def scan(record, chunk, slot):
    """Sum the weights of a chunk of examples; refuse the first index that is no class."""
    call = read_call(record)
    refused = ALL_GOOD
    total = 0.0
    first = chunk * SCAN_CHUNK
    for i in range(first, min(call.n, first + SCAN_CHUNK)):
        weight = read_weight(call.w, call.w_layout, i)
        if call.t_size != NOT_INDICES:
            y = read_index(call.t, call.t_size, call.t_signed, call.t_layout, i)
            if y == call.ignore_index:
                weight = 0.0
            elif y < 0 or y >= call.classes:
                refused = i if refused == ALL_GOOD else refused
            elif call.class_weight != 0:
                weight *= load_float64(call.class_weight, y)
        total += weight
    poke_int64(slot, 0, refused)
    return total


@functools.cache
def scan_kernel() -> Kernel:
    """Return the kernel that looks at the examples before anything is written."""
    return Kernel(lambda: scan)


def class_kernel(chunk: Callable[..., Any]) -> Callable[..., Any]:
    """Build a kernel around `chunk(call, outer, first, last)`, which computes those examples.

    It writes their derivatives, times `outer`, and their losses where one per example is
    wanted, and returns the sum of their losses.
    """

    def compute(record, c, slot):
        call = read_call(record)
        first = c * call.per_chunk
        return chunk(call, load_float64(slot, 0), first, min(call.n, first + call.per_chunk))

    return compute
