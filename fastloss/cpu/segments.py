"""Rows that lie one after the other without gaps: numbers of a row, and a row of a number.

A row too short for a vector is read as one all the same, and what lies behind it is blanked out;
written as one, and what lies behind it is written over by the next. So the lines that are read
and written here go on for a vector behind their last row.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from fastloss.cpu.intrinsic import intrinsic
from fastloss.cpu.ir import F32, F64, I32, I64, read, write
from fastloss.elementary import inline

VECTOR_BYTES = 64


def _vector_of(kind):
    """(LLVM type of a vector, its width) of a Numba float."""
    width = VECTOR_BYTES // (kind.bitwidth // 8)
    return ir.VectorType(F32 if kind == types.float32 else F64, width), width


def _splat(builder, value, width):
    kind = ir.VectorType(value.type, width)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
    return _shuffle(builder, first, first, [0] * width)


def _shuffle(builder, a, b, order):
    mask = ir.Constant(ir.VectorType(I32, len(order)), [I32(k) for k in order])
    return builder.shuffle_vector(a, b, mask)


def _halves(width, groups):
    """Orders of two vectors' first and second halves of each of their groups, group by group."""
    size = width // groups
    first = []
    for g in range(groups):
        first += [g * size + k for k in range(size // 2)]
        first += [width + g * size + k for k in range(size // 2)]
    return first, [k + size // 2 for k in first]


def _sums(builder, rows):
    """The vector of the sums of as many vectors as each has entries.

    Halves of two are added side by side, until a vector has one entry for each.
    """
    width = len(rows)
    vectors = [(vector, [number]) for number, vector in enumerate(rows)]
    groups = 1
    while len(vectors) > 1:
        half = len(vectors) // 2
        first, second = _halves(width, groups)
        joined = []
        for (a, of_a), (b, of_b) in zip(vectors[:half], vectors[half:], strict=True):
            total = builder.fadd(_shuffle(builder, a, b, first), _shuffle(builder, a, b, second))
            joined.append((total, [n for pair in zip(of_a, of_b, strict=True) for n in pair]))
        vectors, groups = joined, 2 * groups
    total, numbers = vectors[0]
    return _shuffle(builder, total, total, [numbers.index(k) for k in range(width)])


@intrinsic
def sum_parts(typingctx, line, step, n, out, before, like):
    """Write the sums of n entries of as many rows as a vector has, `step` bytes apart.

    From the entry number `before` of the rows on, that is: if it is not 0, what stands at `out`
    is added.
    """

    def codegen(context, builder, signature, args):
        line, step, n, out, before, _ = args
        kind, width = _vector_of(like)
        numbers = ir.Constant(ir.VectorType(I64, width), [I64(k) for k in range(width)])
        inside = builder.icmp_signed("<", numbers, _splat(builder, n, width))
        zero = ir.Constant(kind, [ir.Constant(kind.element, 0.0)] * width)
        rows = []
        for k in range(width):
            address = builder.add(line, builder.mul(step, I64(k)))
            rows.append(builder.select(inside, read(builder, address, I64(0), kind, False), zero))
        again = builder.icmp_signed("!=", before, I64(0))
        old = builder.select(again, read(builder, out, I64(0), kind, False), zero)
        write(builder, out, I64(0), builder.fadd(_sums(builder, rows), old), False)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, like), codegen


@intrinsic
def fill_vector(typingctx, address, value):
    """Write a whole vector of one number."""

    def codegen(context, builder, signature, args):
        _, width = _vector_of(value)
        write(builder, args[0], I64(0), _splat(builder, args[1], width), False)
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


@inline
def sum_rows(line, m, classes, size, out, like):
    """Write the sums of m rows of numbers of the type of `like`, which has `size` bytes."""
    width = VECTOR_BYTES // size
    for r in range(0, m, width):
        for c in range(0, classes, width):
            here = line + (r * classes + c) * size
            sum_parts(here, classes * size, classes - c, out + r * size, c, like)


@inline
def spread_rows(numbers, m, classes, size, line, peek):
    """Write each of m numbers as often as a row has entries."""
    width = VECTOR_BYTES // size
    for r in range(m):
        number = peek(numbers, r)
        for c in range(0, classes, width):
            fill_vector(line + (r * classes + c) * size, number)
