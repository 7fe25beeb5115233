"""Functions with forms for vectors: LLVM calls one in their place where it makes vectors of a loop.

Until then it leaves a call of such a function alone. The forms are inlined where the code is linked
into that of a caller and optimised once more: `loop.with_loop` sees to it.
"""

from __future__ import annotations

from llvmlite import ir
from llvmlite.binding import llvm_version_info

from fastloss.cpu.ir import target_of, vector_bits

#: Lanes of the vectors that LLVM may make of a loop.
LANES = (4, 8, 16)

# Bits of a vector that is the whole of a register with AVX.
_WHOLE = 256


def calls_keep_registers(context):
    """Whether a form for vectors may be one that keeps all registers of whoever calls it.

    Then it costs next to nothing where it is not inlined, which is in loops of users. LLVM has to
    call it as it wants to be called, and only one of whole vectors leaves them as they are: those
    of less end by clearing the upper halves.
    """
    triple, _ = target_of(context)
    return llvm_version_info >= (22,) and triple.startswith("x86_64")


def define(context, module, name, kind, letters, scalar, form, effects="readnone"):
    """Define the function `name` of `kind`, an LLVM function type, and its forms for vectors.

    `letters` are LLVM's for the parameters: v, of which a form is given a vector; u, the same for
    all lanes; l, of which it is given that of the first lane, and each lane's is one more.
    scalar(builder, args) and form(builder, lanes, args) write what is returned. `effects`: readnone
    or readonly.
    """
    forms = []
    for n in LANES:
        result = ir.VectorType(kind.return_type, n)
        bits = n * context.get_abi_sizeof(kind.return_type) * 8
        if bits > vector_bits(context):
            break
        given = [
            ir.VectorType(item, n) if letter == "v" else item
            for item, letter in zip(kind.args, letters, strict=True)
        ]
        of_vectors = ir.FunctionType(result, given)
        function = _function(module, f"{name}_{n}", of_vectors, effects, "alwaysinline")
        if bits >= _WHOLE and calls_keep_registers(context):
            function.calling_convention = "preserve_allcc"
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(form(builder, n, function.args))
        forms.append(f"_ZGV_LLVM_N{n}{letters}_{name}({function.name})")
    forms_of = f'"vector-function-abi-variant"="{",".join(forms)}"'
    # A call of one that looks at nothing else may be taken out of a branch.
    pure = ["speculatable"] if effects == "readnone" else []
    function = _function(module, name, kind, effects, "noinline", *pure, forms_of)
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(scalar(builder, function.args))
    return function


def _function(module, name, kind, *attributes):
    function = ir.Function(module, kind, name)
    function.linkage = "weak_odr"  # else LLVM drops what nothing calls before it makes vectors
    for attribute in ("nounwind", "willreturn", *attributes):
        set.add(function.attributes, attribute)  # llvmlite's own `add` does not know all of them
    return function
