"""The instructions that Numba does not offer as Python, one intrinsic each.

Those that a reduction is made of carry their own fast-math flags: kernels themselves are
compiled without any that could drop a nan, and only these sums and maxima may be reordered
(which is what lets LLVM vectorise them).
"""

from __future__ import annotations

from typing import get_type_hints

import numpy as np
from llvmlite import ir
from numba.core import types

from fastloss.cpu.intrinsic import intrinsic, intrinsic_called, intrinsic_of_literals

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()


def call_llvm(builder, name, args, fastmath=()):
    """Emit a call of the overloaded LLVM intrinsic `name` on arguments of one type."""
    kind = args[0].type
    function = builder.module.declare_intrinsic(
        name, [kind], ir.FunctionType(kind, [kind] * len(args))
    )
    return builder.call(function, args, fastmath=fastmath)


def target_of(context):
    """(triple, features) of what Numba compiles for, which need not be this CPU.

    Numba's cache tells targets apart by the same.
    """
    triple, _, features = context.codegen().magic_tuple()
    return triple, features.split(",")


def vector_bits(context):
    """The bits of the widest vectors that Numba compiles for."""
    _, features = target_of(context)
    if "+avx512f" in features:
        return 512
    return 256 if "+avx" in features else 128


# --- arithmetic -------------------------------------------------------------------------


@intrinsic
def muladd(typingctx, a, b, c):
    """a * b + c, fused where the CPU has the instruction (never a library call)."""

    def codegen(context, builder, signature, args):
        return call_llvm(builder, "llvm.fmuladd", args)

    return a(a, a, a), codegen


@intrinsic
def divide(typingctx, a, b):
    """a / b without the check for 0 that Numba's default error model adds.

    Of two types in float64: outside of the kernels, options are literals of it.
    """
    kind = a if a == b and isinstance(a, types.Float) else types.float64

    def codegen(context, builder, signature, args):
        pairs = zip(args, signature.args, strict=True)
        return builder.fdiv(*[context.cast(builder, x, given, kind) for x, given in pairs])

    return kind(a, b), codegen


@intrinsic
def root(typingctx, x):
    """The square root: one instruction, also in a vector."""

    def codegen(context, builder, signature, args):
        return call_llvm(builder, "llvm.sqrt", args)

    return x(x), codegen


@intrinsic
def add_as_is(typingctx, a, b):
    """a + b, the rounding included: without the fast-math flags of whoever calls."""

    def codegen(context, builder, signature, args):
        return builder.fadd(*args)

    return a(a, a), codegen


@intrinsic
def running_max(typingctx, a, b):
    """The larger of the two, a nan if there is one; the flags let a maximum vectorise."""

    def codegen(context, builder, signature, args):
        return call_llvm(builder, "llvm.maximum", args, fastmath=("reassoc", "nsz"))

    return a(a, a), codegen


@intrinsic
def running_sum(typingctx, a, b):
    """a + b, in an order that LLVM may choose (the same for the same input)."""

    def codegen(context, builder, signature, args):
        return builder.fadd(*args, flags=("reassoc",))

    return a(a, a), codegen


@intrinsic
def choose(typingctx, condition, a, b):
    """One of two numbers of the same type, without a branch."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return a(types.boolean, a, a), codegen


@intrinsic
def larger(typingctx, a, b):
    """The larger of the two, `b` where `a` is nan: one instruction, also in a vector."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, a), codegen


@intrinsic
def at_least(typingctx, x, low):
    """The larger of the two, nan if one is; one instruction where `low` is a constant."""

    def codegen(context, builder, signature, args):
        return call_llvm(builder, "llvm.maximum", args, fastmath=("nsz",))

    return x(x, x), codegen


@intrinsic
def at_most(typingctx, x, high):
    """The smaller of the two, nan if one is; one instruction where `high` is a constant."""

    def codegen(context, builder, signature, args):
        return call_llvm(builder, "llvm.minimum", args, fastmath=("nsz",))

    return x(x, x), codegen


@intrinsic
def cast_like(typingctx, value, like):
    """`value` in the type of the float `like`."""

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[0], signature.args[0], signature.return_type)

    return like(value, like), codegen


@intrinsic
def pick(typingctx, single, double, like):
    """The one of two constants that is meant for the precision of `like`."""

    def codegen(context, builder, signature, args):
        is_single = signature.return_type == types.float32
        kind = signature.args[0 if is_single else 1]
        return context.cast(builder, args[0 if is_single else 1], kind, signature.return_type)

    return like(single, double, like), codegen


