"""Forms for vectors: that loops of kernels are made of them, with nothing left to call."""

import re

import llvmlite.binding
import numpy as np
import pytest

import fastloss as fl
from fastloss.cpu import compile as compilation
from fastloss.cpu.pointwise import compute_kernel
from fastloss.variant import Outputs, PointwiseVariant
from tests.helpers import compiled_anew, each, libraries

FEATURES = llvmlite.binding.get_host_cpu_features()
PERMUTES = pytest.mark.skipif(not FEATURES.get("avx2"), reason="the CPU permutes no vectors")


def rows(classes, *more):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(64, classes, *more)).astype(np.float32)
    return logits, rng.integers(0, classes, (64, *more))


def probabilities(classes, *more):
    targets = np.full((64, classes, *more), 1 / classes, np.float32)
    return targets.copy(), targets


def call_ntxent():
    logits, _ = rows(40)
    fl.ntxent.value_and_grad(logits, np.arange(64) // 2)


def call_focal():
    logits, _ = rows(100)
    fl.focal.value_and_grad(logits, (logits > 0).astype(np.float32))


#: A call that needs a kernel of each of these modules, and the loss that it is made for, if any.
CALLS = {
    "pointwise": (call_focal, "focal"),
    "separable_flat": (
        lambda: fl.categorical_cross_entropy.value_and_grad(*probabilities(10)),
        "",
    ),
    "separable_lanes": (
        lambda: fl.categorical_cross_entropy.value_and_grad(*probabilities(10, 50), axis=1),
        "",
    ),
    "row_lanes": (
        lambda: fl.focal_cross_entropy.value_and_grad(*rows(10)),
        "focal_cross_entropy",
    ),
    "row_losses": (
        lambda: fl.focal_cross_entropy.value_and_grad(*rows(1000)),
        "focal_cross_entropy",
    ),
    "similarities": (call_ntxent, ""),
    "softmax_flat": (lambda: fl.cross_entropy.value_and_grad(*rows(10)), ""),
    "softmax_lanes": (lambda: fl.cross_entropy.value_and_grad(*rows(10, 50), axis=1), ""),
    "softmax_rows": (lambda: fl.cross_entropy.value_and_grad(*rows(1000)), ""),
}

#: Of targets that are kept as bits.
OF_SIGNS = PointwiseVariant(
    "float32", "float32", False, (False, False), Outputs(True, True, False, False), signs=True
)


def kernel_of(name):
    """A kernel of a module for float32, compiled anew."""
    call, loss = CALLS[name]
    call()
    *_, kernel = (
        kernel
        for kernel in compilation.KERNELS
        if "compiled" in vars(kernel) and is_for(kernel.make, f"fastloss.cpu.{name}", loss)
    )
    return compiled_anew(kernel)


def is_for(make, module, loss):
    """Whether a kernel's maker is of a module, for float32 predictions and the loss' value."""
    args = str(getattr(make, "args", ()))
    named = not loss or f"name={loss!r}" in args
    fits = all(f"{key}=" not in args or f"{key}={value!r}" in args for key, value in WANTED.items())
    of_module = getattr(make, "func", make).__module__ == module
    return of_module and "float32" in args and named and fits


#: What a kernel's variant has to say, where it says something of it.
WANTED = {"predictions": "float32", "loss": True}

FORM = r"@fastloss_(table_[0-9a-f]+|kept_sign_[a-z]+)_\d+\("


def check_no_calls(kernel):
    """No function that runs as it is calls a form: the loops have its instructions."""
    for library in libraries(kernel._library):
        for function in library._final_module.functions:
            text = str(function)
            own = not function.is_declaration and function.linkage.name == "external"
            inlined = any(b"alwaysinline" in attributes for attributes in function.attributes)
            assert inlined or not own or not re.search(rf"call [^\n]*{FORM}", text), function.name


@PERMUTES
@each("name", CALLS)
def test_no_kernel_calls_a_table_in_a_loop(name):
    """In a process that compiles, functions that are called are those of their own libraries."""
    kernel = kernel_of(name)
    assert re.search(r"@llvm\.x86\.avx\w+\.perm\w+", kernel.inspect_llvm()), "no permutation"
    check_no_calls(kernel)


def test_no_kernel_calls_for_a_sign_in_a_loop():
    kernel = compiled_anew(compute_kernel(fl.hinge.spec, OF_SIGNS))
    assert re.search(r"bitcast i\d+ %\S+ to <\d+ x i1>", kernel.inspect_llvm()), "no vectors"
    check_no_calls(kernel)
