"""What the memory system allows: reading, copying and combining the same bytes, in parallel."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

CHUNK = 32768


@njit(parallel=True, fastmath={"reassoc", "contract"})
def copy(source: np.ndarray, target: np.ndarray) -> None:
    """Load and store every element: what memcpy costs a user."""
    n = source.size
    for c in prange((n + CHUNK - 1) // CHUNK):
        part, place = source[c * CHUNK : (c + 1) * CHUNK], target[c * CHUNK : (c + 1) * CHUNK]
        for i in range(part.size):
            place[i] = part[i]


@njit(parallel=True, fastmath={"reassoc", "contract"})
def read(source: np.ndarray) -> float:
    """Load every element."""
    n = source.size
    chunks = (n + CHUNK - 1) // CHUNK
    sums = np.zeros(chunks, source.dtype)
    for c in prange(chunks):
        total = source.dtype.type(0)
        part = source[c * CHUNK : (c + 1) * CHUNK]
        for i in range(part.size):
            total += part[i]
        sums[c] = total
    return sums.sum()


@njit(parallel=True, fastmath={"reassoc", "contract"})
def triad(a: np.ndarray, b: np.ndarray, target: np.ndarray) -> None:
    """Load two arrays, store one: the traffic of an element-wise loss with its gradient."""
    n = a.size
    for c in prange((n + CHUNK - 1) // CHUNK):
        here = slice(c * CHUNK, (c + 1) * CHUNK)
        x, y, z = a[here], b[here], target[here]
        for i in range(x.size):
            z[i] = x[i] - y[i]
