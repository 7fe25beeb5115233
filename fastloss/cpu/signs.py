"""Targets of -1 and +1 as one bit each.

Where they are looked through before anything is computed, their signs are kept: 32 times less
memory than the float32 targets, which need not be read a second time.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from fastloss.cpu.intrinsic import intrinsic
from fastloss.cpu.ir import I16, pointer
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
def scatter_signs(typingctx, kept, group, line, like):
    """line[...] = the group's numbers, -1 and +1 of the type of `like`."""

    def codegen(context, builder, signature, args):
        kept, group, line, like = args
        signs = builder.load(pointer(builder, kept, group, I16), align=1)
        negative = builder.bitcast(signs, ir.VectorType(ir.IntType(1), GROUP))
        kind = ir.VectorType(like.type, GROUP)
        one, minus_one = (ir.Constant(kind, [value] * GROUP) for value in (1.0, -1.0))
        numbers = builder.select(negative, minus_one, one)
        builder.store(numbers, _lanes(builder, line, group, like.type), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, like), codegen


@jitable
def keep_signs(line, n, kept, buffer, bits):
    """Keep the signs of the `n` numbers of a line, whose buffer is whole groups long."""
    if n % GROUP != 0:
        line = apart(line, n, buffer, bits)
    for group in range(groups_of(n)):
        gather_signs(line, group, bits, kept)


@jitable
def kept_signs(kept, n, buffer, like):
    """Fill a buffer, whole groups long, with `n` numbers whose signs were kept; return it."""
    for group in range(groups_of(n)):
        scatter_signs(kept, group, buffer, like)
    return buffer
