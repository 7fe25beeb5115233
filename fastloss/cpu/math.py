"""The elementary functions on the CPU: plain arithmetic that LLVM turns into vector code.

SVML is gone from Numba, and a call of the C library does not vectorise. Each function is
written once and compiled for float32 and float64; little but the constants differs. Where they are
from: `tools/fit_polynomials.py` (exponentials, logarithms in float32), Cephes (arctan in float32),
fdlibm (logarithms and arctan in float64).
"""

from __future__ import annotations

from numba.core import types
from numba.extending import overload

from fastloss import elementary
from fastloss.cpu import exponentials, logarithms  # noqa: F401  (they implement the others)
from fastloss.cpu.ir import at_least, choose, divide, make_polynomial, muladd, pick, root
from fastloss.cpu.ir import cast_like as real
from fastloss.cpu.overloads import INLINE, on_cpu


@overload(elementary.const, target="cpu", jit_options=INLINE)
def _const(value, like):
    if isinstance(like, types.Float):
        return lambda value, like: real(value, like)
    return lambda value, like: float(value)


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
@overload(elementary.quotient, target="cpu", jit_options=INLINE)
@overload(elementary.quotient_normal, target="cpu", jit_options=INLINE)
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
