"""The elementary functions that formulas use on a part of the range, in units in the last place.

float32 is judged by float64 NumPy, float64 by mpmath.
"""

import mpmath
import numpy as np
import pytest
from numba import njit

import fastloss.jit  # noqa: F401  (gives the functions their implementations)
from fastloss import elementary
from tests.helpers import FLOAT32, FLOAT64, each

clamped_log_unit, clamped_log1m_unit = elementary.clamped_log_unit, elementary.clamped_log1m_unit
log1p_unit, log_of_sum = elementary.log1p_unit, elementary.log_of_sum
decay, expm1_nonpositive = elementary.decay, elementary.expm1_nonpositive

#: Of numbers from 0 to 1, and of 800 times as much; each with the error that is allowed.
NAMES = ("clamped_log_unit", "clamped_log1m_unit", "log1p_unit", "decay", "expm1_nonpositive")
ULPS = (1.0, 1.0, 1.6, 1.0, 2.0)

#: In float32: what is looked up in a table is rounded before it is multiplied, or added to.
ULPS_32 = (1.15, 1.3, 1.6, 1.25, 2.0)
SPREAD = 800.0


@njit
def apply(x, out):
    spread = elementary.const(-800.0, x[0])
    for i in range(x.size):
        out[0, i] = clamped_log_unit(x[i])
        out[1, i] = clamped_log1m_unit(x[i])
        out[2, i] = log1p_unit(x[i])
        out[3, i] = decay(spread * x[i])
        out[4, i] = expm1_nonpositive(spread * x[i])


@njit
def sums(x, rest, out):
    for i in range(x.size):
        out[i] = log_of_sum(x[i], rest[i])


def results(x):
    out = np.empty((5, x.size), x.dtype)
    apply(x, out)
    return out


def unit_numbers(rng, dtype, count):
    """From 0 to 1, many of them near either end; the smallest is subnormal."""
    info = np.finfo(dtype)
    near_0 = 2.0 ** rng.uniform(np.log2(info.tiny) - info.nmant, 0, count)
    near_1 = 1 - 2.0 ** rng.uniform(-info.nmant - 1, 0, count)
    ends = [0.0, 1.0, info.smallest_subnormal, info.tiny, info.eps, 0.5, 0.41421356, 1 - info.eps]
    return np.concatenate([near_0, near_1, rng.uniform(size=count), ends]).astype(dtype)


def ulp(exact, dtype):
    return np.maximum(np.spacing(np.abs(exact).astype(dtype)).astype(float), 0.0)


def test_float32(rng):
    x = unit_numbers(rng, FLOAT32, 300_000)
    wide, far = x.astype(float), -np.float32(SPREAD) * x
    with np.errstate(divide="ignore"):
        expected = (
            np.maximum(np.log(wide), -100.0),
            np.maximum(np.log1p(-wide), -100.0),
            np.log1p(wide),
            np.exp(far.astype(float)),
            np.expm1(far.astype(float)),
        )
    for name, got, exact, allowed in zip(NAMES, results(x), expected, ULPS_32, strict=True):
        error = np.abs(got - exact) / ulp(exact, FLOAT32)
        worst = error.argmax()
        assert error[worst] <= allowed, f"{name}: {error[worst]:.2f} ulp at {x[worst]!r}"


def test_float64(rng):
    x = unit_numbers(rng, FLOAT64, 150)
    far = -SPREAD * x
    functions = (
        lambda v, w: max(mpmath.log(v), -100) if v else mpmath.mpf(-100),
        lambda v, w: max(mpmath.log1p(-v), -100) if v < 1 else mpmath.mpf(-100),
        lambda v, w: mpmath.log1p(v),
        lambda v, w: mpmath.exp(w),
        lambda v, w: mpmath.expm1(w),
    )
    with mpmath.workdps(60):
        for name, got, exact_at, allowed in zip(NAMES, results(x), functions, ULPS, strict=True):
            for value, beyond, answer in zip(x, far, got, strict=True):
                exact = exact_at(mpmath.mpf(float(value)), mpmath.mpf(float(beyond)))
                unit = max(np.spacing(abs(float(exact))), 2.0**-1074)
                error = abs(mpmath.mpf(float(answer)) - exact) / mpmath.mpf(float(unit))
                assert error <= allowed, f"{name}: {float(error):.2f} ulp at {value!r}"


@each("dtype", [FLOAT32, FLOAT64])
def test_ends(dtype):
    """Both clamps, and nan, which no formula may lose."""
    got = results(np.array([0.0, 1.0, np.nan], dtype))
    np.testing.assert_array_equal(got[0], np.array([-100, 0, np.nan], dtype))
    np.testing.assert_array_equal(got[1], np.array([0, -100, np.nan], dtype))
    assert np.isnan(got[:, 2]).all()


@each("dtype", [FLOAT32, FLOAT64])
def test_log_of_sum(dtype, rng):
    """Beside 1 the rest is all there is; at the ends it is not looked at."""
    d = (rng.uniform(-1, 1, 20_000) * 2.0 ** rng.uniform(-40, -1, 20_000)).astype(dtype)
    x = dtype.type(1) + d
    got = np.empty_like(x)
    sums(x, d - (x - dtype.type(1)), got)
    exact = np.log1p(d.astype(float))
    assert (np.abs(got - exact) <= 2 * ulp(exact, dtype)).all()
    ends = np.array([0, -0.0, np.inf, -1, np.nan, np.finfo(dtype).max], dtype)
    rest = np.array([0, 0, np.nan, 0, 0, 0], dtype)
    got = np.empty_like(ends)
    sums(ends, rest, got)
    with np.errstate(all="ignore"):
        # As close as the others above: one of the ends is a number, the largest of the dtype.
        np.testing.assert_allclose(got, np.log(ends), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", NAMES)
def test_plain_python(name):
    """The stubs are ordinary functions."""
    at = -0.25 if name == "expm1_nonpositive" else 0.25
    expected = {
        "clamped_log_unit": np.log(0.25),
        "clamped_log1m_unit": np.log(0.75),
        "log1p_unit": np.log(1.25),
        "decay": np.exp(-0.25),
        "expm1_nonpositive": np.expm1(-0.25),
    }[name]
    np.testing.assert_allclose(getattr(elementary, name)(at), expected, rtol=1e-15)
