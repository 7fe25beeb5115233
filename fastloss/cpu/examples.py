"""What the kernels over classes share: their arguments, and the pass that prepares them.

It looks at every class index before anything is written, and sums the weights that a mean
divides by.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from fastloss.cpu.compile import Kernel
from fastloss.cpu.driver import ALL_GOOD
from fastloss.cpu.ir import make_read_record, out_of_line
from fastloss.cpu.memory import (
    address_of,
    fetch,
    inline,
    keep_alive,
    load_float64,
    load_index,
    offset_of,
    peek_float64,
    peek_int32,
    peek_int64,
    poke_float64,
    poke_int64,
)
from fastloss.cpu.vector import running_sum

#: In the place of the size of a class index: the targets are probabilities.
NOT_INDICES = 0

#: Examples that one chunk of `scan` looks at, and how many at a time.
SCAN_CHUNK = 16384
RUN = 1024


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
def read_chunk(record, chunk, slot):
    """(arguments, factor of the derivatives, first example, the one after the last)."""
    call = _read_call(record)
    first = chunk * call.per_chunk
    return call, load_float64(slot, 0), first, min(call.n, first + call.per_chunk)


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


# --- many examples at a time, in loops that vectorise -----------------------------------


@register_jitable
def widen(source, size, signed, n, line):
    """Write `n` integers of `size` bytes as int64."""
    out_of_line()
    if size == 8:
        for i in range(n):
            poke_int64(line, i, load_index(source + 8 * i, 8, signed))
    elif size == 4 and signed:
        for i in range(n):
            poke_int64(line, i, np.int64(peek_int32(source, i)))
    else:
        for i in range(n):
            poke_int64(line, i, load_index(source + size * i, size, signed))


@register_jitable
def read_indices(call, start, n, line, buffer):
    """Write the class indices of the examples start .. start + n to `line`; -1: none."""
    if call.t_size == NOT_INDICES:
        for i in range(n):
            poke_int64(line, i, np.int64(-1))
    else:
        source = fetch(call.t, call.t_layout, start, n, call.t_size, buffer)
        widen(source, call.t_size, call.t_signed != 0, n, line)


@register_jitable
def read_weights(address, layout, start, n, line, buffer):
    """Write the weights of the examples start .. start + n to `line`; 1 where there are none."""
    if address == 0:
        for i in range(n):
            poke_float64(line, i, 1.0)
    else:
        source = fetch(address, layout, start, n, 8, buffer)
        for i in range(n):
            poke_float64(line, i, load_float64(source, i))


@register_jitable
def drop_ignored(call, n, y, weight):
    """Give ignored examples the weight 0."""
    if call.t_size != NOT_INDICES:
        for i in range(n):
            ignored = peek_int64(y, i) == call.ignore_index
            poke_float64(weight, i, 0.0 if ignored else peek_float64(weight, i))


@register_jitable
def first_bad(call, n, y):
    """Index of the first that is neither a class nor ignored, or ALL_GOOD."""
    if call.t_size == NOT_INDICES:
        return ALL_GOOD
    bad = 0
    for i in range(n):
        index = peek_int64(y, i)
        good = (index == call.ignore_index) | ((index >= 0) & (index < call.classes))
        bad += 0 if good else 1
    if bad > 0:
        for i in range(n):
            index = peek_int64(y, i)
            if index != call.ignore_index and (index < 0 or index >= call.classes):
                return i
    return ALL_GOOD


def scan(record, chunk, slot):
    """Sum the weights of a chunk of examples; refuse the first index that is no class."""
    call = _read_call(record)
    scratch = np.empty(3 * 8 * RUN, np.uint8)
    y = address_of(scratch)
    weight, buffer = y + 8 * RUN, y + 16 * RUN
    refused = ALL_GOOD
    total = 0.0
    for start in range(chunk * SCAN_CHUNK, min(call.n, chunk * SCAN_CHUNK + SCAN_CHUNK), RUN):
        n = min(RUN, call.n - start)
        read_indices(call, start, n, y, buffer)
        bad = first_bad(call, n, y)
        if bad != ALL_GOOD:
            refused = start + bad
            break
        read_weights(call.w, call.w_layout, start, n, weight, buffer)
        drop_ignored(call, n, y, weight)
        if call.class_weight != 0 and call.t_size != NOT_INDICES:
            for i in range(n):
                by_class = load_float64(call.class_weight, max(peek_int64(y, i), 0))
                w = peek_float64(weight, i)
                poke_float64(weight, i, w * by_class if w != 0.0 else 0.0)
        for i in range(n):
            total = running_sum(total, peek_float64(weight, i))
    keep_alive(scratch)
    poke_int64(slot, 0, refused)
    return total


@functools.cache
def scan_kernel() -> Kernel:
    """Return the kernel that looks at the examples before anything is written."""
    return Kernel(lambda: scan, "")
