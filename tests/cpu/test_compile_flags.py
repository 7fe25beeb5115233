"""Walks every kernel and checks the flags it was compiled with.

One wrong flag in one kernel is silent: `nnan` breaks nan, a missing `nogil` stops the other
threads, a missing cache costs every process its seconds.
"""

import numpy as np
import pytest
from numba.core.caching import FunctionCache

import fastloss as fl
from fastloss.cpu import compile as compilation
from fastloss.cpu.logarithms import LOG_Q_32
from fastloss.cpu.pointwise import compute_kernel, prepare_kernel
from fastloss.labels import source_digest
from fastloss.variant import Outputs, PointwiseVariant
from tests.catalogue import CORE_PLAIN
from tests.helpers import FLOAT32, compiled_anew


@pytest.fixture(scope="module")
def kernels():
    """Every kernel in use, after each loss has been called, small and large."""
    for case in CORE_PLAIN:
        for shape in ((3, 4), (2000, 101)):
            predictions, targets = case.draw(shape, FLOAT32)
            case.function.value_and_grad(predictions, targets)
    compiled = [k.compiled for k in compilation.KERNELS if "compiled" in vars(k)]
    assert len(compiled) >= 6
    return compiled


@pytest.fixture(scope="module")
def drivers(kernels):
    """What Numba's dispatchers run of this package: the serial and the parallel driver."""
    compiled = compilation.DRIVERS
    assert {bool(d.targetoptions.get("parallel")) for d in compiled} == {False, True}
    return compiled


def names_of(fastmath):
    """What a value of the option `fastmath` allows."""
    flags = getattr(fastmath, "flags", fastmath)
    return {"fast"} if flags is True else set(flags or ())


def test_flags_of_every_kernel(kernels):
    for kernel in kernels:
        options = kernel._compiler.targetoptions
        assert names_of(options.get("fastmath")) <= {"contract"}, kernel.native_name
        assert options["error_model"] == "numpy", kernel.native_name
        assert not options.get("boundscheck") and not options.get("forceobj"), kernel.native_name


def test_flags_of_the_drivers(drivers):
    """They hold no GIL, so that other threads run on."""
    for driver in drivers:
        options = driver.targetoptions
        assert names_of(options.get("fastmath")) <= {"contract"}, driver
        assert options["error_model"] == "numpy" and options["nogil"] is True, driver
        assert not options.get("boundscheck") and not options.get("forceobj"), driver


def test_every_kernel_is_cached_under_the_digest_of_the_sources(kernels, drivers):
    for compiled in kernels:
        assert source_digest() in compiled._pyfunc.__qualname__
        assert isinstance(compiled._cache, FunctionCache), compiled.native_name
    for driver in drivers:
        assert source_digest() in driver.py_func.__qualname__
        assert driver.stats.cache_path, driver


def test_every_kernel_has_a_name_of_its_own(kernels):
    """Two symbols of one name in one process: the linker gives both the first one's code."""
    names = [kernel.native_name for kernel in kernels]
    assert len(set(names)) == len(names)
    qualified = [kernel._pyfunc.__qualname__ for kernel in kernels]
    assert len(set(qualified)) == len(qualified)


def test_no_kernel_is_compiled_to_ignore_nan_or_inf(kernels):
    """What LLVM sees: an intrinsic could carry flags that the options above do not show.

    One kernel of each family.
    """
    families = {}
    for kernel in compilation.KERNELS:
        families[getattr(kernel.make, "func", kernel.make).__module__] = kernel
    assert len(families) >= 3
    for kernel in families.values():
        compiled = compiled_anew(kernel)
        text = compiled.inspect_llvm()
        assert "fmul" in text or "fadd" in text or "load" in text
        for flag in (" nnan ", " ninf ", " fast "):
            assert flag not in text, (flag, compiled.native_name)


def test_one_search_for_invalid_values_serves_all_losses_and_outputs():
    """Compiled again for each of them it would find the same."""
    found = []
    for name in ("hinge", "squared_hinge"):
        spec = getattr(fl, name).spec
        for outputs in (Outputs(True, True, False, False), Outputs(False, True, True, False)):
            arrays = (False,) * len(spec.options)
            variant = PointwiseVariant("float32", "float32", False, arrays, outputs)
            found.append(prepare_kernel(spec.domain, variant, False))
    assert found[0] is not None and all(kernel is found[0] for kernel in found)
    summing = prepare_kernel(spec.domain, variant, True)
    assert summing is not found[0], "it sums the weights as well"


@pytest.mark.parametrize("grad", [False, True])
def test_a_constant_option_leaves_nothing_of_the_general_formula(grad):
    """Focal loss with gamma 2 takes no power, and so no logarithm of a mantissa."""
    spec = fl.focal.spec
    variant = PointwiseVariant(
        "float32", "float32", False, (False, False), Outputs(True, grad, False, False)
    )
    coefficient = np.float64(np.float32(LOG_Q_32[0])).view(np.uint64)
    texts = {}
    for constants in ((None, None), (None, 2.0)):
        kernel = compute_kernel(spec, variant._replace(constants=constants))
        compiled = compiled_anew(kernel)
        texts[constants] = f"0x{coefficient:X}" in compiled.inspect_llvm()
    assert texts == {(None, None): True, (None, 2.0): False}
