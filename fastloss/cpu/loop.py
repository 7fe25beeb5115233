"""A loop over elements in which LLVM is told what vectors to make.

By itself it goes by the widest number in the loop. A sum in float64 of losses in float32 would
halve the vectors of everything, and to keep the losses for a loop of their own costs a store each,
while the memory rests.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import register_jitable

from fastloss.cpu.intrinsic import intrinsic
from fastloss.cpu.ir import F64, I32, I64, vector_bits
from fastloss.elementary import inline, jitable

#: Vectors computed side by side: what depends on one another in a formula is a long chain.
INTERLEAVED = 2


def hint(module, wishes):
    """The metadata that tells LLVM what is wanted of the loop whose last branch has it.

    Without `vectorize.enable`: of a loop that cannot be vectorised LLVM would then complain.
    """
    entries = [
        module.add_metadata([ir.MetaDataString(module, f"llvm.loop.{name}"), I32(value)])
        for name, value in wishes.items()
    ]
    node = module.add_metadata(entries)
    node.operands = node, *entries  # LLVM knows a loop's metadata by this
    return node


def with_loop(function):
    """Make the function one that kernels call, with a loop whose formulas may look up tables.

    LLVM gets it twice: what makes a loop vectors is not followed by what inlines the look-ups.
    """
    inlined = inline(function)

    @jitable
    def called(*args):
        return inlined(*args)

    return called


@intrinsic
def _stay_apart(typingctx):
    """Tell LLVM not to make the function part of another."""

    def codegen(context, builder, signature, values):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def with_loop_apart(function):
    """The same, for a function of many elements in a kernel with many loops: it is not made part.

    LLVM keeps a loop's constants in registers by what all of the function needs, of which such a
    kernel leaves none: they are then read anew in each turn.
    """
    inlined = inline(function)

    # Else it would be made part of a caller that is, which Numba hands down.
    @register_jitable(forceinline=False, no_cfunc_wrapper=True)
    def called(*args):
        _stay_apart()
        return inlined(*args)

    return called


@intrinsic
def for_each(typingctx, n, body, args):
    """Call body(i, *args) for the i in range(n); return the sum of what it returns, in float64.

    A body that returns nothing makes a loop without a sum.
    """
    inner = body.get_call_type(typingctx, (types.int64, *args.types), {})
    summed = inner.return_type != types.none
    result = types.float64 if summed else types.none

    def codegen(context, builder, signature, values):
        n, _, packed = values
        call = context.get_function(body, inner)
        given = [builder.extract_value(packed, k) for k in range(len(args.types))]
        before = builder.block
        head, turn, after = map(builder.append_basic_block, ("head", "turn", "after"))
        builder.branch(head)

        builder.position_at_end(head)
        i, total = builder.phi(I64), builder.phi(F64)
        i.add_incoming(I64(0), before)
        total.add_incoming(ir.Constant(F64, 0.0), before)
        builder.cbranch(builder.icmp_signed("<", i, n), turn, after)

        builder.position_at_end(turn)
        returned = call(builder, [i, *given])
        wishes = {"interleave.count": INTERLEAVED}
        sum_so_far = total
        if summed:
            value = context.cast(builder, returned, inner.return_type, types.float64)
            sum_so_far = builder.fadd(total, value, flags=("reassoc",))
            size = context.get_abi_sizeof(context.get_value_type(inner.return_type))
            wishes["vectorize.width"] = vector_bits(context) // (8 * size)
        i.add_incoming(builder.add(i, I64(1), flags=("nsw",)), builder.block)
        total.add_incoming(sum_so_far, builder.block)
        builder.branch(head).set_metadata("llvm.loop", hint(builder.module, wishes))

        builder.position_at_end(after)
        return total if summed else context.get_dummy_value()

    return result(types.int64, body, args), codegen
