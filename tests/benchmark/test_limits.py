"""The limits do what they are said to do, at every length and alignment."""

import numpy as np
import pytest

from fastloss.benchmark import limits


@pytest.mark.parametrize("n", [1, 7, 8, 37, 1000, 70_001])
@pytest.mark.parametrize("offset", [0, 1, 5])
@pytest.mark.parametrize("copy", [limits.copy, limits.best_copy], ids=["plain", "best"])
def test_copies(copy, n, offset):
    rng = np.random.default_rng(0)
    source = rng.integers(-(2**62), 2**62, n)
    around = np.zeros(n + offset + 9, np.int64)
    copy(source, around[offset : offset + n])
    assert np.array_equal(around[offset : offset + n], source)
    assert not around[:offset].any() and not around[offset + n :].any()


@pytest.mark.parametrize("n", [1, 37, 70_001])
@pytest.mark.parametrize("triad", [limits.triad, limits.best_triad], ids=["plain", "best"])
def test_triads(triad, n):
    a, b, target = np.arange(n), np.arange(n) * 3, np.zeros(n + 5, np.int64)
    triad(a, b, target[5:])
    assert np.array_equal(target[5:], 4 * np.arange(n))
    assert not target[:5].any()


def test_read_sees_every_element():
    array = np.zeros(100_000, np.int64)
    array[[0, 40_000, 99_999]] = 1, 2, 4
    assert limits.read(array) == 7


def test_the_best_copy_bypasses_the_caches():
    """Otherwise the limit that is quoted would be the plain copy by another name."""
    limits.best_copy(np.zeros(64, np.int64), np.zeros(64, np.int64))
    assembly = "".join(limits.best_copy.inspect_asm().values())
    if "xmm" not in assembly:
        pytest.skip("the names of these instructions are those of x86")
    assert "movnt" in assembly


def test_arrays_are_seen_as_words_of_the_same_memory():
    array = np.zeros((3, 4), np.float32)
    limits.as_words(array)[0] = -1
    assert np.isnan(array[0, 0]) and np.isnan(array[0, 1]) and not array[0, 2]
    assert limits.as_words(np.zeros(3, np.float32)) is None
