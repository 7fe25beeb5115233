"""What the memory allows: reading, copying and combining the same bytes, in parallel.

All see arrays as 64-bit integers: the bytes of any dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import get_num_threads, njit, prange
from numba.core import types
from numba.extending import intrinsic

from fastloss.cpu.threads import start_threads

#: Integers that a thread takes at a time: 256 KiB.
CHUNK = 32768

#: Integers in a vector of 64 bytes: the widest store there is, and a whole line of the cache.
LANES = 8


def threads() -> int:
    """Return how many threads the limits and fastloss use; the peers are given as many."""
    return start_threads()


def as_words(array: Any) -> Any:
    """Return the bytes of a contiguous array as 64-bit integers; None if they are no multiple."""
    return array.reshape(-1).view(np.int64) if array.nbytes % 8 == 0 else None


@njit(parallel=True)
def copy(source, target):
    """Load and store every element: what memcpy costs a user."""
    n = source.size
    for c in prange((n + CHUNK - 1) // CHUNK):
        part, place = source[c * CHUNK : (c + 1) * CHUNK], target[c * CHUNK : (c + 1) * CHUNK]
        for i in range(part.size):
            place[i] = part[i]


@njit(parallel=True)
def read(source):
    """Load every element."""
    n = source.size
    chunks = (n + CHUNK - 1) // CHUNK
    sums = np.zeros(chunks, np.int64)
    for c in prange(chunks):
        part = source[c * CHUNK : (c + 1) * CHUNK]
        total = 0
        for i in range(part.size):
            total ^= part[i]
        sums[c] = total
    return sums.sum()


@njit(parallel=True)
def triad(a, b, target):
    """Load two arrays, store one: the traffic of an element-wise loss with its gradient."""
    n = a.size
    for c in prange((n + CHUNK - 1) // CHUNK):
        here = slice(c * CHUNK, (c + 1) * CHUNK)
        x, y, z = a[here], b[here], target[here]
        for i in range(x.size):
            z[i] = x[i] + y[i]


# --- the best that the machine can do: stores that bypass the caches ------------------------


def _vector(builder, address, index):
    byte = builder.add(address, builder.mul(index, ir.Constant(ir.IntType(64), 8)))
    kind = ir.VectorType(ir.IntType(64), LANES)
    return builder.inttoptr(byte, kind.as_pointer())


def _stream_out(builder, value, target, index):
    """Store a vector, aligned, with the hint that turns it into `vmovntps` and its like.

    On scalar stores the hint gives scalar instructions, which are slow.
    """
    store = builder.store(value, _vector(builder, target, index), align=64)
    one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
    store.set_metadata("nontemporal", one)


@intrinsic
def stream_copy(typingctx, source, target, index):
    """target[index : index + LANES] = source[index : index + LANES]."""

    def codegen(context, builder, signature, args):
        source, target, index = args
        value = builder.load(_vector(builder, source, index), align=8)
        _stream_out(builder, value, target, index)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def stream_add(typingctx, a, b, target, index):
    """target[index : index + LANES] = a[index : index + LANES] + b[index : index + LANES]."""

    def codegen(context, builder, signature, args):
        a, b, target, index = args
        x = builder.load(_vector(builder, a, index), align=8)
        y = builder.load(_vector(builder, b, index), align=8)
        _stream_out(builder, builder.add(x, y), target, index)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@njit
def share(n, first, thread, threads):
    """Return the part (start, stop) of a thread, in whole vectors from element `first` on."""
    vectors = (n - first) // LANES
    start, stop = vectors * thread // threads, vectors * (thread + 1) // threads
    return first + start * LANES, first + stop * LANES


@njit
def first_aligned(target):
    """Return the first element of `target` at which a line of the cache begins."""
    return min((-target.ctypes.data % 64) // 8, target.size)


@njit(parallel=True)
def best_copy(source, target):
    """Copy with vector stores past the caches, one stretch of memory per thread."""
    n, threads, first = source.size, get_num_threads(), first_aligned(target)
    for thread in prange(threads):
        start, stop = share(n, first, thread, threads)
        for i in range(start, stop, LANES):
            stream_copy(source.ctypes.data, target.ctypes.data, i)
    _, end = share(n, first, threads - 1, threads)
    target[:first] = source[:first]
    target[end:] = source[end:]


@njit(parallel=True)
def best_triad(a, b, target):
    """Triad with vector stores past the caches, one stretch of memory per thread."""
    n, threads, first = a.size, get_num_threads(), first_aligned(target)
    for thread in prange(threads):
        start, stop = share(n, first, thread, threads)
        for i in range(start, stop, LANES):
            stream_add(a.ctypes.data, b.ctypes.data, target.ctypes.data, i)
    _, end = share(n, first, threads - 1, threads)
    target[:first] = a[:first] + b[:first]
    target[end:] = a[end:] + b[end:]
