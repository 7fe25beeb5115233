"""Exponentials on the CPU: e^x = 2^k e^r, with a table of eighths for k in float32.

The fewer instructions depend on one another, the more elements the CPU computes at a time: with
eighths, r is so small that two coefficients do.
"""

from __future__ import annotations

from fastloss import elementary
from fastloss.cpu.float_bits import power_of_step, power_of_two, two_powers_of_step
from fastloss.cpu.ir import add_as_is, at_least, at_most, make_polynomial, muladd, pick
from fastloss.cpu.ir import cast_like as real
from fastloss.cpu.lookup import ENTRIES
from fastloss.cpu.overloads import by_precision, on_cpu
from fastloss.elementary import inline

LOG2_E = 1.4426950408889634
# ln(2) in two parts. The first has trailing zeros, so that k times it is exact.
LN2_HI_32, LN2_LO_32 = 0.693359375, -2.12194440e-4
LN2_HI_64, LN2_LO_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10

# The same for steps of an exponential: eighths of ln(2) in float32.
PER_STEP_32 = ENTRIES * LOG2_E
STEP_HI_32, STEP_LO_32 = LN2_HI_32 / ENTRIES, LN2_LO_32 / ENTRIES

# Added to a number that is small beside it, this rounds it to an integer, which then stands in the
# lowest bits of the sum.
SHIFT_32, SHIFT_64 = 1.5 * 2.0**23, 1.5 * 2.0**52

# What makes an exponent of an integer.
BIAS_32, BIAS_64 = 127.0, 1023.0

# (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2, and for an eighth of that.
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
EXP_Q_32 = (
    1.3926183587713494542e-3,
    8.3631790527225773704e-3,
    4.1666554617204574203e-2,
    1.6666576989698775683e-1,
    0.5,
)
EIGHTH_Q_32 = (1.6667962612816306e-1, 5.0006479826715316e-1)
exp_q = make_polynomial("exp_q", __name__, EXP_Q_32, EXP_Q_64)

# (e^r - 1) / r for what is left of a step.
step_p = make_polynomial("step_p", __name__, (*EIGHTH_Q_32, 1.0), (*EXP_Q_64, 1.0))


@inline
def reduce_exp(x, per_step, high, low, shift):
    """(k + shift, r) with x = k step + r, |r| <= step / 2; the step is high + low, 1 / per_step."""
    shifted = muladd(x, per_step, shift)
    k = add_as_is(shifted, -shift)
    return shifted, muladd(k, -low, muladd(k, -high, x))


@inline
def split_exp(x, bias_32, bias_64):
    """(k, r, p) with e^x = 2^k (1 + r p); k in steps, in the lowest bits and with a bias."""
    high, low = pick(STEP_HI_32, LN2_HI_64, x), pick(STEP_LO_32, LN2_LO_64, x)
    shift = pick(SHIFT_32 + ENTRIES * bias_32, SHIFT_64 + bias_64, x)
    k, r = reduce_exp(x, pick(PER_STEP_32, LOG2_E, x), high, low, shift)
    return k, r, step_p(r)


def times_power_32(p, r, power):
    return muladd(p, r * power, power)


def times_power_64(p, r, power):
    return muladd(p, r, 1.0) * power


@by_precision(times_power_32, times_power_64)
def times_power(p, r, power):
    """(1 + r p) power: powers of eighths are rounded, so that nothing else may be in float32."""


@on_cpu(elementary.exp)
def exp(x):
    # The bounds are where the result rounds to inf and to 0.
    x = at_least(at_most(x, pick(89.0, 710.0, x)), pick(-104.0, -746.0, x))
    # In two steps: 2^k alone leaves the normal range before the product does.
    k, r, p = split_exp(x, 2 * BIAS_32, 2 * BIAS_64)
    first, second = two_powers_of_step(k)
    return times_power(p, r, second) * first


# So that no factor of an exponential leaves the normal range.
LIFT = 64.0


@on_cpu(elementary.decay)
def decay(x):
    k, r, p = split_exp(-at_most(abs(x), pick(104.0, 746.0, x)), BIAS_32 + LIFT, BIAS_64 + LIFT)
    # The last factor rounds what becomes subnormal.
    return times_power(p, r, power_of_step(k)) * real(2.0**-LIFT, x)


@on_cpu(elementary.exp_normal)
def exp_normal(x):
    # At k = -127 (-1023) the power is 0; at k = 128 (1024) it would be infinite.
    x = at_least(at_most(x, pick(88.0, 709.0, x)), pick(-88.029691931113, -709.09, x))
    k, r, p = split_exp(x, BIAS_32, BIAS_64)
    return times_power(p, r, power_of_step(k))


@inline
def expm1_bounded(x):
    """e^x - 1 for an x for which 2^k does not leave the normal range."""
    # In whole steps: those between are rounded, which is too much where 1 is taken away again.
    high, low = pick(LN2_HI_32, LN2_HI_64, x), pick(LN2_LO_32, LN2_LO_64, x)
    shift = pick(SHIFT_32 + BIAS_32, SHIFT_64 + BIAS_64, x)
    k, r = reduce_exp(x, real(LOG2_E, x), high, low, shift)
    power = power_of_two(k)
    return muladd(power, muladd(exp_q(r) * r, r, r), power - real(1.0, x))


@inline
def expm1_below(x, low):
    """The same for any x below; under `low` it rounds to -1."""
    return expm1_bounded(at_least(x, low))


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
