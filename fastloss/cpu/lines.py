"""Lines of scratch memory with one number for each example of a tile.

All lines of a tile lie at constant distances from one address: LLVM sees that none overlaps
another, and vectorises loops over the examples without a check at run time.
"""

from __future__ import annotations

from numba.core import types

from fastloss.cpu.intrinsic import intrinsic, intrinsic_called
from fastloss.cpu.ir import I8, I64

#: Examples that a line has room for.
MAX_LANES = 256

#: Bytes from line to line. A power of 2 would make them compete for the same cache sets.
STEP = 8 * MAX_LANES + 64


def _place(builder, lines, line, lane, kind):
    start = builder.inttoptr(lines, I8.as_pointer())
    start = builder.gep(start, [builder.mul(line, I64(STEP))])
    return builder.gep(builder.bitcast(start, kind.as_pointer()), [lane], source_etype=kind)


def _read(builder, lines, line, lane, kind):
    value = builder.load(_place(builder, lines, line, lane, kind), typ=kind)
    value.align = 1
    return value


def _write(builder, lines, line, lane, value):
    store = builder.store(value, _place(builder, lines, line, lane, value.type))
    store.align = 1


def make_lines_at(name, module, lines):
    """Make the intrinsic module.name(first, step): a NamedTuple of addresses, so far apart."""
    kind = types.NamedUniTuple(types.int64, len(lines._fields), lines)

    @intrinsic_called(name, module)
    def lines_at(typingctx, first, step):
        def codegen(context, builder, signature, args):
            first, step = args
            places = [
                builder.add(first, builder.mul(step, I64(k))) for k in range(len(lines._fields))
            ]
            return context.make_tuple(builder, kind, places)

        return kind(types.int64, types.int64), codegen

    return lines_at


@intrinsic
def read_line(typingctx, lines, line, lane, like):
    """The number of the type of `like` that stands in line number `line`."""

    def codegen(context, builder, signature, args):
        return _read(builder, *args[:3], context.get_value_type(like))

    return like(lines, line, lane, like), codegen


@intrinsic
def write_line(typingctx, lines, line, lane, value):
    """Write a number to line number `line`."""

    def codegen(context, builder, signature, args):
        _write(builder, *args)
        return context.get_dummy_value()

    return types.void(lines, line, lane, value), codegen


@intrinsic
def write_lines(typingctx, lines, first, lane, values, like):
    """Write a tuple to the lines from number `first` on, each entry as the type of `like`."""

    def codegen(context, builder, signature, args):
        lines, first, lane, values, _ = args
        for k, given in enumerate(signature.args[3]):
            value = context.cast(builder, builder.extract_value(values, k), given, like)
            _write(builder, lines, builder.add(first, I64(k)), lane, value)
        return context.get_dummy_value()

    return types.void(lines, first, lane, values, like), codegen


@intrinsic
def read_lines(typingctx, lines, first, lane, likes, zero):
    """A tuple with a number of each line from number `first` on, of the types of `likes`.

    Where `likes` has None, nothing is read and `zero` stands instead.
    """
    kinds = [zero if kind == types.none else kind for kind in likes]
    kind = types.BaseTuple.from_types(kinds)

    def codegen(context, builder, signature, args):
        lines, first, lane, _, zero_value = args
        entries = [
            zero_value
            if given == types.none
            else _read(
                builder, lines, builder.add(first, I64(k)), lane, context.get_value_type(given)
            )
            for k, given in enumerate(likes)
        ]
        return context.make_tuple(builder, kind, entries)

    return kind(lines, first, lane, likes, zero), codegen
