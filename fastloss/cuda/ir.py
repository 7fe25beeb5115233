"""The instructions of a GPU that Numba does not offer, one intrinsic each.

Memory is global, addresses are plain integers. `simulated.py` has a stand-in for every name
here; kernels import both by way of `primitives.py`.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastloss.cpu.ir import F32, F64, I8, I16, I32, I64

#: Bytes that one wide load or store moves.
WIDE = 16


@intrinsic
def out_of_line(typingctx):
    """Mark the function that calls this as one to keep small and call, not to inline."""

    def codegen(context, builder, signature, args):
        for attribute in ("noinline", "optsize"):
            builder.function.attributes.add(attribute)
        return context.get_dummy_value()

    return types.void(), codegen


def asm(builder, text, constraints, result, args, *, side_effect=False, attrs=()):
    """Emit one line of PTX; without a side effect, LLVM may move it and need not repeat it."""
    if not side_effect:
        attrs = ("readnone", "nounwind", *attrs)
    function = ir.FunctionType(result, [a.type for a in args])
    return builder.call(ir.InlineAsm(function, text, constraints, side_effect), args, attrs=attrs)


def warp_asm(builder, text, constraints, result, args):
    """Emit what the threads of a warp do together, which LLVM must keep out of their branches."""
    attrs = ("convergent",)
    return asm(builder, text, constraints, result, args, side_effect=True, attrs=attrs)


def pointer(builder, address, item):
    return builder.inttoptr(address, ir.PointerType(item, 1))


# --- how dtypes lie in memory -----------------------------------------------------------


def keep(builder, raw):
    return raw


def decode_float16(builder, raw):
    return asm(builder, "cvt.f32.f16 $0, $1;", "=f,h", F32, [raw])


def encode_float16(builder, value):
    return asm(builder, "cvt.rn.f16.f32 $0, $1;", "=h,f", I16, [value])


def encode_two_float16(builder, low, high):
    return asm(builder, "cvt.rn.f16x2.f32 $0, $1, $2;", "=r,f,f", I32, [high, low])


def decode_bfloat16(builder, raw):
    return builder.bitcast(builder.shl(builder.zext(raw, I32), I32(16)), F32)


def encode_bfloat16(builder, value):
    return asm(builder, "cvt.rn.bf16.f32 $0, $1;", "=h,f", I16, [value])


def encode_two_bfloat16(builder, low, high):
    return asm(builder, "cvt.rn.bf16x2.f32 $0, $1, $2;", "=r,f,f", I32, [high, low])


# --- one element ------------------------------------------------------------------------


def make_load(kind, item, decode=keep):
    """Make an intrinsic load(address) of the Numba type `kind`."""

    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, args):
            raw = builder.load(pointer(builder, args[0], item))
            value = decode(builder, raw)
            if isinstance(kind, types.Integer) and value.type != I64:
                value = builder.sext(value, I64)
            return value

        result = types.int64 if isinstance(kind, types.Integer) else kind
        return result(types.int64), codegen

    return load


def make_store(kind, item, encode=keep):
    """Make an intrinsic store(address, value) of the Numba type `kind`."""

    @intrinsic
    def store(typingctx, address, value):
        def codegen(context, builder, signature, args):
            builder.store(encode(builder, args[1]), pointer(builder, args[0], item))

        return types.void(types.int64, kind), codegen

    return store


def zero_extended(item):
    def decode(builder, raw):
        return builder.zext(raw, I64)

    return make_load(types.int64, item, decode)


load_float64 = make_load(types.float64, F64)
load_float32 = make_load(types.float32, F32)
load_float16 = make_load(types.float32, I16, decode_float16)
load_bfloat16 = make_load(types.float32, I16, decode_bfloat16)
load_int8 = make_load(types.int64, I8)
load_int16 = make_load(types.int64, I16)
load_int32 = make_load(types.int64, I32)
load_int64 = make_load(types.int64, I64)
load_uint8 = zero_extended(I8)
load_uint16 = zero_extended(I16)
load_uint32 = zero_extended(I32)

store_float64 = make_store(types.float64, F64)
store_float32 = make_store(types.float32, F32)
store_float16 = make_store(types.float32, I16, encode_float16)
store_bfloat16 = make_store(types.float32, I16, encode_bfloat16)
store_int64 = make_store(types.int64, I64)


# --- from bits --------------------------------------------------------------------------


@intrinsic
def float32_of_bits(typingctx, bits):
    """The float32 in the lower half of an int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(builder.trunc(args[0], I32), F32)

    return types.float32(types.int64), codegen


