"""Transposing blocks of an array in registers, between rows of examples and lines of a tile."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from fastloss.cpu.intrinsic import intrinsic_called
from fastloss.cpu.ir import I8, I32, I64, least, size_of
from fastloss.elementary import jitable


def _exchange(builder, rows, k):
    """Exchange, between each two rows that are `k` apart, the columns that are `k` apart."""
    width = len(rows)
    kept = ir.Constant(
        ir.VectorType(I32, width), [j if j & k == 0 else width + j - k for j in range(width)]
    )
    moved = ir.Constant(
        ir.VectorType(I32, width), [j + k if j & k == 0 else width + j for j in range(width)]
    )
    for i in range(width):
        if i & k == 0:
            a, b = rows[i], rows[i + k]
            rows[i] = builder.shuffle_vector(a, b, kept)
            rows[i + k] = builder.shuffle_vector(a, b, moved)


def _make_transpose(name, width):
    """Make the intrinsic `name`(source, step, target, target_step, like) for blocks of `width`^2.

    Steps are the bytes from row to row, entries have the type of `like`.
    """

    @intrinsic_called(name, __name__)
    def transpose(typingctx, source, step, target, target_step, like):
        def codegen(context, builder, signature, args):
            source, step, target, target_step, _ = args
            vector = ir.VectorType(context.get_value_type(like), width)

            def pointers(address, step):
                start = builder.inttoptr(address, I8.as_pointer())
                return [
                    builder.bitcast(
                        builder.gep(start, [builder.mul(step, I64(i))]), vector.as_pointer()
                    )
                    for i in range(width)
                ]

            rows = [
                builder.load(pointer, typ=vector, align=1) for pointer in pointers(source, step)
            ]
            k = 1
            while k < width:
                _exchange(builder, rows, k)
                k *= 2
            for row, pointer in zip(rows, pointers(target, target_step), strict=True):
                builder.store(row, pointer, align=1)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4, like), codegen

    return transpose


transpose4 = _make_transpose("transpose4", 4)
transpose8 = _make_transpose("transpose8", 8)


@jitable
def transposed(source, step, rows, columns, target, target_step, like):
    """Transpose a matrix of float32 or float64, and return whether that was done.

    One of fewer than 4 rows or columns has no blocks.
    """
    least_side = least(rows, columns)
    if least_side < 4:
        return False
    block = 8 if least_side >= 8 else 4
    itemsize = size_of(like)
    # The last blocks reach back, and write once more what is there.
    for i in range(0, rows, block):
        row = least(i, rows - block)
        for j in range(0, columns, block):
            column = least(j, columns - block)
            here = source + row * step + column * itemsize
            there = target + column * target_step + row * itemsize
            if block == 8:
                transpose8(here, step, there, target_step, like)
            else:
                transpose4(here, step, there, target_step, like)
    return True
