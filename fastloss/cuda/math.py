"""The elementary functions on CUDA: those of NVIDIA's libdevice, within 2 ulp of the truth.

The element-wise losses would wait for them, not for memory. What their formulas take logarithms
and quotients of lies in a known range, where a few instructions are as good. The exponential of a
softmax is the GPU's own instruction: it stands in the innermost loop, and its error of 2^-22 is
that of a few roundings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic, overload

from fastloss import elementary
from fastloss.cpu.exponentials import expm1_bounded
from fastloss.cpu.ir import F32, cast_like, choose, divide, make_polynomial, muladd
from fastloss.cpu.logarithms import log1p_within_32
from fastloss.cuda.ir import asm
from fastloss.elementary import inline

INLINE = {"forceinline": True}
LOG2_E = 1.4426950408889634
LN2 = 0.6931471805599453

#: The smallest normal float32.
NORMAL = 2.0**-126

# --- the GPU's own instructions, of float32 ---------------------------------------------


def _emit(text):
    """Return a code generator that emits one line of PTX, by its number of operands."""

    def codegen(context, builder, signature, args):
        constraints = ",".join(["=f", *["f"] * len(args)])
        return asm(builder, text, constraints, F32, args)

    return codegen


@intrinsic
def fast_exp2(typingctx, x):
    """2^x; results below the normal range are 0."""
    return x(x), _emit("ex2.approx.ftz.f32 $0, $1;")


@intrinsic
def fast_log2(typingctx, x):
    """The logarithm to base 2; its error is at most 2^-22, times the result outside [1/2, 2]."""
    return x(x), _emit("lg2.approx.f32 $0, $1;")


@intrinsic
def fast_reciprocal(typingctx, x):
    """1 / x to one unit in the last place; what is below the normal range counts as 0."""
    return x(x), _emit("rcp.approx.ftz.f32 $0, $1;")


@intrinsic
def fast_quotient(typingctx, a, b):
    """a / b to two units in the last place."""
    return a(a, b), _emit("div.full.f32 $0, $1, $2;")


@intrinsic
def fast_sqrt(typingctx, x):
    """The square root to one unit in the last place."""
    return x(x), _emit("sqrt.approx.f32 $0, $1;")


@intrinsic
def larger(typingctx, a, b):
    """The larger of the two, nan if either is nan."""
    return a(a, b), _emit("max.NaN.f32 $0, $1, $2;")


@intrinsic
def smaller(typingctx, a, b):
    """The smaller of the two, nan if either is nan."""
    return a(a, b), _emit("min.NaN.f32 $0, $1, $2;")


# --- those of libdevice -----------------------------------------------------------------


def on_cuda(stub: Callable[..., Any], single: str, double: str) -> None:
    """Make two functions of libdevice the CUDA implementation of `stub`.

    Integers and booleans are taken as float64. Imports numba.cuda only where it is in use.
    """

    def choose(x):
        from numba.cuda import libdevice

        if not isinstance(x, types.Float | types.Integer | types.Boolean):
            return None
        function = getattr(libdevice, single if x == types.float32 else double)
        return lambda x: function(x)

    overload(stub, target="cuda", jit_options=INLINE)(choose)


on_cuda(elementary.exp, "expf", "exp")
on_cuda(elementary.expm1, "expm1f", "expm1")
on_cuda(elementary.log, "logf", "log")
on_cuda(elementary.log1p, "log1pf", "log1p")
on_cuda(elementary.arctan, "atanf", "atan")


@overload(elementary.decay, target="cuda", jit_options=INLINE)
def _decay(x):
    return lambda x: elementary.exp(-abs(x))


@overload(elementary.log_of_sum, target="cuda", jit_options=INLINE)
def _log_of_sum(x, rest):
    def log_of_sum(x, rest):
        # At 0 and at inf the correction would be nan, and near them it is nothing.
        inside = (x > cast_like(NORMAL, x)) & (x < cast_like(math.inf, x))
        correction = elementary.quotient_normal(rest, x)
        return elementary.log(x) + choose(inside, correction, cast_like(0.0, x))

    return log_of_sum


expm1_of_bounded = inline(expm1_bounded)


@overload(elementary.expm1_nonpositive, target="cuda", jit_options=INLINE)
def _expm1_nonpositive(x):
    if x == types.float32:
        return lambda x: expm1_of_bounded(larger(x, cast_like(-18.0, x)))
    return lambda x: elementary.expm1(x)


# --- logarithms of what is between 0 and 1 ----------------------------------------------

log1p_of_unit = inline(log1p_within_32)


@overload(elementary.log1p_unit, target="cuda", jit_options=INLINE)
def _log1p_unit(x):
    if x == types.float32:
        return lambda x: log1p_of_unit(x)
    return lambda x: elementary.log1p(x)


#: (log(1 - x) + x) / x^2 on [0, 1/2]: `tools/fit_polynomials.py`.
log1m_q = make_polynomial(
    "log1m_q",
    __name__,
    single=(
        -1.29892865961,
        1.51463278125,
        -1.10971595096,
        1.80171744461e-1,
        -2.26563407148e-1,
        -1.93908824335e-1,
        -2.50305097273e-1,
        -3.33327527933e-1,
        -5.0000001797e-1,
    ),
)


@inline
def log_near_and_far(x):
    """Of log(x) and log(1 - x) the one nearer to 0, and the other, at least -100; 0 <= x <= 1.

    The instruction is good for the one whose argument is below 1/2. Both logarithms of an x are
    made of the same two, which LLVM computes once.
    """
    below = smaller(x, cast_like(1.0, x) - x)  # exact where 1 - x is the smaller one
    near = muladd(log1m_q(below), below * below, -below)
    far = fast_log2(below) * cast_like(LN2, x)
    return near, larger(far, cast_like(-100.0, x))


@overload(elementary.clamped_log_unit, target="cuda", jit_options=INLINE)
def _clamped_log_unit(x):
    if x != types.float32:
        return lambda x: elementary.maximum(elementary.log(x), cast_like(-100.0, x))

    def clamped_log_unit(x):
        near, far = log_near_and_far(x)
        return choose(x > cast_like(0.5, x), near, far)

    return clamped_log_unit


@overload(elementary.clamped_log1m_unit, target="cuda", jit_options=INLINE)
def _clamped_log1m_unit(x):
    if x != types.float32:
        return lambda x: elementary.maximum(elementary.log1p(-x), cast_like(-100.0, x))

    def clamped_log1m_unit(x):
        near, far = log_near_and_far(x)
        return choose(x > cast_like(0.5, x), far, near)

    return clamped_log1m_unit


# --- one instruction each, or a few -----------------------------------------------------


@overload(elementary.exp_normal, target="cuda", jit_options=INLINE)
def _exp_normal(x):
    from numba.cuda import libdevice

    if x == types.float32:
        return lambda x: fast_exp2(x * cast_like(LOG2_E, x))
    exp = libdevice.exp
    return lambda x: exp(x)


@overload(elementary.const, target="cuda", jit_options=INLINE)
def _const(value, like):
    if isinstance(like, types.Float):
        return lambda value, like: cast_like(value, like)
    return lambda value, like: float(value)


@overload(elementary.divide, target="cuda", jit_options=INLINE)
def _divide(a, b):
    return lambda a, b: divide(a, b)


@overload(elementary.sqrt, target="cuda", jit_options=INLINE)
def _sqrt(x):
    from numba.cuda import libdevice

    if x == types.float32:
        return lambda x: fast_sqrt(x)
    sqrt = libdevice.dsqrt_rn
    return lambda x: sqrt(x)


@overload(elementary.quotient, target="cuda", jit_options=INLINE)
def _quotient(a, b):
    if a == b == types.float32:
        return lambda a, b: fast_quotient(a, b)
    return lambda a, b: divide(a, b)


@overload(elementary.quotient_normal, target="cuda", jit_options=INLINE)
def _quotient_normal(a, b):
    if a == b == types.float32:
        return lambda a, b: a * fast_reciprocal(b)
    return lambda a, b: divide(a, b)


@overload(elementary.choose, target="cuda", jit_options=INLINE)
def _choose(condition, a, b):
    return lambda condition, a, b: choose(condition, a, b)


@overload(elementary.maximum, target="cuda", jit_options=INLINE)
def _maximum(a, b):
    if a == types.float32 and b == types.float32:
        return lambda a, b: larger(a, b)

    def maximum(a, b):
        larger = a if a > b else b
        return a if a != a else larger

    return maximum
