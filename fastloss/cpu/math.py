"""The elementary functions on the CPU: plain arithmetic that LLVM turns into vector code.

SVML is gone from Numba, and a call of the C library does not vectorise. Each function is
written once and compiled for float32 and float64; only the constants differ. Polynomials:
`tools/fit_polynomials.py` (exp, expm1, float32 log1p on [0, 1]), Cephes (float32 log and arctan),
fdlibm (the same in float64).
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import overload

from fastloss import elementary
from fastloss.cpu.ir import (
    add_as_is,
    at_least,
    at_most,
    choose,
    divide,
    make_polynomial,
    make_split_exponent,
    muladd,
    pick,
    power_of_two,
    root,
    two_powers_of_two,
)
from fastloss.cpu.ir import cast_like as real
from fastloss.elementary import inline

# A call that LLVM finds too large to inline would keep the loop around it scalar.
INLINE = {"forceinline": True}


def on_cpu(stub):
    """Make `choose(x)` the CPU implementation of `stub`, for a float32 or float64 argument.

    Integers and booleans are taken as float64.
    """

    def register(implementation):
        def choose(x):
            if isinstance(x, types.Float):
                return implementation
            if isinstance(x, types.Integer | types.Boolean):
                return lambda x: implementation(np.float64(x))
            return None

        overload(stub, target="cpu", jit_options=INLINE)(choose)
        return inline(implementation)

    return register


@overload(elementary.const, target="cpu", jit_options=INLINE)
def _const(value, like):
    if isinstance(like, types.Float):
        return lambda value, like: real(value, like)
    return lambda value, like: float(value)


# --- exponentials -----------------------------------------------------------------------

LOG2_E = 1.4426950408889634
# ln(2) in two parts. The first has trailing zeros, so n * LN2_HI is exact.
LN2_HI_32, LN2_LO_32 = 0.693359375, -2.12194440e-4
LN2_HI_64, LN2_LO_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10

# Added to a number that is small beside it, this rounds it to an integer, which then stands in the
# lowest bits of the sum, together with the bias of an exponent.
BIAS_32, BIAS_64 = 127.0, 1023.0
SHIFT_32, SHIFT_64 = 1.5 * 2.0**23 + BIAS_32, 1.5 * 2.0**52 + BIAS_64


@inline
def reduce_exp(x, shift):
    """(n + shift, r) with x = n ln(2) + r and |r| <= ln(2) / 2."""
    shifted = muladd(x, real(LOG2_E, x), shift)
    n = add_as_is(shifted, -shift)
    r = muladd(n, pick(-LN2_HI_32, -LN2_HI_64, x), x)
    return shifted, muladd(n, pick(-LN2_LO_32, -LN2_LO_64, x), r)


@inline
def pow2(n):
    """2^n for an integral n in the normal range; 0 at one below it."""
    return power_of_two(add_as_is(n, pick(SHIFT_32, SHIFT_64, n)))


# (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2.
EXP_Q_32 = (
    1.3926183587713494542e-3,
    8.3631790527225773704e-3,
    4.1666554617204574203e-2,
    1.6666576989698775683e-1,
    0.5,
)
EXP_Q_64 = (
    2.5100385495510319078e-8,
    2.7620088445409748161e-7,
    2.7557268459997064772e-6,
    2.4801521295954375131e-5,
    1.9841269863053616878e-4,
    1.3888888917213716901e-3,
    8.3333333333300618325e-3,
    4.1666666666624127873e-2,
    1.6666666666666667453e-1,
    0.5,
)
exp_q = make_polynomial("exp_q", __name__, EXP_Q_32, EXP_Q_64)

# e^r = 1 + r + r^2 q(r).
exp_reduced = make_polynomial("exp_reduced", __name__, (*EXP_Q_32, 1.0, 1.0), (*EXP_Q_64, 1.0, 1.0))


@on_cpu(elementary.exp)
def exp(x):
    # The bounds are where the result rounds to inf and to 0.
    x = at_least(at_most(x, pick(89.0, 710.0, x)), pick(-104.0, -746.0, x))
    # In two steps: 2^n alone leaves the normal range before the product does.
    shifted, r = reduce_exp(x, pick(SHIFT_32 + BIAS_32, SHIFT_64 + BIAS_64, x))
    first, second = two_powers_of_two(shifted)
    return exp_reduced(r) * first * second


# So that no factor of an exponential leaves the normal range.
LIFT = 64.0


@on_cpu(elementary.decay)
def decay(x):
    lifted = pick(SHIFT_32 + LIFT, SHIFT_64 + LIFT, x)
    shifted, r = reduce_exp(-at_most(abs(x), pick(104.0, 746.0, x)), lifted)
    # The second factor rounds what becomes subnormal.
    return exp_reduced(r) * power_of_two(shifted) * real(2.0**-LIFT, x)


@on_cpu(elementary.exp_normal)
def exp_normal(x):
    # n = -127 (-1023) is the one where pow2 is 0; n = 128 would be infinite.
    x = at_least(at_most(x, pick(88.0, 709.0, x)), pick(-88.029691931113, -709.09, x))
    shifted, r = reduce_exp(x, pick(SHIFT_32, SHIFT_64, x))
    return exp_reduced(r) * power_of_two(shifted)


@inline
def expm1_below(x, low):
    """e^x - 1 up to where 2^n leaves the normal range; below `low` it rounds to -1."""
    shifted, r = reduce_exp(at_least(x, low), pick(SHIFT_32, SHIFT_64, x))
    scale = power_of_two(shifted)
    return muladd(scale, muladd(exp_q(r) * r, r, r), scale - real(1.0, x))


@on_cpu(elementary.expm1)
def expm1(x):
    high = pick(87.0, 708.0, x)
    near = expm1_below(at_most(x, high), pick(-18.0, -40.0, x))
    far = exp(x)
    y = far if x > high else near
    return x if x == real(0.0, x) else y  # keeps the sign of zero


@on_cpu(elementary.expm1_nonpositive)
def expm1_nonpositive(x):
    return expm1_below(x, pick(-18.0, -40.0, x))


# --- logarithms -------------------------------------------------------------------------


#: Cephes logf: log(1 + f) = f + f^2 q(f).
LOG_Q_32 = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
    -0.5,
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


def log_mantissa(f, k):
    """log(1 + f) + k ln(2) for 1 + f in [sqrt(1/2), sqrt(2))."""
    raise NotImplementedError


@overload(log_mantissa, target="cpu", jit_options=INLINE)
def _log_mantissa(f, k):
    return log_mantissa_32 if f == types.float32 else log_mantissa_64


def log_mantissa_32(f, k):
    z = f * f
    tail = muladd(log_q(f), z, k * real(LN2_LO_32, f))
    return muladd(k, real(LN2_HI_32, f), f + tail)


def log_mantissa_64(f, k):
    s = divide(f, 2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    tail = muladd(s, muladd(log_r(z), z, half_square), k * LN2_LO_64)
    return k * LN2_HI_64 - ((half_square - tail) - f)


split_exponent = make_split_exponent("split_exponent", __name__)

# What brings subnormal numbers into the normal range, and back.
LIFT_32, LIFT_64 = 25, 54
split_lifted = make_split_exponent("split_lifted", __name__, LIFT_32, LIFT_64)


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
    return log_at_ends(x, log_mantissa(m - real(1.0, x), k))


@inline
def log_of_sum_inside(x, rest):
    m, k = split(x)
    # Beyond these powers, `rest` is nothing beside x.
    scale = pow2(at_least(at_most(-k, real(64.0, x)), real(-64.0, x)))
    return log_mantissa(muladd(rest, scale, m - real(1.0, x)), k)


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
    f = muladd(x, real(0.0, x), m - real(1.0, x))  # nan if x is
    return at_least(log_mantissa(f, k), real(-100.0, x))


@on_cpu(elementary.clamped_log1m_unit)
def clamped_log1m_unit(x):
    one = real(1.0, x)
    u = one - x
    m, k = split_lifted(u * pick(2.0**LIFT_32, 2.0**LIFT_64, x))
    # What the rounding of 1 - x took away goes into the mantissa. (It is 0 where u is, and
    # 2^-k is finite there.)
    f = muladd((one - u) - x, pow2(-k), m - one)
    return at_least(log_mantissa(f, k), real(-100.0, x))


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


def log1p_within(x):
    """log(1 + x) for 0 <= x <= 1."""
    raise NotImplementedError


@overload(log1p_within, target="cpu", jit_options=INLINE)
def _log1p_within(x):
    return log1p_within_32 if x == types.float32 else log1p_within_64


def log1p_within_32(x):
    return muladd(log1p_q(x), x * x, x)


def log1p_within_64(x):
    # Above sqrt(2) - 1: log(1 + x) = log(1 + (x - 1) / 2) + ln(2).
    upper = x > 0.41421356
    return log_mantissa(0.5 * x - 0.5 if upper else x, 1.0 if upper else 0.0)


@on_cpu(elementary.log1p_unit)
def log1p_unit(x):
    return log1p_within(x)


# --- arctan -----------------------------------------------------------------------------

# pi / 4 in two parts, and the tangents of pi / 8 and 3 pi / 8, between which the angle is reduced.
QUARTER_HI_32, QUARTER_LO_32 = 0.785398185253143310546875, -2.1855695000931e-8
QUARTER_HI_64, QUARTER_LO_64 = 7.85398163397448278999e-01, 3.06161699786838301793e-17
TAN_LOW, TAN_HIGH = 0.4142135623730950, 2.414213562373095

#: (arctan(x) - x) / x^3, by the square of x for |x| <= tan(pi / 8).
arctan_q = make_polynomial(
    "arctan_q",
    __name__,
    single=(
        8.05374449538e-2,
        -1.38776856032e-1,
        1.99777106478e-1,
        -3.33329491539e-1,
    ),
    double=(
        -1.62858201153657823623e-02,
        3.65315727442169155270e-02,
        -4.97687799461593236017e-02,
        5.83357013379057348645e-02,
        -6.66107313738753120669e-02,
        7.69187620504482999495e-02,
        -9.09088713343650656196e-02,
        1.11111104054623557880e-01,
        -1.42857142725034663711e-01,
        1.99999999998764832476e-01,
        -3.33333333333329318027e-01,
    ),
)


@on_cpu(elementary.arctan)
def arctan(x):
    zero, one = real(0.0, x), real(1.0, x)
    a = abs(x)
    middle, far = a > real(TAN_LOW, x), a > real(TAN_HIGH, x)
    # arctan(a) = pi / 4 + arctan((a - 1) / (a + 1)) = pi / 2 - arctan(1 / a): one division.
    above = a - one if middle else a
    below = a + one if middle else one
    t = divide(-one if far else above, a if far else below)
    quarters = one if middle else zero
    quarters = real(2.0, x) if far else quarters
    z = t * t
    rest = muladd(quarters, pick(QUARTER_LO_32, QUARTER_LO_64, x), t * z * arctan_q(z))
    y = muladd(quarters, pick(QUARTER_HI_32, QUARTER_HI_64, x), t + rest)
    y = -y if x < zero else y
    return x if x == zero else y  # keeps the sign of zero


# --- one instruction each ---------------------------------------------------------------


@on_cpu(elementary.sqrt)
def sqrt(x):
    return root(x)


@overload(elementary.divide, target="cpu", jit_options=INLINE)
def _divide(a, b):
    return lambda a, b: divide(a, b)


@overload(elementary.choose, target="cpu", jit_options=INLINE)
def _choose(condition, a, b):
    return lambda condition, a, b: choose(condition, a, b)


@overload(elementary.maximum, target="cpu", jit_options=INLINE)
def _maximum(a, b):
    if a == b and isinstance(a, types.Float):
        return lambda a, b: at_least(a, b)

    def maximum(a, b):
        larger = a if a > b else b
        return a if a != a else larger

    return maximum
