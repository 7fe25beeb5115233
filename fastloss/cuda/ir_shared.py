"""A tile of rows in shared memory, as the rows lie in global memory.

`tile` is an array of 32-bit words; numbers in it are counted in their own size. Copies go 16 bytes
at a time, into the tile without passing through registers.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastloss.cpu.ir import F32, F64, I16, I32
from fastloss.cuda.ir import (
    asm,
    decode_bfloat16,
    decode_float16,
    encode_bfloat16,
    encode_float16,
    keep,
)
from fastloss.cuda.ir_words import WORDS


def place(builder, context, tile_type, tile, k, item):
    """Pointer to number `k` of a tile, where numbers are of the LLVM type `item`."""
    data = context.make_array(tile_type)(context, builder, tile).data
    return builder.gep(builder.bitcast(data, ir.PointerType(item)), [k])


@intrinsic
def copy_into(typingctx, tile, v, address):
    """Begin to copy 16 aligned bytes of global memory to the tile's 16 bytes number `v`."""

    def codegen(context, builder, signature, args):
        tile, v, address = args
        to = place(builder, context, signature.args[0], tile, v, ir.VectorType(I32, WORDS))
        to = builder.addrspacecast(to, ir.PointerType(to.type.pointee, 3))
        text, clobbers = "cp.async.cg.shared.global [$0], [$1], 16;", "r,l,~{memory}"
        operands = [builder.ptrtoint(to, I32), address]
        asm(builder, text, clobbers, ir.VoidType(), operands, side_effect=True)

    return types.void(tile, types.int64, types.int64), codegen


@intrinsic
def copies_done(typingctx):
    """Wait for all copies that this thread has begun."""

    def codegen(context, builder, signature, args):
        asm(builder, "cp.async.wait_all;", "~{memory}", ir.VoidType(), [], side_effect=True)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def copy_out(typingctx, tile, v, address):
    """Copy the tile's 16 bytes number `v` to global memory: streaming, as `store_wide` does."""

    def codegen(context, builder, signature, args):
        tile, v, address = args
        raw = place(builder, context, signature.args[0], tile, v, ir.VectorType(I32, WORDS))
        raw = builder.load(raw)
        words = [builder.extract_element(raw, I32(k)) for k in range(WORDS)]
        text, clobbers = "st.global.cs.v4.b32 [$0], {$1, $2, $3, $4};", "l,r,r,r,r,~{memory}"
        asm(builder, text, clobbers, ir.VoidType(), [address, *words], side_effect=True)

    return types.void(tile, types.int64, types.int64), codegen


def make_take(kind, item, decode=keep):
    """Make an intrinsic take(tile, k): number k."""

    @intrinsic
    def take(typingctx, tile, k):
        def codegen(context, builder, signature, args):
            at = place(builder, context, signature.args[0], *args, item)
            return decode(builder, builder.load(at))

        return kind(tile, types.int32), codegen

    return take


def make_put(kind, item, encode=keep):
    """Make an intrinsic put(tile, k, value)."""

    @intrinsic
    def put(typingctx, tile, k, value):
        def codegen(context, builder, signature, args):
            tile, k, value = args
            at = place(builder, context, signature.args[0], tile, k, item)
            builder.store(encode(builder, value), at)

        return types.void(tile, types.int32, kind), codegen

    return put


take_float64, put_float64 = make_take(types.float64, F64), make_put(types.float64, F64)
take_float32, put_float32 = make_take(types.float32, F32), make_put(types.float32, F32)
take_float16 = make_take(types.float32, I16, decode_float16)
put_float16 = make_put(types.float32, I16, encode_float16)
take_bfloat16 = make_take(types.float32, I16, decode_bfloat16)
put_bfloat16 = make_put(types.float32, I16, encode_bfloat16)
