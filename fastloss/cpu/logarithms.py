"""Logarithms on the CPU: log(m 2^k) = k ln(2) + log(m), with a table for m in float32.

The table has a c near 1 / m and its logarithm: log(m) = log(c m) - log(c), and c m is near 1.
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import overload

from fastloss import elementary
from fastloss.cpu.exponentials import (
    BIAS_32,
    BIAS_64,
    LN2_HI_32,
    LN2_HI_64,
    LN2_LO_32,
    LN2_LO_64,
    SHIFT_32,
    SHIFT_64,
)
from fastloss.cpu.float_bits import make_of_eighth, make_split_exponent, power_of_two
from fastloss.cpu.ir import add_as_is, at_least, at_most, divide, make_polynomial, muladd, pick
from fastloss.cpu.ir import cast_like as real
from fastloss.cpu.overloads import INLINE, by_precision, on_cpu
from fastloss.elementary import inline

# --- logarithms -------------------------------------------------------------------------


# --- of a mantissa ----------------------------------------------------------------------

#: (c, -log(c)) for each eighth of the mantissas: c m is near 1. The logarithm is a multiple of
#: 2^-16, so that k times the leading part of ln(2) is added to it exactly.
RECIPROCALS = (
    (1.3529560565948486, -0.3022918701171875),
    (1.2460402250289917, -0.219970703125),
    (1.1576331853866577, -0.1463775634765625),
    (1.0800375938415527, -0.076995849609375),
    (1.0, 0.0),
    (0.9086782932281494, 0.09576416015625),
    (0.8152427077293396, 0.2042694091796875),
    (0.7415284514427185, 0.299041748046875),
)
reciprocal_near = make_of_eighth("reciprocal_near", __name__, [c for c, _ in RECIPROCALS])
log_near = make_of_eighth("log_near", __name__, [log for _, log in RECIPROCALS])

#: (log(1 + r) - r) / r^2 for what is left, |r| < 0.06.
LOG_Q_32 = (
    2.0048003354398172128e-1,
    -2.5055999343161493989e-1,
    3.333331320996242021e-1,
    -4.9999976524922998998e-1,
)
log_q = make_polynomial("log_q", __name__, single=LOG_Q_32)

#: fdlibm e_log.c: what is left of log(1 + f), by the square of s = f / (2 + f).
log_r = make_polynomial(
    "log_r",
    __name__,
    double=(
        1.479819860511658591e-01,
        1.531383769920937332e-01,
        1.818357216161805012e-01,
        2.222219843214978396e-01,
        2.857142874366239149e-01,
        3.999999999940941908e-01,
        6.666666666666735130e-01,
    ),
)


@inline
def log_reduced_32(m, c, rest, k):
    """log(m) + k LN2_HI + rest, where c is near 1 / m and `rest` is next to nothing."""
    r = muladd(m, c, real(-1.0, m))
    tail = muladd(log_q(r), r * r, rest)
    return muladd(k, real(LN2_HI_32, m), log_near(m)) + (r + tail)


@inline
def log_reduced_64(f, k):
    """log(1 + f) + k ln(2)."""
    s = divide(f, 2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    tail = muladd(s, muladd(log_r(z), z, half_square), k * LN2_LO_64)
    return k * LN2_HI_64 - ((half_square - tail) - f)


def log_mantissa_32(m, k):
    return log_reduced_32(m, reciprocal_near(m), k * real(LN2_LO_32, m), k)


def log_mantissa_64(m, k):
    return log_reduced_64(m - 1.0, k)


@by_precision(log_mantissa_32, log_mantissa_64)
def log_mantissa(m, k):
    """log(m) + k ln(2) for m in [sqrt(1/2), sqrt(2))."""


def log_mantissa_of_sum_32(m, rest, k):
    c = reciprocal_near(m)
    return log_reduced_32(m, c, muladd(rest, c, k * real(LN2_LO_32, m)), k)


def log_mantissa_of_sum_64(m, rest, k):
    return log_reduced_64((m - 1.0) + rest, k)


@by_precision(log_mantissa_of_sum_32, log_mantissa_of_sum_64)
def log_mantissa_of_sum(m, rest, k):
    """log(m + rest) + k ln(2), where `rest` is what the rounding of m took away."""


# --- of any number ----------------------------------------------------------------------

split_exponent = make_split_exponent("split_exponent", __name__)

# What brings subnormal numbers into the normal range, and back.
LIFT_32, LIFT_64 = 25, 54
split_lifted = make_split_exponent("split_lifted", __name__, LIFT_32, LIFT_64)


@inline
def pow2(n):
    """2^n for an integral n in the normal range; 0 at one below it."""
    return power_of_two(add_as_is(n, pick(SHIFT_32 + BIAS_32, SHIFT_64 + BIAS_64, n)))


@inline
def split(x):
    """(m, k) with x = m * 2^k, for x > 0."""
    tiny = x < pick(1.17549435e-38, 2.2250738585072014e-308, x)
    m, k = split_exponent(x * pick(2.0**LIFT_32, 2.0**LIFT_64, x) if tiny else x)
    return m, k - real(pick(LIFT_32, LIFT_64, x), x) if tiny else k


@inline
def log_at_ends(x, y):
    """`y`, or the logarithm of x where x is not positive or not finite."""
    zero = real(0.0, x)
    y = x if x == real(np.inf, x) else y
    y = y if x > zero else real(np.nan, x)
    return real(-np.inf, x) if x == zero else y


@on_cpu(elementary.log)
def log(x):
    m, k = split(x)
    return log_at_ends(x, log_mantissa(m, k))


@inline
def log_normal(x):
    """log(x) of a positive normal number; for anything else, any number."""
    m, k = split_exponent(x)
    return log_mantissa(m, k)


@inline
def log_of_sum_inside(x, rest):
    m, k = split(x)
    # Beyond these powers, `rest` is nothing beside x.
    scale = pow2(at_least(at_most(-k, real(64.0, x)), real(-64.0, x)))
    return log_mantissa_of_sum(m, rest * scale, k)


@overload(elementary.log_of_sum, target="cpu", jit_options=INLINE)
def _log_of_sum(x, rest):
    if isinstance(x, types.Float):
        return lambda x, rest: log_at_ends(x, log_of_sum_inside(x, rest))
    return None


@on_cpu(elementary.log1p)
def log1p(x):
    one = real(1.0, x)
    u = one + x
    y = log_at_ends(u, log_of_sum_inside(u, x - (u - one)))
    return x if x == real(0.0, x) else y  # keeps the sign of zero


@on_cpu(elementary.clamped_log_unit)
def clamped_log_unit(x):
    # 0 comes out below the bound.
    m, k = split_lifted(x * pick(2.0**LIFT_32, 2.0**LIFT_64, x))
    k = muladd(x, real(0.0, x), k)  # nan if x is
    return at_least(log_mantissa(m, k), real(-100.0, x))


@on_cpu(elementary.clamped_log1m_unit)
def clamped_log1m_unit(x):
    one = real(1.0, x)
    u = one - x
    m, k = split_lifted(u * pick(2.0**LIFT_32, 2.0**LIFT_64, x))
    # (Nothing is taken away where u is 0, and 2^-k is finite there.)
    y = log_mantissa_of_sum(m, ((one - u) - x) * pow2(-k), k)
    return at_least(y, real(-100.0, x))


#: (log(1 + x) - x) / x^2 on [0, 1].
log1p_q = make_polynomial(
    "log1p_q",
    __name__,
    single=(
        2.8016419928e-3,
        -1.71842669824e-2,
        4.93099734345e-2,
        -9.13941377401e-2,
        1.30333642382e-1,
        -1.63651528692e-1,
        1.99567079523e-1,
        -2.49967599083e-1,
        3.33332373462e-1,
        -4.99999995222e-1,
    ),
)


def log1p_within_32(x):
    return muladd(log1p_q(x), x * x, x)


def log1p_within_64(x):
    # Above sqrt(2) - 1: log(1 + x) = log(1 + (x - 1) / 2) + ln(2).
    upper = x > 0.41421356
    return log_reduced_64(0.5 * x - 0.5 if upper else x, 1.0 if upper else 0.0)


@by_precision(log1p_within_32, log1p_within_64)
def log1p_within(x):
    """log(1 + x) for 0 <= x <= 1."""


@on_cpu(elementary.log1p_unit)
def log1p_unit(x):
    return log1p_within(x)