@intrinsic
def least(typingctx, a, b):
    """The smaller of two integers; Numba's own `min` is two functions and a tuple."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.icmp_signed("<", *args), *args)

    return types.int64(types.int64, types.int64), codegen


def make_polynomial(name, module, single=None, double=None):
    """Make the intrinsic module.name(x): Horner's scheme, highest coefficient first.

    One intrinsic for all of it: each one that Numba has to resolve delays a first call.
    """

    @intrinsic_called(name, module)
    def polynomial(typingctx, x):
        def codegen(context, builder, signature, args):
            kind = args[0].type
            first, *others = (
                ir.Constant(kind, value) for value in (single if kind == F32 else double)
            )
            value = first
            for coefficient in others:
                value = call_llvm(builder, "llvm.fmuladd", (value, args[0], coefficient))
            return value

        return x(x), codegen

    return polynomial


# --- memory -----------------------------------------------------------------------------
# Addresses are plain integers, and every access may be misaligned.


def pointer(builder, address, index, item):
    return builder.gep(builder.inttoptr(address, item.as_pointer()), [index])


def scope_list(module):
    """The alias scope of whatever a kernel streams in."""
    domain = module.add_metadata(["fastloss"])
    return module.add_metadata([module.add_metadata(["fastloss.streamed", domain])])


def read(builder, address, index, item, streamed):
    value = builder.load(pointer(builder, address, index, item))
    value.align = 1
    if streamed:
        value.set_metadata("alias.scope", scope_list(builder.module))
    return value


def write(builder, address, index, value, streamed):
    store = builder.store(value, pointer(builder, address, index, value.type))
    store.align = 1
    if streamed:
        store.set_metadata("noalias", scope_list(builder.module))


@intrinsic
def size_of(typingctx, like):
    """The bytes of a number of the type of `like`."""

    def codegen(context, builder, signature, args):
        return I64(context.get_abi_sizeof(context.get_value_type(like)))

    return types.int64(like), codegen


@intrinsic
def peek_like(typingctx, address, index, like):
    """The number at an index, of the type of `like`."""

    def codegen(context, builder, signature, args):
        return read(builder, *args[:2], context.get_value_type(like), False)

    return like(types.int64, types.int64, like), codegen


@intrinsic
def poke_like(typingctx, address, index, value):
    """Write a number at an index, as it is."""

    def codegen(context, builder, signature, args):
        write(builder, *args, False)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), codegen


@intrinsic
def allocate(typingctx, size):
    """Address of `size` new bytes, until `release`: scratch memory without an array's overhead."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(context.nrt.allocate(builder, args[0]), I64)

    return types.int64(types.int64), codegen


@intrinsic
def release(typingctx, address):
    """Give back what `allocate` returned."""

    def codegen(context, builder, signature, args):
        context.nrt.free(builder, builder.inttoptr(args[0], I8.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def make_load(name, module, kind, item, decode=None, *, streamed=True):
    """Make the intrinsic module.name(address, index) that loads the Numba type `kind`.

    A `streamed` load may be taken as independent of every streamed store. The two overlap
    only in place, where element i is read before it is written and never again; without the
    promise LLVM checks for overlap at run time and then falls back to a scalar loop.
    """

    @intrinsic_called(name, module)
    def load(typingctx, address, index):
        def codegen(context, builder, signature, args):
            raw = read(builder, *args, item, streamed)
            return decode(context, builder, raw) if decode else raw

        return kind(types.int64, types.int64), codegen

    return load


def make_store(name, module, kind, encode=None, *, streamed=True):
    """Make the intrinsic module.name(address, index, value) that stores the type `kind`."""

    @intrinsic_called(name, module)
    def store(typingctx, address, index, value):
        def codegen(context, builder, signature, args):
            address, index, value = args
            raw = encode(context, builder, value) if encode else value
            write(builder, address, index, raw, streamed)

        return types.void(types.int64, types.int64, kind), codegen

    return store


def make_read_record(name, module, record, arrays=0):
    """Make the intrinsic module.name(address) that reads a NamedTuple of ints and floats.

    Where its first `arrays` fields are addresses of arrays, they lie at the address and are
    followed by where the others lie.
    """
    fields = [
        types.float64 if kind is float else types.int64 for kind in get_type_hints(record).values()
    ]
    kind = types.NamedTuple(fields, record)

    @intrinsic_called(name, module)
    def read_record(typingctx, address):
        def codegen(context, builder, signature, args):
            def entry(address, k, field):
                return read(builder, address, I64(k), context.get_value_type(field), False)

            (address,) = args
            others = entry(address, arrays, types.int64) if arrays else address
            values = [entry(address, k, field) for k, field in enumerate(fields[:arrays])]
            values += [entry(others, k, field) for k, field in enumerate(fields[arrays:])]
            return context.make_tuple(builder, kind, values)

        return kind(types.int64), codegen

    return read_record


@intrinsic
def call_kernel(typingctx, kernel, record, chunk, slot):
    """Call the compiled kernel at the address `kernel`."""

    def codegen(context, builder, signature, args):
        function = ir.FunctionType(F64, [I64, I64, I64])
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])

    return types.float64(types.int64, types.int64, types.int64, types.int64), codegen


# --- the parameters of a formula --------------------------------------------------------
# `where` has an entry for each: one of the first two, or the bits of a constant. Numba knows the
# numbers in a tuple when it compiles, if they are all ints.

IN_RECORD, IN_ARRAY = -1, -2  # the bits of a nan


def bits_of(constant: float) -> int:
    """Return the entry of `where` for a constant."""
    return int(np.float64(constant).view(np.int64))


def _place(kind):
    """Return an entry of `where`."""
    return kind.literal_value


@intrinsic_of_literals
def load_tuple(typingctx, address, where, like):
    """As many values of the type of `like`, from `address` on, as `where` has entries."""
    like = types.unliteral(like)
    kind = types.UniTuple(like, len(where))

    def codegen(context, builder, signature, args):
        item = context.get_value_type(like)
        values = [read(builder, args[0], I64(k), item, False) for k in range(len(where))]
        return context.make_tuple(builder, kind, values)

    return kind(address, where, like), codegen


@intrinsic_of_literals
def mix_tuple(typingctx, values, lines, index, where):
    """`values`, with the entries of arrays read from lines[k] at `index`, and the constants."""

    def codegen(context, builder, signature, args):
        item = context.get_value_type(values.dtype) if len(values) else None
        entries = []
        for k, place in enumerate(map(_place, where)):
            if place == IN_RECORD:
                entries.append(builder.extract_value(args[0], k))
            elif place == IN_ARRAY:
                line = builder.extract_value(args[1], k)
                entries.append(read(builder, line, args[2], item, True))
            else:
                entries.append(item(float(np.int64(place).view(np.float64))))
        return context.make_tuple(builder, values, entries)

    return values(values, lines, index, where), codegen
