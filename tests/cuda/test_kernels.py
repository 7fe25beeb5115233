"""What holds of all kernels of the GPU, seen from the outside; needs no GPU."""

import importlib
import inspect
from typing import get_type_hints

import pytest

from fastloss import elementary
from tests.cuda import assembly
from tests.cuda.builds import BUILDS
from tests.helpers import each, run_python

pytestmark = pytest.mark.skipif(assembly.missing() is not None, reason=assembly.missing() or "")


def one_of_each_record():
    return [b for b in BUILDS if str(b) in ("softmax_rows-warp-float32", "hinge-float32")]


@each("build", one_of_each_record())
def test_parameters_are_the_fields_of_the_record(build, monkeypatch):
    """They are handed to the driver in this order, 64 bits each, without a look at their types."""
    kernel = build.make()
    ptx = assembly.compile_ptx(kernel, monkeypatch)[9, 0]
    kinds = get_type_hints(kernel.record).values()
    assert assembly.parameters(ptx) == ["f64" if k is float else "u64" for k in kinds] or (
        assembly.parameters(ptx) == ["b64"] * len(kinds)
    )
    used = [line for line in ptx.splitlines() if "ld.param.f64" in line]
    floats = [k for k, kind in enumerate(kinds) if kind is float]
    numbers = {int(line.rsplit("_", 1)[1].split("]")[0]) for line in used}
    assert numbers and numbers <= set(floats)


def test_what_the_threads_of_a_warp_do_together_stays_together(monkeypatch):
    """LLVM may copy any other instruction into the branches that some of them take."""
    from numba.cuda.codegen import CUDACodeLibrary

    libraries, get = [], CUDACodeLibrary.get_asm_strs

    def remember(library, cc=None):
        libraries.append(library)
        return get(library, cc)

    monkeypatch.setattr(CUDACodeLibrary, "get_asm_strs", remember)
    (build,) = (build for build in BUILDS if str(build) == "softmax_rows-warp-float32")
    assembly.compile_ptx(build.make(), monkeypatch, [(8, 0)])
    code = "\n".join(libraries[-1].llvm_strs)
    together = [line for line in code.splitlines() if "shfl.sync" in line or "bar.warp" in line]
    assert together and all("convergent" in line for line in together)


@each("name", ["", "_words", "_shared"])
def test_the_simulator_has_a_stand_in_for_every_instruction(name):
    ir = importlib.import_module(f"fastloss.cuda.ir{name}")
    code = f"""
        from fastloss.cuda import simulated{name}
        print(" ".join(vars(simulated{name})))
    """
    names = run_python(code, NUMBA_ENABLE_CUDASIM=1).stdout.split()
    public = {
        name
        for name, value in vars(ir).items()
        if type(value).__name__ == "_Intrinsic" or name == "WIDE"
    }
    assert len(public) > 10 and public <= set(names)


def test_every_elementary_function_has_an_implementation():
    """A stub without one would be refused only when a kernel that uses it is compiled."""
    import fastloss.cuda.math as on_cuda

    source = inspect.getsource(on_cuda)
    stubs = [
        name
        for name, value in vars(elementary).items()
        if inspect.isfunction(value)
        and value.__module__ == elementary.__name__
        and not inspect.getsource(value).startswith("@inline")
    ]
    assert len(stubs) >= 8
    for name in stubs:
        assert f"elementary.{name}" in source, name
