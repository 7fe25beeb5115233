"""Time the ways in which a row of logits can become its loss and gradient.

Each is a bare float32 kernel without options, timed beside the others in one process; the
package has the one called "from zero". `bench/NOTES.md` says what came out and why.

Run: python -m bench.techniques
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import njit, prange
from numba.extending import register_jitable

from fastloss.benchmark.limits import as_words, copy
from fastloss.benchmark.measure import measure
from fastloss.cpu.chunks import CHUNK
from fastloss.cpu.compile import OPTIONS, vector_math
from fastloss.cpu.ir import larger, running_max, running_sum
from fastloss.cpu.memory import load_float32, peek_float32, poke_float32, store_float32
from fastloss.cpu.softmax_rows import BLOCK
from fastloss.elementary import exp_normal

SHAPES = ((256, 1000), (4096, 1000), (2048, 32000), (512, 128256))
BOUND_SHAPES = ((65536, 10), *SHAPES)

_single = np.float32
_inline = register_jitable(forceinline=True)


@_inline
def largest_of(x, n, largest):
    for c in range(n):
        largest = running_max(largest, load_float32(x, c))
    return largest


@_inline
def exponentials(x, e, first, n, m, keep):
    total = _single(0)
    for c in range(first, n):
        value = exp_normal(load_float32(x, c) - m)
        total = running_sum(total, value)
        if keep:
            store_float32(e, c, value)
    return total


@_inline
def exponentials_and_largest(x, e, n, m, ahead):
    total, largest = _single(0), _single(-np.inf)
    for c in range(n):
        value = exp_normal(load_float32(x, c) - m)
        total = running_sum(total, value)
        largest = running_max(largest, load_float32(ahead, c))
        store_float32(e, c, value)
    return total, largest


def make_kernel(
    *, kept: bool, scratch: bool = False, fused: bool = False, from_zero: bool = False
) -> Callable[..., Any]:
    """Make a kernel (logits, gradient, N, C) -> sum of the rows' log-sum-exp.

    `kept`: one exponential for each logit, else the gradient computes it again. `scratch`:
    kept there, else in the gradient. `fused`: the next block's maximum is found meanwhile.
    `from_zero`: nothing looks for maxima (the package does where that turns out to be needed).
    """

    @njit(parallel=True, **OPTIONS)
    def kernel(x, g, rows, classes):
        per_chunk = max(1, CHUNK // classes)
        chunks = (rows + per_chunk - 1) // per_chunk
        blocks = (classes + BLOCK - 1) // BLOCK
        sums = np.zeros(chunks)
        for chunk in prange(chunks):
            tops = np.empty(blocks, np.float32)
            room = np.empty(classes if scratch else 1, np.float32)
            last = min(rows, (chunk + 1) * per_chunk)
            first = x + chunk * per_chunk * classes * 4
            coming = largest_of(first, min(BLOCK, classes), _single(-np.inf))
            total = 0.0
            for i in range(chunk * per_chunk, last):
                row, out = x + i * classes * 4, g + i * classes * 4
                e = np.int64(room.ctypes.data) if scratch else out
                m, s = _single(-np.inf), 0.0
                for b in range(blocks):
                    here, n = row + b * BLOCK * 4, min(BLOCK, classes - b * BLOCK)
                    if fused:
                        new = max(m, coming)
                        left = classes - b * BLOCK - n if b + 1 < blocks else classes
                        left = left if b + 1 < blocks or i + 1 < last else 0
                        both = min(n, left)
                        ahead = here + n * 4
                        to = e + b * BLOCK * 4
                        part, coming = exponentials_and_largest(here, to, both, new, ahead)
                        part += exponentials(here, to, both, n, new, kept)
                        reach = min(BLOCK, left)
                        coming = largest_of(ahead + both * 4, reach - both, coming)
                    else:
                        new = _single(0) if from_zero else largest_of(here, n, m)
                        part = exponentials(here, e + b * BLOCK * 4, 0, n, new, kept)
                    s = s * math.exp(np.float64(m) - np.float64(new)) + np.float64(part)
                    m = new
                    tops[b] = m
                total += math.log(s) + np.float64(m)
                for b in range(blocks):
                    n = min(BLOCK, classes - b * BLOCK)
                    here, to = row + b * BLOCK * 4, out + b * BLOCK * 4
                    if kept:
                        factor = _single(math.exp(np.float64(tops[b]) - np.float64(m)) / s)
                        source = e + b * BLOCK * 4
                        for c in range(n):
                            poke_float32(to, c, peek_float32(source, c) * factor)
                    else:
                        factor = _single(1.0 / s)
                        for c in range(n):
                            value = exp_normal(load_float32(here, c) - m)
                            store_float32(to, c, value * factor)
            sums[chunk] = total
            room[0] = tops[0]  # both in use until here
        return sums.sum()

    return kernel


TECHNIQUES = {
    "computed twice": make_kernel(kept=False),
    "kept in scratch": make_kernel(kept=True, scratch=True),
    "kept in gradient": make_kernel(kept=True),
    "fused": make_kernel(kept=True, fused=True),
    "from zero": make_kernel(kept=True, from_zero=True),
}


@njit(parallel=True, **OPTIONS)
def exponentials_alone(x, e, size):
    """Sum and keep the exponentials of a flat array: no value with gradient is faster."""
    chunks = (size + CHUNK - 1) // CHUNK
    sums = np.zeros(chunks)
    for chunk in prange(chunks):
        start = chunk * CHUNK
        n = min(CHUNK, size - start)
        sums[chunk] = exponentials(x + start * 4, e + start * 4, 0, n, _single(0), True)
    return sums.sum()


def make_maximum(*, masked: bool) -> Callable[..., Any]:
    """Make a kernel that finds the maxima across examples, with and without masked stores."""

    @njit(**OPTIONS)
    def kernel(x, largest, classes, examples):
        for c in range(classes):
            line = x + c * examples * 4
            for i in range(examples):
                value = larger(load_float32(line, i), peek_float32(largest, i))
                poke_float32(largest, i, value if masked else value + _single(0))

    return kernel


def main() -> None:
    """Print a table of each."""
    vector_math()
    rng = np.random.default_rng(0)
    print("value and gradient, float32: milliseconds (times a plain parallel copy)")
    for shape in SHAPES:
        logits = rng.normal(size=shape).astype(np.float32)
        gradient = np.empty_like(logits)
        where = logits.ctypes.data, gradient.ctypes.data, *shape
        contest: dict[str, Callable[[], Any]] = {
            name: partial(kernel, *where) for name, kernel in TECHNIQUES.items()
        }
        expected = contest["computed twice"]()
        for name, call in contest.items():
            np.testing.assert_allclose(call(), expected, rtol=1e-6, err_msg=name)
        contest["copy"] = partial(copy, as_words(logits), as_words(np.empty_like(logits)))
        times = {name: timing.median for name, timing in measure(contest, 0.5).items()}
        shown = [f"{name} {1e3 * t:.3g} ({t / times['copy']:.2f})" for name, t in times.items()]
        print(f"{shape}: {', '.join(shown)}")

    print("exponentials alone: times a plain parallel copy")
    for shape in BOUND_SHAPES:
        logits = rng.normal(size=shape).astype(np.float32)
        kept = np.empty_like(logits)
        contest = {
            "exponentials": partial(
                exponentials_alone, logits.ctypes.data, kept.ctypes.data, logits.size
            ),
            "copy": partial(copy, as_words(logits), as_words(np.empty_like(logits))),
        }
        np.testing.assert_allclose(contest["exponentials"](), np.exp(logits).sum(), rtol=1e-4)
        times = {name: timing.median for name, timing in measure(contest, 0.5).items()}
        print(f"{shape}: {times['exponentials'] / times['copy']:.2f}")

    classes, examples = 40, 512
    logits = rng.normal(size=(classes, examples)).astype(np.float32)
    largest = np.zeros(examples, np.float32)
    where = logits.ctypes.data, largest.ctypes.data, classes, examples
    contest = {
        "masked stores": partial(make_maximum(masked=True), *where),
        "plain stores": partial(make_maximum(masked=False), *where),
    }
    print("maxima across examples: ns per logit")
    for name, timing in measure(contest, 0.5).items():
        print(f"{name}: {1e9 * timing.median / logits.size:.3f}")


if __name__ == "__main__":
    main()
