"""Sixteen bytes as they lie in memory: four words that stay in registers until they are used.

A row of 16-bit numbers takes half the registers in this way, and its largest number is found two
at a time. Entry k of `words` belongs to load k // 4.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastloss.cpu.ir import F32, F64, I16, I32, I64
from fastloss.cuda.ir import WIDE, asm, decode_bfloat16, decode_float16, pointer

#: Words of one load.
WORDS = WIDE // 4

#: The words of the lowest number, -inf, in the order in which they lie in memory.
LOWEST = {
    "float64": (0, 0xFFF00000),
    "float32": (0xFF800000, 0xFF800000),
    "float16": (0xFC00FC00, 0xFC00FC00),
    "bfloat16": (0xFF80FF80, 0xFF80FF80),
}


def entry(builder, context, array_type, array, k):
    """Pointer to word `k`, an int64 that is known when all is inlined."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [k])


def entries(builder, context, array_type, array, load):
    """Pointers to the words of a load."""
    first = builder.mul(load, I64(WORDS))
    at = [builder.add(first, I64(k)) for k in range(WORDS)]
    return [entry(builder, context, array_type, array, k) for k in at]


@intrinsic
def load_words(typingctx, address, words, load):
    """Read 16 aligned bytes into the words of a load."""

    def codegen(context, builder, signature, args):
        raw = builder.load(pointer(builder, args[0], ir.VectorType(I32, WORDS)))
        raw.align = WIDE
        to = entries(builder, context, signature.args[1], args[1], args[2])
        for k in range(WORDS):
            builder.store(builder.extract_element(raw, I32(k)), to[k])

    return types.void(types.int64, words, types.int64), codegen


def make_fill(lowest):
    """Make an intrinsic that puts -inf into the words of a load."""

    @intrinsic
    def fill(typingctx, words, load):
        def codegen(context, builder, signature, args):
            to = entries(builder, context, signature.args[0], args[0], args[1])
            for k in range(WORDS):
                builder.store(I32(lowest[k % 2]), to[k])

        return types.void(words, types.int64), codegen

    return fill


def make_number(kind, decode):
    """Make an intrinsic number(words, k): number k of all loads."""

    @intrinsic
    def number(typingctx, words, k):
        def codegen(context, builder, signature, args):
            def word(at):
                return builder.load(entry(builder, context, signature.args[0], args[0], at))

            return decode(builder, word, args[1])

        return kind(words, types.int64), codegen

    return number


def join(builder, low, high):
    """A float64 of its words."""
    high = builder.shl(builder.zext(high, I64), I64(32))
    return builder.bitcast(builder.or_(high, builder.zext(low, I64)), F64)


def of_float64(builder, word, k):
    at = builder.mul(k, I64(2))
    return join(builder, word(at), word(builder.add(at, I64(1))))


def of_float32(builder, word, k):
    return builder.bitcast(word(k), F32)


def half_of(builder, word, k):
    """The 16 bits of number `k`."""
    pair = word(builder.lshr(k, I64(1)))
    shift = builder.shl(builder.trunc(builder.and_(k, I64(1)), I32), I32(4))
    return builder.trunc(builder.lshr(pair, shift), I16)


def of_float16(builder, word, k):
    return decode_float16(builder, half_of(builder, word, k))


def of_bfloat16(builder, word, k):
    return decode_bfloat16(builder, half_of(builder, word, k))


def make_larger(pairs):
    """Make an intrinsic larger(tops, words, load): each number of `tops` becomes the larger one.

    nan if either is nan; `pairs` combines two lists of words.
    """

    @intrinsic
    def larger(typingctx, tops, words, load):
        def codegen(context, builder, signature, args):
            to = entries(builder, context, signature.args[0], args[0], I64(0))
            of = entries(builder, context, signature.args[1], args[1], args[2])
            both = [builder.load(p) for p in to], [builder.load(p) for p in of]
            for pointer_, word in zip(to, pairs(builder, *both), strict=True):
                builder.store(word, pointer_)

        return types.void(tops, words, types.int64), codegen

    return larger


def by_instruction(text):
    """Combine words one by one."""

    def pairs(builder, a, b):
        return [asm(builder, text, "=r,r,r", I32, both) for both in zip(a, b, strict=True)]

    return pairs


def doubles(builder, a, b):
    """Combine pairs of words, each a float64, of which the GPU has no such instruction."""
    words = []
    for k in (0, 2):
        x, y = (join(builder, of[k], of[k + 1]) for of in (a, b))
        first = builder.or_(builder.fcmp_ordered(">", x, y), builder.fcmp_unordered("uno", x, x))
        bits = builder.bitcast(builder.select(first, x, y), I64)
        words += [builder.trunc(bits, I32), builder.trunc(builder.lshr(bits, I64(32)), I32)]
    return words


fill_float64, fill_float32 = make_fill(LOWEST["float64"]), make_fill(LOWEST["float32"])
fill_float16, fill_bfloat16 = make_fill(LOWEST["float16"]), make_fill(LOWEST["bfloat16"])

number_float64 = make_number(types.float64, of_float64)
number_float32 = make_number(types.float32, of_float32)
number_float16 = make_number(types.float32, of_float16)
number_bfloat16 = make_number(types.float32, of_bfloat16)

larger_float64 = make_larger(doubles)
larger_float32 = make_larger(by_instruction("max.NaN.f32 $0, $1, $2;"))
larger_float16 = make_larger(by_instruction("max.NaN.f16x2 $0, $1, $2;"))
larger_bfloat16 = make_larger(by_instruction("max.NaN.bf16x2 $0, $1, $2;"))
