"""The elementary functions on CUDA: those of NVIDIA's libdevice, within 2 ulp of the truth.

The exponential of a softmax alone is the GPU's own instruction: it stands in the innermost
loop, and its error of 2^-22 is that of a few roundings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from fastloss import elementary
from fastloss.cpu.ir import F32, cast_like, choose, divide

INLINE = {"forceinline": True}
LOG2_E = 1.4426950408889634


@intrinsic
def fast_exp2(typingctx, x):
    """2^x of a float32; results below the normal range are 0."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(F32, [F32])
        return builder.call(ir.InlineAsm(kind, "ex2.approx.ftz.f32 $0, $1;", "=f,f"), args)

    return x(x), codegen


@intrinsic
def larger(typingctx, a, b):
    """The larger of two float32, nan if either is nan."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(F32, [F32, F32])
        return builder.call(ir.InlineAsm(kind, "max.NaN.f32 $0, $1, $2;", "=f,f,f"), args)

    return a(a, b), codegen


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
on_cuda(elementary.expm1_nonpositive, "expm1f", "expm1")
on_cuda(elementary.log, "logf", "log")
on_cuda(elementary.log1p, "log1pf", "log1p")
on_cuda(elementary.log1p_unit, "log1pf", "log1p")
on_cuda(elementary.arctan, "atanf", "atan")
on_cuda(elementary.sqrt, "fsqrt_rn", "dsqrt_rn")


@overload(elementary.decay, target="cuda", jit_options=INLINE)
def _decay(x):
    return lambda x: elementary.exp(-abs(x))


@overload(elementary.log_of_sum, target="cuda", jit_options=INLINE)
def _log_of_sum(x, rest):
    def log_of_sum(x, rest):
        # At 0 and at inf the correction would be nan.
        inside = (x > cast_like(0.0, x)) & (x < cast_like(math.inf, x))
        return elementary.log(x) + (divide(rest, x) if inside else cast_like(0.0, x))

    return log_of_sum


@overload(elementary.clamped_log_unit, target="cuda", jit_options=INLINE)
def _clamped_log_unit(x):
    return lambda x: elementary.maximum(elementary.log(x), cast_like(-100.0, x))


@overload(elementary.clamped_log1m_unit, target="cuda", jit_options=INLINE)
def _clamped_log1m_unit(x):
    return lambda x: elementary.maximum(elementary.log1p(-x), cast_like(-100.0, x))


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
