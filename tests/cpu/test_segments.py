"""Rows that lie one after the other: their sums, numbers spread over them, multiples of them."""

import numpy as np
import pytest
from numba import njit

from fastloss.cpu.memory import STORAGE
from fastloss.cpu.segments import VECTOR_BYTES, scale_rows, spread_rows, sum_rows
from tests.helpers import EPS, FLOAT32, FLOAT64

#: Around every number of whole vectors that a row may have.
CLASSES = (*range(1, 20), 31, 32, 33, 100)
ROWS = (1, 2, 7, 16, 33)
UNTOUCHED = 77.0

#: How many numbers, or rows of them, a line goes on: more than the vectors of a kernel reach.
ROOM = 17 * VECTOR_BYTES


@pytest.fixture(scope="module", params=[FLOAT32, FLOAT64], ids=str)
def rows(request):
    """The dtype, and the three functions for addresses of its numbers."""
    dtype = request.param
    size, _, _, peek, poke = STORAGE[dtype.name]
    like = dtype.type(0)

    @njit
    def sums(line, m, classes, out):
        sum_rows(line, m, classes, size, out, like)

    @njit
    def spread(numbers, m, classes, line):
        spread_rows(numbers, m, classes, size, line, peek)

    @njit
    def scale(line, numbers, m, classes, target):
        scale_rows(line, numbers, m, classes, size, target, peek, poke)

    return dtype, sums, spread, scale


def line(dtype, values, room):
    """A line that goes on, as those of the kernels do."""
    values = np.asarray(values, dtype).ravel()
    return np.concatenate([values, np.full(room, UNTOUCHED, dtype)])


def each_size(rng, dtype):
    """(m, classes, m numbers, m rows of numbers)."""
    for classes in CLASSES:
        for m in ROWS:
            yield m, classes, rng.random(m).astype(dtype), rng.random((m, classes))


def test_sums(rows, rng):
    dtype, sums, _, _ = rows
    for m, classes, _, numbers in each_size(rng, dtype):
        given, out = line(dtype, numbers, ROOM * classes), line(dtype, np.zeros(m), ROOM)
        sums(given.ctypes.data, m, classes, out.ctypes.data)
        expected = given[: m * classes].reshape(m, classes).astype(float).sum(1)
        # Of positive numbers: at most 11 additions follow one another, each rounds by half an eps.
        np.testing.assert_allclose(out[:m], expected, 6 * EPS[dtype])


def test_spread(rows, rng):
    dtype, _, spread, _ = rows
    for m, classes, numbers, _ in each_size(rng, dtype):
        out = line(dtype, np.zeros((m, classes)), ROOM)
        spread(numbers.ctypes.data, m, classes, out.ctypes.data)
        np.testing.assert_array_equal(out[: m * classes].reshape(m, classes).T, [numbers] * classes)


def test_scale(rows, rng):
    """The target may be an array of the caller's: behind the last row nothing is written."""
    dtype, _, _, scale = rows
    for m, classes, numbers, given in each_size(rng, dtype):
        target = line(dtype, np.zeros((m, classes)), 3)
        source = line(dtype, given, VECTOR_BYTES)
        expected = source[: m * classes].reshape(m, classes) * numbers[:, None]
        scale(source.ctypes.data, numbers.ctypes.data, m, classes, target.ctypes.data)
        np.testing.assert_array_equal(target[: m * classes].reshape(m, classes), expected)
        np.testing.assert_array_equal(target[m * classes :], UNTOUCHED)
