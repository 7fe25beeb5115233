"""The elementary functions of fastloss.jit, over the whole range, in units in the last place.

The bounds are the largest errors allowed anywhere, subnormal results included. float32 is judged
by float64 NumPy, float64 by mpmath.
"""

import functools
import warnings

import mpmath
import numpy as np
import pytest
from numba import njit

import fastloss.jit as fj
from tests.helpers import FLOAT32, FLOAT64, each
from tests.oracles import elementwise, precise

ULPS = {
    "exp": 1, "log": 1, "log1p": 2, "expm1": 2, "arctan": 2, "tanh": 3, "softplus": 3, "sigmoid": 3,
}  # fmt: skip

#: In float32: what is looked up in a table is rounded before it is multiplied, or added to.
ULPS_32 = ULPS | {"exp": 1.25, "log": 1.125}
FUNCTIONS = list(ULPS)

# Where formulas change hands, or the result leaves the normal range, in both dtypes.
CORNERS = [
    *(
        0.0,
        1.0,
        0.5,
        2.0,
        0.25,
        1e-3,
        1e-5,
        1e-8,
        1e-16,
        0.34,
        np.sqrt(2) - 1,
        np.sqrt(2) + 1,
        0.625,
        np.sqrt(0.5),
        np.sqrt(2),
    ),
    *(
        np.log(2),
        np.log(2) / 2,
        9.0,
        9.01,
        10.0,
        15.0,
        16.6,
        17.3,
        18.0,
        19.06,
        22.0,
        33.0,
        36.7,
        37.0,
    ),
    *(40.0, 50.0, 64.0, 80.0, 86.6, 87.3365, 88.0, 88.376, 88.7228, 89.4, 103.2, 103.9721, 104.0),
    *(
        126.5,
        127.5,
        128.0,
        200.0,
        707.0,
        708.3964,
        709.0896,
        709.7827,
        710.0,
        744.44,
        745.1332,
        746.0,
    ),
    *(800.0, 1000.0, 1e5, 1e10, 1e30),
]


@functools.cache
def _compiled(name):
    """An array loop around one function."""
    function = getattr(fj, name)

    @njit
    def apply(x):
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = function(x[i])
        return out

    return apply


def corners(dtype, spread=40):
    """Each corner, its neighbours on both sides, and their negatives.

    The smallest and largest numbers of the dtype.
    """
    info = np.finfo(dtype)
    edges = [
        *CORNERS,
        info.tiny,
        info.smallest_subnormal,
        info.max,
        info.eps,
        info.eps / 2,
        1 - info.eps,
        1 + info.eps,
    ]
    with np.errstate(over="ignore"):
        centre = np.array([e for e in edges if e <= info.max], dtype)
    bits = centre.view(f"i{dtype.itemsize}")[:, None] + np.arange(-spread, spread + 1)
    x = np.unique(bits[bits >= 0]).astype(f"i{dtype.itemsize}").view(dtype)
    return np.concatenate([x, -x])


def reference(name):
    """In float64, by NumPy."""
    return getattr(np, name, None) or getattr(elementwise, name)


