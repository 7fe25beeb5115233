"""`fastloss.jit` inside a user's own CUDA kernel: compiled to PTX; needs no GPU."""

import pytest

import fastloss.jit as flj
from tests.cuda import assembly
from tests.helpers import each, run_python

pytestmark = pytest.mark.skipif(assembly.missing() is not None, reason=assembly.missing() or "")

UNARY = ("exp", "expm1", "log", "log1p", "arctan", "tanh", "sigmoid", "softplus")
FORMULAS = [name for name in flj.__all__ if name.endswith(("_value", "_grad", "_hess"))]


def compile_for(capability, function, signature, monkeypatch) -> str:
    from numba import cuda

    class Own:
        def ptx(self, cc):
            return cuda.compile(function, signature, device=False, abi="numba", cc=cc)[0]

    return assembly.compile_ptx(Own(), monkeypatch, [capability])[capability]


@each("dtype", ["float32", "float64"])
def test_every_function_in_a_kernel(dtype, monkeypatch, tmp_path):
    from numba import cuda, types

    array = getattr(types, dtype)[::1]
    functions = tuple(getattr(flj, name) for name in UNARY)
    exp, expm1, log, log1p, arctan, tanh, sigmoid, softplus = functions
    maximum, const = flj.maximum, flj.const

    def kernel(x, y):
        i = cuda.grid(1)
        if i < x.size:
            v = x[i]
            y[i] = maximum(exp(v) + expm1(v) + log(v) + log1p(v), const(0.5, v))
            y[i] += arctan(v) + tanh(v) + sigmoid(v) + softplus(v)

    ptx = compile_for((8, 0), kernel, types.void(array, array), monkeypatch)
    assembly.assemble(ptx, (8, 0), tmp_path)
    if dtype == "float32":
        assert not assembly.count(ptx, r"\w+\.\w*f64"), "a literal lifted float32 to float64"


@each("name", FORMULAS)
def test_every_formula_in_a_kernel(name, monkeypatch):
    from numba import cuda, types

    formula = getattr(flj, name)

    def kernel(p, t, out):
        i = cuda.grid(1)
        if i < p.size:
            out[i] = formula(p[i], t[i])

    array = types.float32[::1]
    ptx = compile_for((9, 0), kernel, types.void(array, array, array), monkeypatch)
    assert ".entry" in ptx


def test_logsumexp_in_a_kernel(monkeypatch):
    from numba import cuda, types

    logsumexp = flj.logsumexp

    def kernel(x, out):
        i = cuda.grid(1)
        if i < out.size:
            out[i] = logsumexp(x[i])

    signature = types.void(types.float32[:, ::1], types.float64[::1])
    assert ".entry" in compile_for((9, 0), kernel, signature, monkeypatch)


def test_importing_it_imports_no_cuda():
    run_python(
        """
        import sys
        import fastloss.jit
        assert "numba.cuda" not in sys.modules and "numba_cuda" not in sys.modules
        """
    )
