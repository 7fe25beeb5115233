"""The loop that is told its vectors, by itself and in the kernels of element-wise losses."""

import re

import llvmlite.binding
import numpy as np
import pytest
from numba import njit

import fastloss as fl
from fastloss.cpu.loop import for_each, with_loop, with_loop_apart
from fastloss.cpu.memory import load_float32, load_float64, poke_int64
from fastloss.cpu.pointwise import TILE, compute_kernel
from fastloss.elementary import inline
from fastloss.variant import Outputs, PointwiseVariant
from tests.helpers import FLOAT32, FLOAT64, compiled_anew, each, run_python

COUNTS = (0, 1, 7, 16, 33, 1000)


@inline
def single(i, address):
    return load_float32(address, i)


@inline
def double(i, address):
    return load_float64(address, i)


@inline
def number(i, address, first):
    poke_int64(address, i, first + i)


@njit
def sum_single(n, address):
    return for_each(n, single, (address,))


@njit
def sum_double(n, address):
    return for_each(n, double, (address,))


@njit
def write_numbers(n, address, first):
    for_each(n, number, (address, first))


def calls_in_the_end(make):
    """Whether a function with a loop is called after all, though its caller is made part of one."""

    @make
    def with_a_loop(n, address):
        for i in range(n):
            poke_int64(address, i, i + 1)

    through = inline(lambda n, address: with_a_loop(n, address))

    @njit("void(int64, int64)")
    def outer(n, address):
        through(n, address)

    numbers = np.zeros(5, np.int64)
    outer(5, numbers.ctypes.data)
    assert numbers.tolist() == [1, 2, 3, 4, 5]
    (llvm,) = outer.inspect_llvm().values()
    return re.search(r"call [^\n]*with_loop\w*called", llvm) is not None


def test_a_loop_apart():
    """Numba hands on from a caller that it is to be made part of its caller."""
    assert calls_in_the_end(with_loop_apart)
    assert not calls_in_the_end(with_loop)


@each("dtype", [FLOAT32, FLOAT64])
def test_sums_are_made_in_float64(dtype, rng):
    """In float32 the sum of the large ones would be infinite, and the small ones nothing."""
    add_up = sum_single if dtype == FLOAT32 else sum_double
    large = 3e38 if dtype == FLOAT32 else 3e300
    for count in COUNTS:
        x = rng.normal(0, 1, count).astype(dtype)
        assert add_up(count, x.ctypes.data) == pytest.approx(float(x.sum(dtype="f8")), rel=1e-13)
        x[:2] = large
        assert add_up(count, x.ctypes.data) == pytest.approx(float(x.sum(dtype="f8")), rel=1e-13)
        if count:
            x[-1] = np.nan
            assert np.isnan(add_up(count, x.ctypes.data))


def test_a_body_that_returns_nothing_is_called_for_each():
    for count in COUNTS:
        x = np.full(count + 1, -1)
        write_numbers(count, x.ctypes.data, 5)
        assert x.tolist() == [*range(5, 5 + count), -1]


def vector_types(loss, dtype):
    """What numbers the divisions of a loss' kernel take, as LLVM writes them."""
    options = (False,) * len(loss.spec.options)
    variant = PointwiseVariant(dtype, dtype, False, options, Outputs(True, True, False, False))
    kernel = compute_kernel(loss.spec, variant)
    return set(re.findall(r"= fdiv [a-z ]*(<\d+ x \w+>)", compiled_anew(kernel).inspect_llvm()))


@each("dtype", ["float32", "float16", "float64"])
def test_losses_are_computed_in_the_widest_vectors(dtype):
    """The sum in float64 beside them does not halve those of float32."""
    features = llvmlite.binding.get_host_cpu_features()
    bits = 512 if features.get("avx512f") else 256 if features.get("avx") else 128
    width, name = (bits // 64, "double") if dtype == "float64" else (bits // 32, "float")
    assert f"<{width} x {name}>" in vector_types(fl.log_cosh, dtype)


def test_a_formula_that_makes_no_vectors_is_not_reported(tmp_path):
    """LLVM would say so on the standard error stream, of every loop that was told its width."""
    code = f"""
import math
import numpy as np
import fastloss as fl

def value(p, t):
    return math.erf(p - t)

def grad(p, t):
    return math.exp(-((p - t) ** 2))

p, t = np.linspace(-1, 1, {TILE + 3}), np.zeros({TILE + 3})
loss, gradient = fl.pointwise_loss("without_vectors", value, grad).value_and_grad(p, t)
assert abs(loss) < 1e-12 and abs(gradient * p.size - np.exp(-p**2)).max() < 1e-12
fl.focal(p, abs(t))
signs = np.ones_like(p)
for loss in (fl.hinge, fl.perceptron, fl.modified_huber):
    loss.grad(p, signs), loss.grad_and_hess(p, signs), loss(p, signs, reduction='none')
"""
    assert run_python(code, NUMBA_CACHE_DIR=tmp_path).stderr == ""
