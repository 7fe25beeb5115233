"""Transposing blocks of an array in registers, between rows of examples and lines of a tile."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import register_jitable

from fastloss.cpu.intrinsic import intrinsic_called
from fastloss.cpu.ir import F32, F64, I8, I32, I64, least
from fastloss.cpu.memory import STORAGE


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


def _make_transpose(name, item, width):
    """Make the intrinsic `name`(source, step, target, target_step) for blocks of `width`^2.

    Steps are the bytes from row to row.
    """
    vector = ir.VectorType(item, width)

    @intrinsic_called(name, __name__)
    def transpose(typingctx, source, step, target, target_step):
        def codegen(context, builder, signature, args):
            source, step, target, target_step = args

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

        return types.void(*[types.int64] * 4), codegen

    return transpose


transpose4_float32 = _make_transpose("transpose4_float32", F32, 4)
transpose4_float64 = _make_transpose("transpose4_float64", F64, 4)
transpose8_float32 = _make_transpose("transpose8_float32", F32, 8)
transpose8_float64 = _make_transpose("transpose8_float64", F64, 8)

_BLOCKS = {
    "float32": ((8, transpose8_float32), (4, transpose4_float32)),
    "float64": ((8, transpose8_float64), (4, transpose4_float64)),
}


def make_transposition(dtype: str) -> Any:
    """Make the function that transposes a matrix of float32 or float64.

    It returns whether it did: a matrix of fewer than 4 rows or columns has no blocks.
    """
    itemsize = STORAGE[dtype].itemsize
    by_8, by_4 = [_in_blocks(block, each, itemsize) for block, each in _BLOCKS[dtype]]

    @register_jitable
    def transposed(source, step, rows, columns, target, target_step):
        least_side = least(rows, columns)
        if least_side >= 8:
            by_8(source, step, rows, columns, target, target_step)
        elif least_side >= 4:
            by_4(source, step, rows, columns, target, target_step)
        return least_side >= 4

    return transposed


def _in_blocks(block: int, transpose: Any, itemsize: int) -> Any:
    @register_jitable
    def in_blocks(source, step, rows, columns, target, target_step):
        # The last blocks reach back, and write once more what is there.
        for i in range(0, rows, block):
            row = least(i, rows - block)
            for j in range(0, columns, block):
                column = least(j, columns - block)
                transpose(
                    source + row * step + column * itemsize, step,
                    target + column * target_step + row * itemsize, target_step,
                )  # fmt: skip

    return in_blocks
