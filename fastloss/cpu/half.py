"""How float16 and bfloat16 become float32 and back, as LLVM instructions.

In integer arithmetic, but for float16 where the CPU that Numba compiles for has instructions:
what LLVM calls in their place does not exist in the process. Both give the same bits.
"""

from __future__ import annotations

from llvmlite import ir

from fastloss.cpu.ir import F16, F32, I16, I32, target_of


def has_float16(context):
    """Whether the target has instructions that convert float16."""
    triple, features = target_of(context)
    return triple.startswith(("aarch64", "arm64")) or "+f16c" in features


def decode_bfloat16(context, builder, raw):
    return builder.bitcast(builder.shl(builder.zext(raw, I32), I32(16)), F32)


def encode_bfloat16(context, builder, value):
    """Round to nearest even; a nan stays a nan."""
    bits = builder.bitcast(value, I32)
    odd = builder.and_(builder.lshr(bits, I32(16)), I32(1))
    rounded = builder.lshr(builder.add(bits, builder.add(odd, I32(0x7FFF))), I32(16))
    quiet = builder.or_(builder.lshr(bits, I32(16)), I32(0x40))
    is_nan = builder.fcmp_unordered("uno", value, value)
    return builder.trunc(builder.select(is_nan, quiet, rounded), I16)


def decode_float16(context, builder, raw):
    if has_float16(context):
        return builder.fpext(builder.bitcast(raw, F16), F32)
    return decode_float16_by_fields(builder, raw)


def encode_float16(context, builder, value):
    if has_float16(context):
        return builder.bitcast(builder.fptrunc(value, F16), I16)
    return encode_float16_by_fields(builder, value)


def decode_float16_by_fields(builder, raw):
    """Move the fields into a float32, then 2^112 corrects the bias, subnormals included."""
    half = builder.zext(raw, I32)
    magnitude = builder.shl(builder.and_(half, I32(0x7FFF)), I32(13))
    scaled = builder.fmul(builder.bitcast(magnitude, F32), ir.Constant(F32, 2.0**112))
    special = builder.icmp_unsigned(">=", magnitude, I32(0x7C00 << 13))
    bits = builder.select(
        special, builder.or_(magnitude, I32(0x7F800000)), builder.bitcast(scaled, I32)
    )
    sign = builder.shl(builder.and_(half, I32(0x8000)), I32(16))
    return builder.bitcast(builder.or_(bits, sign), F32)


def encode_float16_by_fields(builder, value):
    """Round to nearest even (after F. Giesen, `float_to_half_fast3_rtne`)."""
    bits = builder.bitcast(value, I32)
    sign = builder.and_(bits, I32(0x80000000))
    magnitude = builder.xor(bits, sign)
    # Normal halves: rebias the exponent, round at bit 13.
    odd = builder.and_(builder.lshr(magnitude, I32(13)), I32(1))
    rebias = I32((((15 - 127) << 23) + 0xFFF) & 0xFFFFFFFF)
    normal = builder.lshr(builder.add(builder.add(magnitude, rebias), odd), I32(13))
    # Subnormal halves: adding 1/2 lets the adder do the rounding.
    shifted = builder.fadd(builder.bitcast(magnitude, F32), ir.Constant(F32, 0.5))
    subnormal = builder.sub(builder.bitcast(shifted, I32), I32(0x3F000000))
    is_subnormal = builder.icmp_unsigned("<", magnitude, I32(0x38800000))
    finite = builder.select(is_subnormal, subnormal, normal)
    is_nan = builder.icmp_unsigned(">", magnitude, I32(0x7F800000))
    payload = builder.and_(builder.lshr(magnitude, I32(13)), I32(0x3FF))
    special = builder.select(is_nan, builder.or_(payload, I32(0x7E00)), I32(0x7C00))
    overflow = builder.icmp_unsigned(">=", magnitude, I32(0x47800000))
    result = builder.select(overflow, special, finite)
    return builder.trunc(builder.or_(result, builder.lshr(sign, I32(16))), I16)
