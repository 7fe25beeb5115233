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
        for i in range(c * CHUNK, min(n, (c + 1) * CHUNK)):
            target[i] = source[i]


@njit(parallel=True, fastmath={"reassoc", "contract"})
def read(source: np.ndarray) -> float:
    """Load every element."""
    n = source.size
    chunks = (n + CHUNK - 1) // CHUNK
    sums = np.zeros(chunks, source.dtype)
    for c in prange(chunks):
        part = source.dtype.type(0)
        for i in range(c * CHUNK, min(n, (c + 1) * CHUNK)):
            part += source[i]
        sums[c] = part
    return sums.sum()


@njit(parallel=True, fastmath={"reassoc", "contract"})
def triad(a: np.ndarray, b: np.ndarray, target: np.ndarray) -> None:
    """Load two arrays, store one: the traffic of an element-wise loss with its gradient."""
    n = a.size
    for c in prange((n + CHUNK - 1) // CHUNK):
        for i in range(c * CHUNK, min(n, (c + 1) * CHUNK)):
            target[i] = a[i] - b[i]
