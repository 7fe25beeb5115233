"""Powers of two, mantissas, nan: what is made of the bits of a float, one intrinsic each."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from fastloss.cpu.intrinsic import intrinsic, intrinsic_called
from fastloss.cpu.ir import F32, I32, I64
from fastloss.cpu.lookup import ENTRIES, look_up, table_of

#: The bits of sqrt(1/2): where the mantissas of logarithms begin.
ROOT_HALF_32, ROOT_HALF_64 = 0x3F3504F3, 0x3FE6A09E << 32

#: The bits of a mantissa, by the integer that is as wide as the float.
MANTISSA = {I32: 23, I64: 52}

#: The bits of the number of an eighth, and those of a float32's mantissa below it.
NUMBER = ENTRIES.bit_length() - 1
BELOW = MANTISSA[I32] - NUMBER


def float_layout(kind):
    """(integer type, mantissa bits) of an LLVM float type."""
    integer = I32 if kind == F32 else I64
    return integer, MANTISSA[integer]


def _bits(builder, x):
    integer, _ = float_layout(x.type)
    return builder.bitcast(x, integer)


# --- powers of two ----------------------------------------------------------------------


@intrinsic
def power_of_two(typingctx, x):
    """The power of two whose biased exponent stands in the lowest bits; the others fall off."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(_as_exponent(builder, _bits(builder, args[0])), args[0].type)

    return x(x), codegen


@intrinsic
def power_of_step(typingctx, x):
    """2^k whose k stands in the lowest bits with its bias: in float32 in eighths, else whole."""

    def codegen(context, builder, signature, args):
        bits = _bits(builder, args[0])
        return builder.bitcast(_step_bits(context, builder, bits), args[0].type)

    return x(x), codegen


@intrinsic
def two_powers_of_step(typingctx, x):
    """(2^a, 2^b) of about one size with a + b = k, whose bias is there twice; a is whole."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        bits = _bits(builder, args[0])
        whole_and_half = 1 + (NUMBER if kind == F32 else 0)
        first = _as_exponent(builder, builder.lshr(bits, ir.Constant(bits.type, whole_and_half)))
        second = builder.sub(_step_bits(context, builder, bits), first)
        pair = [builder.bitcast(part, kind) for part in (first, second)]
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(x, 2)(x), codegen


def _as_exponent(builder, bits):
    return builder.shl(bits, ir.Constant(bits.type, MANTISSA[bits.type]))


def _step_bits(context, builder, bits):
    if bits.type != I32:
        return _as_exponent(builder, bits)
    mantissa = look_up(context, builder, _EIGHTHS_TABLE, bits)
    return builder.add(mantissa, builder.shl(bits, I32(BELOW)))


# Less the bias, and less what the number of an eighth adds to the exponent that it is shifted into.
_EIGHTHS_TABLE = tuple(
    (bits - (127 << 23) - (k << BELOW)) % 2**32
    for k, bits in enumerate(table_of([2.0 ** (k / ENTRIES) for k in range(ENTRIES)]))
)


# --- nan --------------------------------------------------------------------------------


@intrinsic
def nan_unless(typingctx, condition, x):
    """x where the condition holds, else nan.

    Of all bits LLVM would make a choice between the two, and put it off until x is a float64.
    """

    def codegen(context, builder, signature, args):
        condition, x = args
        integer, _ = float_layout(x.type)
        no_bit, but_the_sign = integer(0), integer(2 ** (integer.width - 1) - 1)
        bits = builder.or_(_bits(builder, x), builder.select(condition, no_bit, but_the_sign))
        return builder.bitcast(bits, x.type)

    return x(types.boolean, x), codegen


# --- mantissas --------------------------------------------------------------------------


def make_split_exponent(name, module, single=0, double=0):
    """Make the intrinsic module.name(x): (m, k) with m in [sqrt(1/2), sqrt(2)).

    x = m * 2^(k + lifted), where x is positive and normal and `lifted` is the one of `single`
    and `double` that is meant for its precision.
    """

    @intrinsic_called(name, module)
    def split(typingctx, x):
        def codegen(context, builder, signature, args):
            kind = args[0].type
            is_single = kind == F32
            integer, mantissa = float_layout(kind)
            root_half = ROOT_HALF_32 if is_single else ROOT_HALF_64
            lifted = (single if is_single else double) << mantissa
            bits = _bits(builder, args[0])
            above = builder.sub(bits, ir.Constant(integer, root_half + lifted))
            # In the upper 32 bits alone: 64-bit arithmetic shifts need AVX-512.
            high = above if is_single else builder.trunc(builder.lshr(above, I64(32)), I32)
            k = builder.ashr(high, I32(mantissa - (0 if is_single else 32)))
            rest = builder.and_(above, ir.Constant(integer, (1 << mantissa) - 1))
            m = builder.add(rest, ir.Constant(integer, root_half))
            pair = (builder.bitcast(m, kind), builder.sitofp(k, kind))
            return context.make_tuple(builder, signature.return_type, pair)

        return types.UniTuple(x, 2)(x), codegen

    return split


def make_of_eighth(name, module, numbers):
    """Make the intrinsic module.name(m): the one of eight numbers that is meant for a mantissa.

    For float32 and m in [sqrt(1/2), sqrt(2)), whose eighths are those of its bits.
    """
    table = table_of(numbers)

    @intrinsic_called(name, module)
    def of_eighth(typingctx, m):
        def codegen(context, builder, signature, args):
            bits = _bits(builder, args[0])
            number = builder.lshr(builder.sub(bits, I32(ROOT_HALF_32)), I32(BELOW))
            return builder.bitcast(look_up(context, builder, table, number), F32)

        return m(m), codegen

    return of_eighth
