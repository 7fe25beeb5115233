"""Targets of -1 and +1 as one bit each.

Where they are looked through before anything is computed, their signs are kept: 32 times less
memory than the float32 targets, which need not be read a second time. Where they are computed with,
a vector of signs is made of its bits in registers.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from fastloss.cpu import vector_forms
from fastloss.cpu.intrinsic import intrinsic
from fastloss.cpu.ir import I8, I16, I64, pointer
from fastloss.cpu.transfers import apart
from fastloss.elementary import jitable

#: Signs in a group: the bits of an int16, and the lanes of the widest vector of float32.
GROUP = 16


@jitable
def groups_of(count):
    """How many groups the signs of `count` targets take."""
    return (count + GROUP - 1) // GROUP


@jitable
def kept_bytes(count):
    """The bytes that the signs of `count` targets take."""
    return groups_of(count) * (GROUP // 8)


def _lanes(builder, address, group, item):
    """The address of a group, as that of a vector."""
    first = builder.mul(group, ir.Constant(group.type, GROUP))
    vector = ir.VectorType(item, GROUP)
    return builder.bitcast(pointer(builder, address, first, item), vector.as_pointer())


@intrinsic
def gather_signs(typingctx, line, group, bits, kept):
    """kept[group] = the signs of a group of numbers, which are read as integers like `bits`.

    The highest bit of an integer or float that is -1 is set, that of +1 is not, signed or not.
    """

    def codegen(context, builder, signature, args):
        line, group, bits, kept = args
        numbers = builder.load(_lanes(builder, line, group, bits.type), align=1)
        negative = builder.icmp_signed("<", numbers, ir.Constant(numbers.type, None))
        signs = builder.bitcast(negative, I16)
        builder.store(signs, pointer(builder, kept, group, I16), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, bits, types.int64), codegen


@intrinsic
def kept_sign(typingctx, kept, index, like):
    """-1 or +1, of the type of `like`: the sign with the number `index`.

    In a loop of vectors that begins at a whole group.
    """

    def codegen(context, builder, signature, args):
        kept, index, like = args
        name = f"fastloss_kept_sign_{like.type}"
        function = builder.module.globals.get(name) or _define(
            context, builder.module, name, like.type
        )
        return builder.call(function, [kept, index])

    return like(types.int64, types.int64, like), codegen


def _define(context, module, name, kind):
    """Define the function of the address and one index, and those of several that follow."""

    def bits_from(builder, args, lanes):
        """As many bits as there are lanes, from that of the index on; none is in the next group."""
        kept, index = args
        item = I16 if lanes == GROUP else I8
        byte = builder.lshr(index, I64(3))
        place = builder.bitcast(pointer(builder, kept, byte, I8), item.as_pointer())
        held = builder.load(place, align=1)
        within = builder.trunc(builder.and_(index, I64(item.width - 1)), item)
        return builder.trunc(builder.lshr(held, within), ir.IntType(lanes))

    def one(builder, args):
        negative = bits_from(builder, args, 1)
        return builder.select(negative, kind(-1.0), kind(1.0))

    def several(builder, lanes, args):
        flags, numbers = (ir.VectorType(item, lanes) for item in (ir.IntType(1), kind))
        negative = builder.bitcast(bits_from(builder, args, lanes), flags)
        return builder.select(negative, numbers([-1.0] * lanes), numbers([1.0] * lanes))

    sign_at = ir.FunctionType(kind, [I64, I64])
    return vector_forms.define(context, module, name, sign_at, "ul", one, several, "readonly")


@jitable
def keep_signs(line, n, kept, buffer, bits):
    """Keep the signs of the `n` numbers of a line, whose buffer is whole groups long."""
    if n % GROUP != 0:
        line = apart(line, n, buffer, bits)
    for group in range(groups_of(n)):
        gather_signs(line, group, bits, kept)
