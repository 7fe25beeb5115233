"""Tables that vectors are looked up in: what is found, and how kernels are compiled with them."""

import re
import struct

import llvmlite.binding
import numpy as np
import pytest
from numba import njit

import fastloss as fl
import fastloss.jit
from fastloss.cpu import compile as compilation
from fastloss.cpu.float_bits import power_of_step, two_powers_of_step
from fastloss.cpu.logarithms import RECIPROCALS, log_near, reciprocal_near
from fastloss.cpu.lookup import ENTRIES
from tests.helpers import EPS, FLOAT32, compiled_anew, each, run_python

FEATURES = llvmlite.binding.get_host_cpu_features()
PERMUTES = pytest.mark.skipif(not FEATURES.get("avx2"), reason="the CPU permutes no vectors")

#: From one look-up by itself to several vectors of the widest kind and what is left over.
COUNTS = (1, 3, 4, 7, 8, 15, 16, 47, 200)


@njit
def powers(x, out):
    for i in range(x.size):
        out[0, i] = power_of_step(x[i])
        first, second = two_powers_of_step(x[i])
        out[1, i], out[2, i] = first, second


@njit
def entries(m, out):
    for i in range(m.size):
        out[0, i], out[1, i] = reciprocal_near(m[i]), log_near(m[i])


@njit
def exponentials(x, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = fastloss.jit.exp(x[i, j])


@each("count", COUNTS)
def test_a_loop_of_users(count):
    """What is kept in registers from row to row outlives the look-ups of a row's last elements."""
    x = np.linspace(-80, 80, 5 * count, dtype=np.float32).reshape(5, count)
    out = np.empty_like(x)
    exponentials(x, out)
    # As in test_math.py: 1.25 ulp.
    np.testing.assert_allclose(out, np.exp(x.astype(float)), rtol=1.25 * EPS[FLOAT32])


@each("count", COUNTS)
def test_powers_of_eighths(count):
    """Exponents in eighths, with the bias of one and of two powers."""
    k = np.arange(count) * 7 % 2000 - 990
    out = np.empty((3, count), np.float32)
    powers((1.5 * 2.0**23 + ENTRIES * 127 + k).astype(np.float32), out)
    np.testing.assert_allclose(out[0], np.exp2(k / ENTRIES), rtol=2.0**-24)
    powers((1.5 * 2.0**23 + 2 * ENTRIES * 127 + k).astype(np.float32), out)
    np.testing.assert_allclose(out[1].astype(float) * out[2], np.exp2(k / ENTRIES), rtol=2.0**-24)
    mantissas, exponents = np.frexp(out[1])
    assert (mantissas == 0.5).all() and (abs(2 * (exponents - 1) - k / ENTRIES) <= 2).all()


@each("count", COUNTS)
def test_reciprocals_of_mantissas(count):
    """Each eighth has its own from its first number to its last."""
    first = 0x3F3504F3 + (np.arange(count) % ENTRIES << 20)
    expected = np.array(RECIPROCALS, np.float32)[np.arange(count) % ENTRIES].T
    for bits in (first, first + (1 << 19), first + (1 << 20) - 1):
        out = np.empty((2, count), np.float32)
        m = bits.astype(np.uint32).view(np.float32)
        entries(m, out)
        np.testing.assert_array_equal(out, expected)
        assert (abs(m * out[0] - 1) < 0.06).all()


def test_logarithms_of_reciprocals_are_exact():
    """To far below a rounding, with ln(2) added up to 2^7 times."""
    for c, log in RECIPROCALS:
        assert struct.unpack("f", struct.pack("f", c)) == (c,)
        assert abs(np.log(c) + log) < 2e-10
        assert log * 2**16 == round(log * 2**16)


# --- kernels ----------------------------------------------------------------------------


def rows(classes, *more):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(64, classes, *more)).astype(np.float32)
    return logits, rng.integers(0, classes, (64, *more))


def call_ntxent():
    logits, _ = rows(40)
    fl.ntxent.value_and_grad(logits, np.arange(64) // 2)


def call_focal():
    logits, _ = rows(100)
    fl.focal.value_and_grad(logits, (logits > 0).astype(np.float32))


#: A call that needs a kernel of each of these modules, and the loss that it is made for, if any.
CALLS = {
    "pointwise": (call_focal, "focal"),
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
    """Whether a kernel's maker is of a module, for float32 and that loss."""
    args = str(getattr(make, "args", ()))
    named = not loss or f"name={loss!r}" in args
    return getattr(make, "func", make).__module__ == module and "float32" in args and named


def libraries(library):
    """The library and all that were linked into it, and into them."""
    found = {id(library): library}
    for linked in library._linking_libraries:
        found.update((id(one), one) for one in libraries(linked))
    return found.values()


FORM = r"@fastloss_table_[0-9a-f]+_\d+\("


@PERMUTES
@each("name", CALLS)
def test_no_kernel_calls_a_table_in_a_loop(name):
    """In a process that compiles, functions that are called are those of their own libraries."""
    kernel = kernel_of(name)
    assert re.search(r"@llvm\.x86\.avx\w+\.perm\w+", kernel.inspect_llvm()), "no permutation"
    for library in libraries(kernel._library):
        for function in library._final_module.functions:
            text = str(function)
            own = not function.is_declaration and function.linkage.name == "external"
            inlined = any(b"alwaysinline" in attributes for attributes in function.attributes)
            assert inlined or not own or not re.search(rf"call [^\n]*{FORM}", text), function.name


@pytest.mark.skipif("avx" not in FEATURES, reason="the names of features are x86's")
@each("features", ["+sse2", "+sse2,+avx"])
def test_without_a_permutation(features, tmp_path):
    """Where the CPU has none, each lane is looked up by itself: the same numbers."""
    code = """
    import numpy as np
    import fastloss as fl
    z = np.linspace(-90, 90, 10_007).astype(np.float32)
    loss, grad = fl.binary_cross_entropy_with_logits.value_and_grad(z, np.full_like(z, 0.25))
    exact = z.astype(float)
    assert abs(loss - np.mean(np.logaddexp(0, exact) - 0.25 * exact)) < 2e-6
    assert abs(grad * z.size - (1 / (1 + np.exp(-exact)) - 0.25)).max() < 3e-7
    p = np.linspace(1, 1000, 10_007).astype(np.float32)
    grad = fl.msle.grad(p, np.zeros_like(p), reduction="sum")
    exact = p.astype(float)
    np.testing.assert_allclose(grad, 2 * np.log1p(exact) / (1 + exact), rtol=5e-7)
    """
    target = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features}
    run_python(code, NUMBA_CACHE_DIR=tmp_path, **target)
