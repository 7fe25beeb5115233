"""Tables of eight numbers in loops that LLVM turns into vectors: a permutation looks up all lanes.

Of a table in memory LLVM would make a gather. Here a table is a function of the index, with forms
for vectors.
"""

from __future__ import annotations

import zlib

import numpy as np
from llvmlite import ir

from fastloss.cpu import vector_forms
from fastloss.cpu.ir import I32, target_of

#: The numbers of a table.
ENTRIES = 8


def table_of(numbers):
    """The bits of numbers as float32."""
    return tuple(int(bits) for bits in np.asarray(numbers, np.float32).view(np.uint32))


def look_up(context, builder, table, index):
    """The entry of `table`, of 32 bits each, whose number stands in the lowest bits of `index`."""
    # By its contents: in one process there may be code of more than one version of the package.
    name = f"fastloss_table_{zlib.crc32(repr(table).encode()):08x}"
    function = builder.module.globals.get(name) or _define(context, builder.module, name, table)
    return builder.call(function, [index])


def _define(context, module, name, table):
    """Define the function of one index and those of vectors of them."""

    def one(builder, args):
        number = builder.and_(args[0], I32(ENTRIES - 1))
        return builder.extract_element(_vector(table), number)

    def several(builder, lanes, args):
        return _permuted(context, builder, table, args[0])

    kind = ir.FunctionType(I32, [I32])
    return vector_forms.define(context, module, name, kind, "v", one, several)


def _permuted(context, builder, table, index):
    """The entries for a vector of indices, by the CPU's permutation where it has one."""
    n = index.type.count
    _, features = target_of(context)
    if n == 2 * ENTRIES:  # only there with AVX-512
        return _permute(builder, "llvm.x86.avx512.permvar.si.512", table * 2, index)
    if n <= ENTRIES and "+avx2" in features:
        spread = [k % n for k in range(ENTRIES)]
        entries = _permute(builder, "llvm.x86.avx2.permd", table, _shuffled(builder, index, spread))
        return _shuffled(builder, entries, range(n))
    numbers = builder.and_(index, _vector([ENTRIES - 1] * n))
    entries = ir.Constant(index.type, ir.Undefined)
    for k in range(n):
        entry = builder.extract_element(_vector(table), builder.extract_element(numbers, I32(k)))
        entries = builder.insert_element(entries, entry, I32(k))
    return entries


def _vector(numbers):
    return ir.VectorType(I32, len(numbers))(list(numbers))


def _shuffled(builder, vector, order):
    order = list(order)
    if order == list(range(vector.type.count)):
        return vector
    return builder.shuffle_vector(vector, vector, _vector(order))


def _permute(builder, name, table, index):
    kind = index.type
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind, kind]), name)
    return builder.call(function, [_vector(table), index])
