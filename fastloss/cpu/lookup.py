"""Tables of eight numbers in loops that LLVM turns into vectors: a permutation looks up all lanes.

Of a table in memory LLVM would make a gather. Here a table is a function of the index. LLVM leaves
a call of it alone until it makes vectors, and calls its form for vectors then. That is inlined
where the code is linked into that of a caller and optimised once more: `loop.with_loop` sees to it.
"""

from __future__ import annotations

import zlib

import numpy as np
from llvmlite import ir
from llvmlite.binding import llvm_version_info

from fastloss.cpu.ir import I32, target_of, vector_bits

#: The numbers of a table.
ENTRIES = 8

#: Lanes of the vectors that LLVM may make of a loop.
LANES = (4, 8, 16)


def table_of(numbers):
    """The bits of numbers as float32."""
    return tuple(int(bits) for bits in np.asarray(numbers, np.float32).view(np.uint32))


def look_up(context, builder, table, index):
    """The entry of `table`, of 32 bits each, whose number stands in the lowest bits of `index`."""
    # By its contents: in one process there may be code of more than one version of the package.
    name = f"fastloss_table_{zlib.crc32(repr(table).encode()):08x}"
    function = builder.module.globals.get(name) or _define(context, builder.module, name, table)
    return builder.call(function, [index])


def calls_keep_registers(context):
    """Whether a form for vectors may be one that keeps all registers of whoever calls it.

    Then it costs next to nothing where it is not inlined, which is in loops of users. LLVM has to
    call it as it wants to be called, and only one of whole vectors leaves them as they are: those
    of less end by clearing the upper halves.
    """
    triple, _ = target_of(context)
    return llvm_version_info >= (22,) and triple.startswith("x86_64")


def _define(context, module, name, table):
    """Define the function of one index and those of vectors of them."""
    forms = []
    for n in LANES:
        if 32 * n > vector_bits(context):
            break
        form = _function(module, f"{name}_{n}", ir.VectorType(I32, n), "alwaysinline")
        if n > 4 and calls_keep_registers(context):
            form.calling_convention = "preserve_allcc"
        builder = ir.IRBuilder(form.append_basic_block())
        builder.ret(_permuted(context, builder, table, form.args[0]))
        forms.append(f"_ZGV_LLVM_N{n}v_{name}({form.name})")
    forms_of = f'"vector-function-abi-variant"="{",".join(forms)}"'
    function = _function(module, name, I32, "noinline", "speculatable", forms_of)
    builder = ir.IRBuilder(function.append_basic_block())
    number = builder.and_(function.args[0], I32(ENTRIES - 1))
    builder.ret(builder.extract_element(_vector(table), number))
    return function


def _function(module, name, kind, *attributes):
    function = ir.Function(module, ir.FunctionType(kind, [kind]), name)
    function.linkage = "weak_odr"  # else LLVM drops what nothing calls before it makes vectors
    for attribute in ("nounwind", "readnone", "willreturn", *attributes):
        set.add(function.attributes, attribute)  # llvmlite's own `add` does not know all of them
    return function


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