@each("name", FUNCTIONS)
def test_float32_over_the_whole_range(name):
    """A million bit patterns out of all 2^32, nan and inf among them, and every corner."""
    stride = np.arange(0, 2**32, 4093, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.linspace(-120, 120, 1_000_003).astype(np.float32)
    x = np.concatenate([stride, near, corners(FLOAT32, 300)])
    got = _compiled(name)(x)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        exact = reference(name)(x.astype(np.float64))
        rounded = exact.astype(np.float32)
    special = ~np.isfinite(rounded)
    # Overflow may be off by the error allowed: one number below the first inf.
    edge = np.isinf(rounded) & np.isfinite(exact) | (got == np.inf) & (
        exact > 0.9999999 * np.finfo(np.float32).max
    )
    np.testing.assert_array_equal(got[special & ~edge], rounded[special & ~edge])
    check = ~special & ~edge
    ulp = np.exp2(np.maximum(np.floor(np.log2(np.maximum(np.abs(exact[check]), 1e-60))), -126) - 23)
    error = np.abs(got[check].astype(np.float64) - exact[check]) / ulp
    worst = error.argmax()
    assert error.max() <= ULPS_32[name], (
        f"{error.max():.3f} ulp at {x[check][worst]!r}: {got[check][worst]!r}"
    )


@each("name", FUNCTIONS)
def test_float64_against_mpmath(name, rng):
    """Corners, and points spread over the range in magnitude and evenly."""
    spread = np.concatenate(
        [
            rng.uniform(-40, 40, 700),
            rng.uniform(-750, 750, 500),
            10.0 ** rng.uniform(-320, 308, 300) * rng.choice([-1, 1], 300),
            10.0 ** rng.uniform(-20, 2, 700) * rng.choice([-1, 1], 700),
            1 + rng.uniform(-0.3, 0.5, 300),
            corners(FLOAT64, 1),
        ]
    )
    low = {"log": 0.0, "log1p": -1.0}.get(name, -np.inf)
    x = spread[spread > low]
    if name in ("exp", "expm1", "softplus", "sigmoid", "tanh"):
        x = x[
            np.abs(x) < 2000
        ]  # beyond: limits, tested below, and numbers that mpmath would need minutes for
    got = _compiled(name)(x)
    exact_at = precise.function(name)
    with mpmath.workdps(60):
        for value, answer in zip(x, got, strict=True):
            exact = exact_at(value)
            if exact > np.finfo(np.float64).max:
                assert answer == np.inf, value
                continue
            nearest = abs(float(exact))
            ulp = max(np.spacing(nearest), 2.0**-1074) if nearest < 1e308 else 2.0**971
            error = abs(mpmath.mpf(float(answer)) - exact) / mpmath.mpf(float(ulp))
            assert error <= ULPS[name], (
                f"{float(error):.3f} ulp at {value!r}: {answer!r}, exactly {float(exact)!r}"
            )


INF, NAN = np.inf, np.nan
LIMITS = {
    "exp": [(-INF, 0), (INF, INF), (0.0, 1), (-0.0, 1), (1000, INF), (-1000, 0), (NAN, NAN)],
    "log": [(0.0, -INF), (-0.0, -INF), (-1, NAN), (-INF, NAN), (INF, INF), (1, 0), (NAN, NAN)],
    "log1p": [(-1, -INF), (-2, NAN), (-INF, NAN), (INF, INF), (0.0, 0.0), (-0.0, -0.0), (NAN, NAN)],
    "expm1": [
        (-INF, -1),
        (INF, INF),
        (0.0, 0.0),
        (-0.0, -0.0),
        (-1000, -1),
        (1000, INF),
        (NAN, NAN),
    ],
    "arctan": [(-INF, -np.pi / 2), (INF, np.pi / 2), (0.0, 0.0), (-0.0, -0.0), (NAN, NAN)],
    "tanh": [(-INF, -1), (INF, 1), (0.0, 0.0), (-0.0, -0.0), (1e30, 1), (-1e30, -1), (NAN, NAN)],
    "softplus": [(-INF, 0), (INF, INF), (1e30, 1e30), (-1e30, 0), (NAN, NAN)],
    "sigmoid": [(-INF, 0), (INF, 1), (0, 0.5), (1e30, 1), (-1e30, 0), (NAN, NAN)],
}


@each("dtype", [FLOAT32, FLOAT64])
@each("name", FUNCTIONS)
def test_limits(name, dtype):
    """Exact at the ends, nan kept, the sign of zero kept where the function is odd."""
    x, expected = np.array(LIMITS[name]).T.astype(dtype)
    got = _compiled(name)(x)
    np.testing.assert_array_equal(got, expected)
    if name in ("log1p", "expm1", "arctan", "tanh"):
        zero = expected == 0
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))


@each("name", FUNCTIONS)
def test_result_keeps_the_dtype(name):
    """A float64 literal inside would compute float32 at half the speed."""
    function = getattr(fj, name)

    @njit
    def one(x):
        return function(x)

    for dtype in (np.float32, np.float64):
        one(dtype(0.5))
    assert [str(s.signature.return_type) for s in one.overloads.values()] == ["float32", "float64"]


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "log1p"])
def test_monotonic_near_the_corners(name):
    """A jump back where two formulas meet would be an error that no ulp bound of 3 shows."""
    x = np.sort(corners(FLOAT32, 40))
    x = x[x > 0] if name == "log" else x
    y = _compiled(name)(x).astype(np.float64)
    y = y[np.isfinite(y)]
    assert (np.diff(y) >= -2 * 2.0**-23 * np.abs(y[:-1])).all()


@each("name", FUNCTIONS)
def test_plain_python(name):
    """The stubs are ordinary Python functions, good for reading and for a debugger."""
    for x, expected in LIMITS[name]:
        got = getattr(fj, name)(float(x))
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(getattr(fj, name)(0.7), reference(name)(np.float64(0.7)), rtol=1e-15)
