"""Rows that lie one after the other without gaps: numbers of a row, and a row of a number.

A row too short for a vector is read as one all the same, and what lies behind it is blanked out;
written as one, and what lies behind it is written over by the next. So the lines that are read
and written here go on for a vector behind their last row.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from fastloss.cpu.intrinsic import intrinsic_of_literals
from fastloss.cpu.ir import F32, F64, I32, I64, read, write
from fastloss.elementary import inline

#: Bytes of the vectors that rows are taken by: those of all rows, and of very short ones.
VECTOR_BYTES, SHORT_VECTOR_BYTES = 64, 32


def _vector_of(kind, vector_bytes):
    """(LLVM type of a vector, its width) of a Numba float."""
    width = vector_bytes // (kind.bitwidth // 8)
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


@intrinsic_of_literals
def sum_parts(typingctx, line, step, n, out, before, vector_bytes, like):
    """Write the sums of n entries of as many rows as a vector has, `step` bytes apart.

    From the entry number `before` of the rows on, that is: if it is not 0, what stands at `out`
    is added.
    """

    def codegen(context, builder, signature, args):
        line, step, n, out, before, *_ = args
        kind, width = _vector_of(like, vector_bytes.literal_value)
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

    return types.void(*[types.int64] * 5, vector_bytes, like), codegen


@intrinsic_of_literals
def fill_vector(typingctx, address, number, vector_bytes):
    """Write a whole vector of one number."""

    def codegen(context, builder, signature, args):
        _, width = _vector_of(number, vector_bytes.literal_value)
        write(builder, args[0], I64(0), _splat(builder, args[1], width), False)
        return context.get_dummy_value()

    return types.void(types.int64, number, vector_bytes), codegen


@intrinsic_of_literals
def scale_vector(typingctx, source, target, number, vector_bytes):
    """Write a whole vector multiplied by a number."""

    def codegen(context, builder, signature, args):
        source, target, factor, _ = args
        kind, width = _vector_of(number, vector_bytes.literal_value)
        vector = read(builder, source, I64(0), kind, False)
        product = builder.fmul(vector, _splat(builder, factor, width))
        write(builder, target, I64(0), product, False)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, number, vector_bytes), codegen


@inline
def sum_rows(line, m, classes, size, out, like):
    """Write the sums of m rows of numbers of the type of `like`, which has `size` bytes."""
    step = classes * size
    if step <= SHORT_VECTOR_BYTES:
        for r in range(0, m, SHORT_VECTOR_BYTES // size):
            sum_parts(line + r * step, step, classes, out + r * size, 0, SHORT_VECTOR_BYTES, like)
        return
    width = VECTOR_BYTES // size
    for r in range(0, m, width):
        for c in range(0, classes, width):
            here = line + r * step + c * size
            sum_parts(here, step, classes - c, out + r * size, c, VECTOR_BYTES, like)


@inline
def spread_rows(numbers, m, classes, size, line, peek):
    """Write each of m numbers as often as a row has entries."""
    step = classes * size
    if step <= SHORT_VECTOR_BYTES:
        for r in range(m):
            fill_vector(line + r * step, peek(numbers, r), SHORT_VECTOR_BYTES)
        return
    for r in range(m):
        number = peek(numbers, r)
        fill_vector(line + r * step, number, VECTOR_BYTES)
        for more in range(VECTOR_BYTES, step, VECTOR_BYTES):
            fill_vector(line + r * step + more, number, VECTOR_BYTES)


@inline
def scale_rows(line, numbers, m, classes, size, target, peek, poke):
    """Write m rows, each multiplied by a number of its own, and nothing behind the last."""
    step = classes * size
    done = 0
    if step <= SHORT_VECTOR_BYTES:
        while done * step + SHORT_VECTOR_BYTES <= m * step:
            here = done * step
            scale_vector(line + here, target + here, peek(numbers, done), SHORT_VECTOR_BYTES)
            done += 1
    else:
        whole = (step + VECTOR_BYTES - 1) // VECTOR_BYTES * VECTOR_BYTES
        while done * step + whole <= m * step:
            here, number = done * step, peek(numbers, done)
            scale_vector(line + here, target + here, number, VECTOR_BYTES)
            for more in range(here + VECTOR_BYTES, here + whole, VECTOR_BYTES):
                scale_vector(line + more, target + more, number, VECTOR_BYTES)
            done += 1
    for r in range(done, m):
        for k in range(r * classes, (r + 1) * classes):
            poke(target, k, peek(line, k) * peek(numbers, r))
