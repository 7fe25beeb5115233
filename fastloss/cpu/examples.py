"""What the kernels over classes share: their arguments, and the pass that prepares them.

It looks at every class index before anything is written, and sums the weights that a mean
divides by.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from fastloss.cpu.compile import Kernel
from fastloss.cpu.driver import ALL_GOOD
from fastloss.cpu.ir import least, make_read_record
from fastloss.cpu.memory import STORAGE, load_float64, load_int64, poke_int64
from fastloss.dtypes import real_dtype
from fastloss.elementary import inline, jitable
from fastloss.variant import ClassVariant, RowVariant

#: Examples that one chunk of `scan` looks at.
SCAN_CHUNK = 16384


class ClassCall(NamedTuple):
    """The arguments of a kernel over classes.

    Arrays are addresses. x are the predictions, t the targets, w the example weights, u the
    upstream gradient, g the gradient, h the hessian; `_layout` is the record of the examples,
    `_row` that of the classes of one, `_step` the bytes from class to class. Class indices
    (int64), w and u (float64) are rows, with one entry for each example; w and u are missing
    where neither is given. The addresses come first: all else is the same from call to call.
    """

    loss: int
    g: int
    h: int
    x: int
    t: int
    class_weight: int  # float64
    class_weight_real: int
    w: int
    u: int
    n: int
    classes: int
    per_tile: int
    per_chunk: int
    x_step: int
    x_layout: int
    x_row: int
    t_step: int
    t_layout: int
    t_row: int
    g_step: int
    g_layout: int
    g_row: int
    h_step: int
    h_layout: int
    h_row: int
    ignore_index: int
    counts_class_weight: int
    options: int  # a row of the predictions' real: the parameters of a `RowSpec`
    keep: float
    spread: float
    z_loss: float
    logit_scale: float
    logit_softcap: float


#: How many of the fields, the first ones, are addresses of arrays.
ARRAYS = 9

#: read_call(record): the arguments that lie at `record`.
read_call = make_read_record("read_call", __name__, ClassCall, ARRAYS)


@inline
def read_chunk(record, chunk, slot):
    """(arguments, factor of the derivatives, first example, the one after the last)."""
    call = read_call(record)
    first = chunk * call.per_chunk
    return call, load_float64(slot, 0), first, least(call.n, first + call.per_chunk)


@inline
def entry_of(row, i):
    """Entry `i` of a row of float64; 1 where there is none."""
    return load_float64(row, i) if row != 0 else 1.0


@inline
def target_of(call, i, soft):
    """(class index or -1, weight of the index, weight of the example); ignored: weight 0."""
    if soft:
        return np.int64(-1), 0.0, entry_of(call.w, i)
    y = load_int64(call.t, i)
    if y == call.ignore_index:
        return np.int64(-1), 0.0, 0.0
    return y, call.keep * entry_of(call.class_weight, y), entry_of(call.w, i)


def make_write_zeros(variant: ClassVariant | RowVariant) -> Any:
    """Make the function (classes, g, h) that clears the derivatives of an example."""
    store = STORAGE[variant.predictions].store
    real = real_dtype(variant.predictions).type
    _, GRAD, HESS, _ = variant.outputs

    @jitable
    def write_zeros(classes, g, h):
        for c in range(classes):
            if GRAD:
                store(g, c, real(0))
            if HESS:
                store(h, c, real(0))

    return write_zeros


# --- before anything is written ---------------------------------------------------------


def scan(record, chunk, slot):
    """Sum the weights of a chunk of examples; refuse the first index that is no class."""
    call = read_call(record)
    first = chunk * SCAN_CHUNK
    last = least(call.n, first + SCAN_CHUNK)
    ignored, refused = 0, call.n
    for i in range(first, last):
        y = load_int64(call.t, i)
        dropped = y == call.ignore_index
        good = dropped | ((y >= 0) & (y < call.classes))
        refused = least(refused, call.n if good else i)
        ignored += 1 if dropped else 0
    total = np.float64(last - first - ignored)
    by_class = call.class_weight if call.counts_class_weight != 0 else 0
    if refused == call.n and (call.w != 0 or by_class != 0):
        total = 0.0
        for i in range(first, last):
            y = load_int64(call.t, i)
            weight = entry_of(call.w, i) if y != call.ignore_index else 0.0
            # An infinite class weight beside a weight of 0 must not count.
            if weight != 0.0:
                total += weight * entry_of(by_class, y)
    poke_int64(slot, 0, refused if refused < call.n else ALL_GOOD)
    return total


@functools.cache
def scan_kernel() -> Kernel:
    """Return the kernel that looks at the examples before anything is written."""
    return Kernel(lambda: scan, "")
