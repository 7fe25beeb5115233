"""Tables that vectors are looked up in."""

import struct

import llvmlite.binding
import numpy as np
import pytest
from numba import njit

import fastloss.jit
from fastloss.cpu.float_bits import power_of_step, two_powers_of_step
from fastloss.cpu.logarithms import RECIPROCALS, log_near, reciprocal_near
from fastloss.cpu.lookup import ENTRIES
from tests.helpers import EPS, FLOAT32, each, run_python

FEATURES = llvmlite.binding.get_host_cpu_features()

#: From one look-up by itself to several vectors of the widest kind and what is left over.
COUNTS = (1, 3, 4, 7, 8, 15, 16, 47, 200)


@njit
def powers(x, out):
    for i in range(x.size):
        out[0, i] = power_of_step(x[i])
        first, second = two_powers_of_step(x[i])
        out[1, i], out[2, i] = first, second


@njit
def entries(m, out):
    for i in range(m.size):
        out[0, i], out[1, i] = reciprocal_near(m[i]), log_near(m[i])


@njit
def exponentials(x, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = fastloss.jit.exp(x[i, j])


@each("count", COUNTS)
def test_a_loop_of_users(count):
    """What is kept in registers from row to row outlives the look-ups of a row's last elements."""
    x = np.linspace(-80, 80, 5 * count, dtype=np.float32).reshape(5, count)
    out = np.empty_like(x)
    exponentials(x, out)
    # As in test_math.py: 1.25 ulp.
    np.testing.assert_allclose(out, np.exp(x.astype(float)), rtol=1.25 * EPS[FLOAT32])


@each("count", COUNTS)
def test_powers_of_eighths(count):
    """Exponents in eighths, with the bias of one and of two powers."""
    k = np.arange(count) * 7 % 2000 - 990
    out = np.empty((3, count), np.float32)
    powers((1.5 * 2.0**23 + ENTRIES * 127 + k).astype(np.float32), out)
    np.testing.assert_allclose(out[0], np.exp2(k / ENTRIES), rtol=2.0**-24)
    powers((1.5 * 2.0**23 + 2 * ENTRIES * 127 + k).astype(np.float32), out)
    np.testing.assert_allclose(out[1].astype(float) * out[2], np.exp2(k / ENTRIES), rtol=2.0**-24)
    mantissas, exponents = np.frexp(out[1])
    assert (mantissas == 0.5).all() and (abs(2 * (exponents - 1) - k / ENTRIES) <= 2).all()


@each("count", COUNTS)
def test_reciprocals_of_mantissas(count):
    """Each eighth has its own from its first number to its last."""
    first = 0x3F3504F3 + (np.arange(count) % ENTRIES << 20)
    expected = np.array(RECIPROCALS, np.float32)[np.arange(count) % ENTRIES].T
    for bits in (first, first + (1 << 19), first + (1 << 20) - 1):
        out = np.empty((2, count), np.float32)
        m = bits.astype(np.uint32).view(np.float32)
        entries(m, out)
        np.testing.assert_array_equal(out, expected)
        assert (abs(m * out[0] - 1) < 0.06).all()


def test_logarithms_of_reciprocals_are_exact():
    """To far below a rounding, with ln(2) added up to 2^7 times."""
    for c, log in RECIPROCALS:
        assert struct.unpack("f", struct.pack("f", c)) == (c,)
        assert abs(np.log(c) + log) < 2e-10
        assert log * 2**16 == round(log * 2**16)


@pytest.mark.skipif("avx" not in FEATURES, reason="the names of features are x86's")
@each("features", ["+sse2", "+sse2,+avx"])
def test_without_a_permutation(features, tmp_path):
    """Where the CPU has none, each lane is looked up by itself: the same numbers."""
    code = """
    import numpy as np
    import fastloss as fl
    z = np.linspace(-90, 90, 10_007).astype(np.float32)
    loss, grad = fl.binary_cross_entropy_with_logits.value_and_grad(z, np.full_like(z, 0.25))
    exact = z.astype(float)
    assert abs(loss - np.mean(np.logaddexp(0, exact) - 0.25 * exact)) < 2e-6
    assert abs(grad * z.size - (1 / (1 + np.exp(-exact)) - 0.25)).max() < 3e-7
    p = np.linspace(1, 1000, 10_007).astype(np.float32)
    grad = fl.msle.grad(p, np.zeros_like(p), reduction="sum")
    exact = p.astype(float)
    np.testing.assert_allclose(grad, 2 * np.log1p(exact) / (1 + exact), rtol=5e-7)
    """
    target = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features}
    run_python(code, NUMBA_CACHE_DIR=tmp_path, **target)