@intrinsic
def float64_of_bits(typingctx, bits):
    """The float64 of these bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], F64)

    return types.float64(types.int64), codegen


# --- sixteen bytes ----------------------------------------------------------------------


def chunk_entry(builder, context, kind, chunk, k):
    """Pointer to entry k of a small array; LLVM keeps it in registers."""
    data = context.make_array(kind)(context, builder, chunk).data
    return builder.gep(data, [ir.Constant(I64, k)])


def make_load_wide(item, size, decode=keep):
    """Make an intrinsic that reads 16 aligned bytes into an array."""
    count = WIDE // size

    @intrinsic
    def load_wide(typingctx, address, chunk):
        def codegen(context, builder, signature, args):
            # Elements of 16 bits travel in pairs: a vector of them would be split.
            lane, lanes = (I32, 4) if size == 2 else (item, count)
            raw = builder.load(pointer(builder, args[0], ir.VectorType(lane, lanes)))
            raw.align = WIDE
            for k in range(count):
                if size == 2:
                    pair = builder.extract_element(raw, I32(k // 2))
                    part = builder.lshr(pair, I32(16)) if k % 2 else pair
                    value = decode(builder, builder.trunc(part, I16))
                else:
                    value = decode(builder, builder.extract_element(raw, I32(k)))
                builder.store(value, chunk_entry(builder, context, signature.args[1], args[1], k))

        return types.void(types.int64, chunk), codegen

    return load_wide


def make_store_wide(item, size, encode_two=None):
    """Make an intrinsic that writes an array to 16 aligned bytes.

    `encode_two` makes 32 bits of two numbers, the first in the lower half.

    Streaming (evict first): a gradient that is not read again should not push the logits,
    which are, out of the second-level cache.
    """
    count = WIDE // size

    @intrinsic
    def store_wide(typingctx, address, chunk):
        def codegen(context, builder, signature, args):
            values = [
                builder.load(chunk_entry(builder, context, signature.args[1], args[1], k))
                for k in range(count)
            ]
            if encode_two is not None:
                pairs = zip(values[::2], values[1::2], strict=True)
                values = [encode_two(builder, *pair) for pair in pairs]
            letter, suffix = {F64: ("d", "f64"), F32: ("f", "f32")}.get(item, ("r", "b32"))
            slots = ", ".join(f"${k + 1}" for k in range(len(values)))
            asm(
                builder,
                f"st.global.cs.v{len(values)}.{suffix} [$0], {{{slots}}};",
                ",".join(["l", *[letter] * len(values), "~{memory}"]),
                ir.VoidType(),
                [args[0], *values],
                side_effect=True,
            )

        return types.void(types.int64, chunk), codegen

    return store_wide


load_wide_float64 = make_load_wide(F64, 8)
load_wide_float32 = make_load_wide(F32, 4)
load_wide_float16 = make_load_wide(I16, 2, decode_float16)
load_wide_bfloat16 = make_load_wide(I16, 2, decode_bfloat16)

store_wide_float64 = make_store_wide(F64, 8)
store_wide_float32 = make_store_wide(F32, 4)
store_wide_float16 = make_store_wide(I16, 2, encode_two_float16)
store_wide_bfloat16 = make_store_wide(I16, 2, encode_two_bfloat16)


# --- between the threads of a warp ------------------------------------------------------


@intrinsic
def shuffle_xor(typingctx, value, offset):
    """The value of the thread whose lane differs by `offset` in binary."""

    def codegen(context, builder, signature, args):
        value, offset = args
        lane = builder.trunc(offset, I32)
        kind = value.type
        if kind == F32:
            words = [builder.bitcast(value, I32)]
        else:
            bits = builder.bitcast(value, I64) if kind == F64 else value
            words = [builder.trunc(bits, I32), builder.trunc(builder.lshr(bits, I64(32)), I32)]
        text = "shfl.sync.bfly.b32 $0, $1, $2, 31, -1;"
        moved = [warp_asm(builder, text, "=r,r,r", I32, [word, lane]) for word in words]
        if kind == F32:
            return builder.bitcast(moved[0], F32)
        high = builder.shl(builder.zext(moved[1], I64), I64(32))
        bits = builder.or_(builder.zext(moved[0], I64), high)
        return builder.bitcast(bits, F64) if kind == F64 else bits

    return value(value, types.int64), codegen


@intrinsic
def sync_warp(typingctx):
    """Wait for the warp; what its threads read and wrote before stays before."""

    def codegen(context, builder, signature, args):
        warp_asm(builder, "bar.warp.sync -1;", "~{memory}", ir.VoidType(), [])
        return context.get_dummy_value()

    return types.void(), codegen
